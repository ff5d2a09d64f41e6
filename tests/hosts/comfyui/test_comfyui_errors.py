"""Bad input in a real ComfyUI: an error on the node that says what to change, and the queue goes on."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.host

Node = dict[str, Any]


def node(kind: str, **inputs: Any) -> Node:
    return {"class_type": kind, "inputs": inputs}


def drawn(audio: str) -> Node:
    return node("SonopaintAudioToSpectrogram", audio=[audio, 0], format=["mini", 3], fill_up=True)


def heard(image: str, form: str, slot: int = 1) -> Node:
    more = {"decoder": "automatic", "quality": "fast", "seed": 0}
    return node("SonopaintSpectrogramToAudio", image=[image, 0], format=[form, slot], **more)


def one_step(model: str = "mini", timestep: int = -1) -> Node:
    latent = {"prompt": ["words", 0], "latent": ["empty", 0]}
    return node("SonopaintOneStep", model=[model, 0], seed=0, timestep=timestep, **latent)


GIVEN = {
    "mini": node("SonopaintLoadMini", model="mini"),
    "words": node("CLIPTextEncode", text="a bell", clip=["mini", 1]),
    "empty": node("SonopaintEmptySpectrogram", format=["mini", 3], seconds=0.0, batch_size=1, loop=False),
    "recording": node("SonopaintExampleSound", sound="engine"),
    "picture": drawn("recording"),
    "two": node("RepeatImageBatch", image=["picture", 0], amount=2),
    "three": node("RepeatImageBatch", image=["picture", 0], amount=3),
    "pair": heard("two", "picture"),
    "pair drawn": drawn("pair"),
    "silence": node("EmptyAudio", duration=0.0, sample_rate=44_100, channels=2),
    "mask": node("SolidMask", value=1.0, width=100, height=128),
    "region": node(
        "SonopaintRegion", boxes="1:2", feather=0.05, invert=False, drawing="", audio=["recording", 0]
    ),
    "canvas": node(
        "SonopaintInpaintCanvas",
        audio=["recording", 0],
        region=["region", 0],
        format=["mini", 3],
        start_from="noise",
    ),
    "half": node(
        "ImageScale", image=["canvas", 0], upscale_method="bilinear", width=100, height=64, crop="disabled"
    ),
}
CASES = {
    "a format that does not fit the picture": (heard("picture", "riffusion", 0), "riffusion-v1 has 512 rows"),
    "a picture that was scaled": (
        node("SonopaintPutBack", image=["half", 0], context=["canvas", 2], quality="fast", seed=0),
        "not scaled or cropped",
    ),
    "a mask of another size": (
        node(
            "SonopaintRegion",
            boxes="",
            feather=0.05,
            invert=False,
            drawing="",
            mask=["mask", 0],
            format=["picture", 1],
        ),
        "The mask is 100 × 128 pixels",
    ),
    "an ordinary model in one step": (one_step(), "needs many steps"),
    "no sample": (drawn("silence"), "audio is empty"),
    "levels of two sounds for three": (heard("three", "pair drawn"), "levels of 2 pictures, but 3"),
}


def ancestors(prompt: dict[str, Node], name: str) -> set[str]:
    """A node and all that it hangs on."""
    found = {name}
    for value in prompt[name]["inputs"].values():
        if isinstance(value, list):
            found |= ancestors(prompt, value[0])
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_node_says_what_to_change(comfyui: Any, case: str) -> None:
    bad, words = CASES[case]
    fields = comfyui.info["SonopaintFormat"]["input"]["required"]
    defaults = {name: spec[1].get("default") for name, spec in fields.items()}
    prompt = {**GIVEN, "riffusion": node("SonopaintFormat", **{**defaults, "preset": "riffusion-v1"})}
    prompt |= {"bad": bad, "end": node("PreviewAny", source=["bad", 0])}
    entry = comfyui.queue({name: prompt[name] for name in ancestors(prompt, "end")})
    assert entry["status"]["status_str"] == "error", entry
    [detail] = [detail for kind, detail in entry["status"]["messages"] if kind == "execution_error"]
    assert detail["node_id"] == "bad"
    assert words in detail["exception_message"] and "\n" not in detail["exception_message"].strip()


def test_a_missing_file_is_refused_on_its_node(comfyui: Any) -> None:
    loader = node(
        "SonopaintLoadAudio", audio="gone.wav", sample_rate=0, channels="mono", start=0.0, duration=0.0
    )
    model = node("SonopaintLoadMini", model="gone.safetensors")
    for bad, name in ((loader, "gone.wav"), (model, "gone.safetensors")):
        refused = comfyui.queue({"bad": bad, "end": node("PreviewAny", source=["bad", 0])})
        assert name in str(refused["node_errors"]["bad"]["errors"])


def test_the_queue_goes_on(comfyui: Any) -> None:
    failed = {**GIVEN, "bad": CASES["no sample"][0], "end": node("PreviewAny", source=["bad", 0])}
    number = comfyui.send({name: failed[name] for name in ancestors(failed, "end")})
    good = {"recording": GIVEN["recording"], "end": node("PreviewAny", source=["recording", 0])}
    assert comfyui.queue(good)["status"]["status_str"] == "success"
    assert comfyui.get(f"/history/{number}")[number]["status"]["status_str"] == "error"
