"""Sounds of other audio models in a real ComfyUI, with random weights of their classes; batches; Cancel."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "extensions/comfyui/sonopaint_comfyui/examples"
RATE = 32_000

pytestmark = pytest.mark.host


def example(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"example_workflows/{name}.json").read_text())


def with_random_weights(prompt: dict[str, Any], kind: str) -> dict[str, Any]:
    """The prompt with one node in place of all that loads files and reads words."""
    loaders = ("CheckpointLoaderSimple", "CLIPLoader", "CLIPTextEncode", "TextEncodeAceStepAudio1.5")
    loaders += ("ConditioningZeroOut", "ModelSamplingAuraFlow")
    gone = {name: node["class_type"] for name, node in prompt.items() if node["class_type"] in loaders}
    kept = {name: node for name, node in prompt.items() if name not in gone}
    slots = {"model": 0, "vae": 1, "positive": 2, "negative": 3}
    for node in kept.values():
        for key, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in gone:
                node["inputs"][key] = ["random", slots[key]]
    kept["random"] = {"class_type": "RandomAudioModel", "inputs": {"kind": kind}}
    return kept


def recording(name: str) -> np.ndarray:
    samples = soundfile.read(EXAMPLES / f"{name}.ogg", dtype="float32")[0]
    return (np.round(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kind", "source", "region", "seconds"),
    [
        ("Repaint with Stable Audio 3", "Stable Audio 3", "horse_hooves", (1.5, 3.5), 5.12),
        ("Continue with ACE-Step", "ACE-Step 1.5", "whistling", (5.12, 15.12), 15.12),
    ],
)
def test_any_audio_model_paints_in_a_region_only(
    comfyui: Any, name: str, kind: str, source: str, region: tuple[float, float], seconds: float
) -> None:
    workflow = example(name)
    prompt = with_random_weights(comfyui.prompt_of(workflow), kind)
    for node in prompt.values():
        if node["class_type"] == "KSampler":
            node["inputs"]["steps"] = 2
    [path] = comfyui.files(comfyui.queue(prompt, {"workflow": workflow}))
    sound = soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]
    before = recording(source)
    assert len(sound) == round(seconds * RATE)
    first, last = (round((at + sign * 0.05) * RATE) for at, sign in zip(region, (-1, 1), strict=True))
    np.testing.assert_array_equal(sound[:first], before[:first])
    np.testing.assert_array_equal(sound[last:], before[last:])
    inside = sound[first:last]
    old = np.pad(before, (0, max(len(sound) - len(before), 0)))[first:last]
    assert float(np.abs(inside - old).max()) > 1e-3, "the model painted there"


def test_core_can_not_mask_these_latents(comfyui: Any) -> None:
    """Why Audio Latent Mask is there (ComfyUI#14342): Set Latent Noise Mask gives a picture's mask."""
    prompt = with_random_weights(comfyui.prompt_of(example("Repaint with Stable Audio 3")), "Stable Audio 3")
    name, node = next((n, v) for n, v in prompt.items() if v["class_type"] == "SonopaintLatentMask")
    prompt[name] = {
        "class_type": "SetLatentNoiseMask",
        "inputs": {"samples": node["inputs"]["samples"], "mask": ["white", 0]},
    }
    prompt["white"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 8}}
    sampler = next(v["inputs"] for v in prompt.values() if v["class_type"] == "KSampler")
    sampler |= {"positive": ["random", 2], "negative": ["random", 3], "steps": 2}
    assert comfyui.queue(prompt)["status"]["status_str"] == "error"


# Queues a prompt, cancels when a node has told its progress a few times, and measures until all has stopped.
CANCEL = """async ([prompt, node, after]) => {
    const client = crypto.randomUUID?.() ?? String(Math.random()), progress = [];
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws?clientId=" + client);
    await new Promise((resolve) => { socket.onopen = resolve; });
    const send = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
    let asked = 0;
    return await new Promise(async (resolve, reject) => {
        socket.onmessage = async (message) => {
            if (typeof message.data !== "string") return;
            const { type, data } = JSON.parse(message.data);
            if (["execution_error", "execution_success"].includes(type)) reject(new Error(message.data));
            const seconds = (performance.now() - asked) / 1000;
            if (type === "execution_interrupted") resolve({ seconds, progress });
            if (type === "progress" && data.node === node) {
                progress.push(data.value / data.max);
                if (progress.length === after) { asked = performance.now(); await send("/interrupt", {}); }
            }
        };
        const answer = await send("/prompt", { prompt, client_id: client });
        if (!answer.ok) reject(new Error(await answer.text()));
    });
}"""


@pytest.mark.browser
@pytest.mark.parametrize("stage", ["SonopaintSpectrogramToAudio", "SonopaintPutBack", "KSampler"])
def test_cancel_stops_within_two_seconds(comfyui: Any, page: Any, stage: str) -> None:
    """A minute of sound: its phase search, a repaint of most of it, and its painting in windows."""
    loader = {"class_type": "SonopaintLoadMini", "inputs": {"model": "mini"}}
    form = ["model", 3]

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    sizes = {"seconds": 60.0, "batch_size": 1, "loop": False}
    prompt = {
        "model": loader,
        "words": node("CLIPTextEncode", text="rain", clip=["model", 1]),
        "latent": node("SonopaintEmptySpectrogram", format=form, **sizes),
        "silence": node("EmptyAudio", duration=60.0, sample_rate=32_000, channels=1),
        "region": node("SonopaintRegion", boxes="1:59", feather=0.05, invert=False),
        "canvas": node(
            "SonopaintInpaintCanvas",
            audio=["silence", 0],
            region=["region", 0],
            format=form,
            start_from="noise",
        ),
        "noise": node("SolidMask", value=0.6, width=3776, height=128),
        "grey": node("MaskToImage", mask=["noise", 0]),
        "mark": node("SolidMask", value=0.6, width=3712, height=128),  # the canvas of 58 s
        "painted": node("MaskToImage", mask=["mark", 0]),
    }
    searches = {"quality": "best", "seed": 0}
    last = {
        "SonopaintSpectrogramToAudio": node(
            stage, image=["grey", 0], format=["latent", 1], decoder="automatic", **searches
        ),
        "SonopaintPutBack": node(
            stage, image=["painted", 0], context=["canvas", 2], surroundings="match", **searches
        ),
        "KSampler": node(
            stage, model=["model", 0], positive=["words", 0], negative=["words", 0], seed=0, steps=20,
            cfg=4.0, latent_image=["latent", 0], sampler_name="euler", scheduler="simple", denoise=1.0,
        ),
    }[stage]  # fmt: skip
    prompt |= {"stage": last, "end": node("PreviewAny", source=["stage", 0])}
    needed, waiting = set(), ["end"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += [value[0] for value in prompt[name]["inputs"].values() if isinstance(value, list)]
    page.set_default_timeout(300_000)
    page.goto(f"{comfyui.url}/system_stats")
    told = page.evaluate(CANCEL, [{name: prompt[name] for name in needed}, "stage", 6])
    assert told["seconds"] < 2, told
    assert told["progress"][5] > told["progress"][0], "the bar moves"


def test_a_batch_of_four_is_heard(comfyui: Any) -> None:
    """Every sound has a spectrogram and a player; history holds names of files, not pictures."""
    workflow = example("One-step subject")
    began = time.monotonic()
    entry = comfyui.queue(comfyui.prompt_of(workflow), {"workflow": workflow})
    views = next(output["sonopaint"] for output in entry["outputs"].values() if "sonopaint" in output)
    assert len(views) == 4 and time.monotonic() > began
    for view in views:
        for place in (view["view"], view["audio"]):
            assert comfyui.fetch(place)[:4] in (b"\x89PNG", b"RIFF")
        assert view["duration"] == pytest.approx(5.12, abs=0.01) and len(view["edges"]) == 129
    assert len(json.dumps(entry["outputs"])) < 20_000
