"""Write example_workflows/*.json: python docs/make_comfyui_workflows.py --url http://127.0.0.1:8188

Each workflow is a list of nodes with their inputs; the sockets, the order of the widgets and the layout come
from a running ComfyUI with this pack in it (its /object_info), so that they are never out of date.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

from sonoconvert.pictures.format import PRESETS

FOLDER = Path(__file__).resolve().parent.parent / "example_workflows"
GAP, WIDTH = 50, 320
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "SONOPAINT_DRAWING"}
SIZES = {"SonopaintRegion": (500, 620), "CLIPTextEncode": (320, 130), "PreviewImage": (640, 300)}
SIZES |= {"SonopaintSaveAudio": (320, 190), "KSampler": (320, 470), "SamplerCustomAdvanced": (320, 330)}
# From left to right: what is given, words, what is to be painted, painting, sound.
COLUMNS = (
    {"recording", "model", "lora"},
    {"prompt", "prompt_b", "negative", "latent", "time", "between"},
    {"region", "canvas"},
    {"encode", "masked", "repeat", "guider", "select", "schedule", "sampler"},
    {"decode", "sound", "back", "save"},
    {"joined", "one", "save_one"},
    {"plot", "look"},
)

Nodes = dict[str, tuple[str, dict[str, Any]]]


def mini(prompt: str, negative: str = "") -> Nodes:
    """The model and its prompts."""
    return {
        "model": ("SonopaintLoadMini", {"model": "mini"}),
        "prompt": ("CLIPTextEncode", {"text": prompt, "clip": "model.CLIP"}),
        "negative": ("CLIPTextEncode", {"text": negative, "clip": "model.CLIP"}),
    }


def sampler(latent: str, model: str = "model.MODEL", seed: int = 7, denoise: float = 1.0) -> Nodes:
    inputs = {"model": model, "positive": "prompt.CONDITIONING", "negative": "negative.CONDITIONING"}
    inputs |= {"latent_image": latent, "seed": seed, "steps": 20, "cfg": 4.0}
    inputs |= {"sampler_name": "dpmpp_2m", "scheduler": "simple", "denoise": denoise}
    return {"sampler": ("KSampler", inputs)}


def heard(name: str, vae: str = "model.VAE", form: str = "latent.format") -> Nodes:
    """A painted latent as sound, saved."""
    return {
        "decode": ("VAEDecode", {"samples": "sampler.LATENT", "vae": vae}),
        "sound": ("SonopaintSpectrogramToAudio", {"image": "decode.IMAGE", "format": form, "seed": 7}),
        "plot": ("SonopaintPlot", {"image": "decode.IMAGE", "format": form}),
        "look": ("PreviewImage", {"images": "plot.IMAGE"}),
        "save": ("SonopaintSaveAudio", {"audio": "sound.AUDIO", "filename_prefix": f"sonopaint/{name}"}),
    }


def edited(name: str, canvas: tuple[str, dict[str, Any]], seed: int = 7) -> Nodes:
    """A canvas painted where its mask says, and put back."""
    return {
        "canvas": canvas,
        "encode": ("VAEEncode", {"pixels": "canvas.image", "vae": "model.VAE"}),
        "masked": ("SetLatentNoiseMask", {"samples": "encode.LATENT", "mask": "canvas.mask"}),
        **sampler("masked.LATENT", seed=seed),
        **put_back(name),
    }


def put_back(name: str) -> Nodes:
    return {
        "decode": ("VAEDecode", {"samples": "sampler.LATENT", "vae": "model.VAE"}),
        "back": ("SonopaintPutBack", {"image": "decode.IMAGE", "context": "canvas.context", "seed": 7}),
        "plot": ("SonopaintPlot", {"audio": "back.AUDIO", "format": "model.format"}),
        "look": ("PreviewImage", {"images": "plot.IMAGE"}),
        "save": ("SonopaintSaveAudio", {"audio": "back.AUDIO", "filename_prefix": f"sonopaint/{name}"}),
    }


def empty(seconds: float = 0.0, batch: int = 1, loop: bool = False) -> Nodes:
    inputs = {"format": "model.format", "seconds": seconds, "batch_size": batch, "loop": loop}
    return {"latent": ("SonopaintEmptySpectrogram", inputs)}


def example(sound: str) -> Nodes:
    return {"recording": ("SonopaintExampleSound", {"sound": sound})}


def time_node(kind: str) -> Nodes:
    return {"time": (kind, {"model": "model.MODEL", "vae": "model.VAE", "format": "model.format"})}


def drawn(start: float, end: float, low: float, high: float) -> str:
    """A box as the region editor keeps it: for the server, and as a mark on Mini's rows."""
    fmt = PRESETS["sonopaint-mini"]
    mark = {
        "kind": "box",
        "t0": start,
        "t1": end,
        "r0": fmt.mel_row(low) + 0.5,
        "r1": fmt.mel_row(high) + 0.5,
    }
    box = {"start": start, "end": end, "low": low, "high": high}
    return json.dumps({"boxes": [box], "brush": "", "marks": [mark], "rows": fmt.n_mels})


_CANVAS = {"audio": "recording.AUDIO", "format": "model.format"}
WORKFLOWS: dict[str, tuple[Nodes, str]] = {
    "Generate a sound": (
        {**mini("an owl hooting"), **empty(), **sampler("latent.LATENT"), **heard("generated")},
        "Words become a sound of five seconds. With a Stable Diffusion 1.5 checkpoint (Riffusion v1, say): "
        "choose it in the first node; all else stays.",
    ),
    "Vary a recording": (
        {
            **example("horse_hooves"),
            **mini("horse hooves"),
            "canvas": ("SonopaintVariation", _CANVAS),
            "encode": ("VAEEncode", {"pixels": "canvas.image", "vae": "model.VAE"}),
            **sampler("encode.LATENT", denoise=0.5),
            **put_back("variation"),
        },
        "The same sound, a little different: denoise 0.3 is close to the recording, 0.7 keeps hardly more "
        "than its rhythm.",
    ),
    "Inpaint a box": (
        {
            **example("engine"),
            **mini("an owl hooting"),
            "region": (
                "SonopaintRegion",
                {"drawing": drawn(1.5, 3.5, 200, 6000), "audio": "recording.AUDIO", "format": "model.format"},
            ),
            **edited("inpainted", ("SonopaintInpaintCanvas", {**_CANVAS, "region": "region.region"})),
        },
        "Only the box is painted; every sample outside of it stays the recording's own. Draw more boxes, or "
        "brush, on the spectrogram.",
    ),
    "Extend both sides": (
        {
            **example("whistling"),
            **mini("someone whistling a tune"),
            **edited("extended", ("SonopaintExtendCanvas", {**_CANVAS, "left": 1.5, "right": 1.5})),
        },
        "New time before and after a recording, whose own samples all stay.",
    ),
    "Seamless loop": (
        {
            **mini("horse hooves"),
            **empty(8.0, loop=True),
            **time_node("SonopaintLoop"),
            **sampler("latent.LATENT", "time.MODEL"),
            **heard("loop", "time.VAE"),
        },
        "Plays round and round without a seam. Any length: it is fitted to the sample.",
    ),
    "Long ambience": (
        {
            **mini("crickets chirping at night"),
            **empty(20.0),
            **time_node("SonopaintLongAudio"),
            **sampler("latent.LATENT", "time.MODEL"),
            **heard("ambience", "time.VAE"),
        },
        "Longer than the model's own five seconds: painted in overlapping windows, turned into sound once.",
    ),
    "Interpolate A to B": (
        {
            "model": ("SonopaintLoadMini", {"model": "mini"}),
            "prompt": ("CLIPTextEncode", {"text": "an owl hooting", "clip": "model.CLIP"}),
            "prompt_b": ("CLIPTextEncode", {"text": "an ambulance siren", "clip": "model.CLIP"}),
            "negative": ("CLIPTextEncode", {"text": "", "clip": "model.CLIP"}),
            **empty(),
            "between": (
                "SonopaintInterpolation",
                {"prompt_a": "prompt.CONDITIONING", "prompt_b": "prompt_b.CONDITIONING"}
                | {"latent": "latent.LATENT", "seed_a": 7, "seed_b": 8, "steps": 5},
            ),
            "guider": (
                "CFGGuider",
                {"model": "model.MODEL", "positive": "between.CONDITIONING"}
                | {"negative": "negative.CONDITIONING", "cfg": 4.0},
            ),
            "select": ("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
            "schedule": ("BasicScheduler", {"model": "model.MODEL", "scheduler": "simple", "steps": 20}),
            "sampler": (
                "SamplerCustomAdvanced",
                {"noise": "between.NOISE", "guider": "guider.GUIDER", "sampler": "select.SAMPLER"}
                | {"sigmas": "schedule.SIGMAS", "latent_image": "between.LATENT"},
            ),
            **heard("morph"),
            "joined": ("SonopaintJoin", {"image": "decode.IMAGE", "format": "latent.format"}),
            "one": ("SonopaintSpectrogramToAudio", {"image": "joined.image", "format": "joined.format"}),
            "plot": ("SonopaintPlot", {"image": "joined.image", "format": "joined.format"}),
            "save_one": ("SonopaintSaveAudio", {"audio": "one.AUDIO", "filename_prefix": "sonopaint/a to b"}),
        },
        "Five sounds on the way from A to B: the words along a straight line, the noise along a circle. Join "
        "Sounds makes one long sound of them, beside the five.",
    ),
    "LoRA": (
        {
            **mini("a prt dog bark"),
            "lora": (
                "LoraLoader",
                {"model": "model.MODEL", "clip": "model.CLIP", "lora_name": "giant-dog-lora.safetensors"}
                | {"strength_model": 1.0, "strength_clip": 1.0},
            ),
            **empty(),
            **sampler("latent.LATENT", "lora.MODEL"),
            **heard("lora"),
        },
        "A LoRA that was trained on Mini (kohya format) and its words: this one comes with Sonopaint; put "
        "yours into models/loras. (The LoRA mini-one-step needs another sampler: see the workflow One-step "
        "subject.)",
    ),
    "One-step subject": (
        {
            "model": ("SonopaintLoadMini", {"model": "mini"}),
            "lora": (
                "SonopaintLoadOneStep",
                {"model": "model.MODEL", "clip": "model.CLIP", "lora": "giant-dog.safetensors"},
            ),
            "prompt": ("CLIPTextEncode", {"text": "a prt dog bark", "clip": "lora.CLIP"}),
            **empty(batch=4),
            "sampler": (
                "SonopaintOneStep",
                {"model": "lora.MODEL", "prompt": "prompt.CONDITIONING", "latent": "latent.LATENT"}
                | {"seed": 7},
            ),
            **heard("subject"),
            # Four pictures of the usual size would take as long as the sampler.
            "plot": (
                "SonopaintPlot",
                {"image": "decode.IMAGE", "format": "latent.format", "width": 480, "height": 240},
            ),
        },
        "Four variations of a giant dog with one call of the model each, by a subject that comes with "
        "Sonopaint. For a sound of your own (sonotrain subject): put its file into models/loras, choose it "
        "in Load One-Step LoRA, and write its words. mini-one-step there paints anything that Mini knows.",
    ),
    "Batch of variations": (
        {
            **example("whistling"),
            **mini("someone whistling a tune"),
            "canvas": ("SonopaintVariation", _CANVAS),
            "encode": ("VAEEncode", {"pixels": "canvas.image", "vae": "model.VAE"}),
            "repeat": ("RepeatLatentBatch", {"samples": "encode.LATENT", "amount": 4}),
            **sampler("repeat.LATENT", denoise=0.5),
            **put_back("variations"),
        },
        "Four variations of one recording at once, saved as four files.",
    ),
}
WORKFLOWS["LoRA"][0]["prompt"][1]["clip"] = WORKFLOWS["LoRA"][0]["negative"][1]["clip"] = "lora.CLIP"


def graph(nodes: Nodes, note: str, info: dict[str, Any]) -> dict[str, Any]:
    """A workflow as ComfyUI's page saves it."""
    ids = {name: index + 1 for index, name in enumerate(nodes)}
    outputs = {
        name: dict(zip(info[kind]["output_name"], range(99))) | dict(zip(info[kind]["output"], range(99)))  # noqa: B905
        for name, (kind, _) in nodes.items()
    }
    links: list[list[Any]] = []
    made: dict[str, dict[str, Any]] = {}
    columns = {name: next(i for i, names in enumerate(COLUMNS) if name in names) for name in nodes}
    widths = [0] * len(COLUMNS)
    for name, (kind, _) in nodes.items():
        widths[columns[name]] = max(widths[columns[name]], SIZES.get(kind, (WIDTH, 0))[0] + GAP)
    bottoms = [0] * len(COLUMNS)
    for name, (kind, given) in nodes.items():
        inputs, widgets = [], []
        for key, spec in definition(info[kind]).items():
            value = given.get(key)
            if is_link(value, nodes):
                source, _, slot = value.partition(".")
                number = outputs[source][slot]
                links.append([len(links) + 1, ids[source], number, ids[name], len(inputs), input_type(spec)])
                inputs.append({"name": key, "type": input_type(spec), "link": len(links)})
            elif input_type(spec) not in WIDGETS:
                inputs.append({"name": key, "type": input_type(spec), "link": None})
            if input_type(spec) in WIDGETS:
                widgets.append(value if key in given else default(spec))
                if controlled(key, spec):
                    widgets.append("fixed")
        column = columns[name]
        width, height = SIZES.get(kind, (WIDTH, 60 + 26 * (len(inputs) + len(widgets))))
        y = bottoms[column]
        bottoms[column] = y + height + 70
        made[name] = {
            "id": ids[name],
            "type": kind,
            "pos": [sum(widths[:column]), y],
            "size": [width, height],
            "flags": {},
            "order": ids[name] - 1,
            "mode": 0,
            "inputs": inputs,
            "outputs": [
                {"name": label, "type": type_, "links": []}
                for label, type_ in zip(info[kind]["output_name"], info[kind]["output"], strict=True)
            ],
            "properties": {"Node name for S&R": kind},
            "widgets_values": widgets,
        }
    by_id = {node["id"]: node for node in made.values()}
    for number, source, slot, *_ in links:
        by_id[source]["outputs"][slot]["links"].append(number)
    remark = {
        "id": len(ids) + 1,
        "type": "MarkdownNote",
        "pos": [0, -220],
        "size": [690, 150],
        "flags": {},
        "order": len(ids),
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {},
        "widgets_values": [note],
    }
    return {
        "last_node_id": len(ids) + 1,
        "last_link_id": len(links),
        "nodes": [*made.values(), remark],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def is_link(value: Any, nodes: Nodes) -> bool:
    return isinstance(value, str) and value.partition(".")[0] in nodes and bool(value.partition(".")[2])


def definition(info: dict[str, Any]) -> dict[str, Any]:
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def input_type(spec: list[Any]) -> str:
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def default(spec: list[Any]) -> Any:
    options = spec[1] if len(spec) > 1 else {}
    if "default" in options:
        return options["default"]
    if input_type(spec) == "COMBO":
        choices = spec[0] if isinstance(spec[0], list) else options["options"]
        return choices[0] if choices else ""
    return {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(input_type(spec), "")


def controlled(name: str, spec: list[Any]) -> bool:
    """Whether the page adds a "control after generate" widget."""
    options = spec[1] if len(spec) > 1 else {}
    return input_type(spec) == "INT" and options.get("control_after_generate", name in ("seed", "noise_seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    with urllib.request.urlopen(f"{parser.parse_args().url}/object_info") as answer:
        info = json.load(answer)
    FOLDER.mkdir(exist_ok=True)
    for name, (nodes, note) in WORKFLOWS.items():
        made = graph(nodes, note, info)
        (FOLDER / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
