"""The example workflows and subgraph blueprints of the ComfyUI pack, as lists of nodes with their inputs.

`make_comfyui_workflows.py` writes them as files. An input "NODE.SOCKET" is a link.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sonoconvert.curves.points import parse_points
from sonoconvert.pictures.format import PRESETS

Nodes = dict[str, tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Blueprint:
    """A subgraph: its nodes, what is given to it ({name: inputs of nodes}), what it gives, its use."""

    nodes: Nodes
    inputs: dict[str, list[str]]
    output: str
    description: str


_HUB = "https://huggingface.co/Comfy-Org/{}"
# Files of other models, as ComfyUI's own templates name them: {name: where the page may get it}.
FILES = {
    name: {"name": name, "url": f"{_HUB.format(place)}/{folder}/{name}", "directory": folder}
    for name, place, folder in (
        ("stable_audio_3_medium_base.safetensors", "stable-audio-3/resolve/main", "checkpoints"),
        ("t5gemma_b_b_ul2.safetensors", "stable-audio-3/resolve/main", "text_encoders"),
        ("ace_step_1.5_turbo_aio.safetensors", "ace_step_1.5_ComfyUI_files/resolve/main", "checkpoints"),
    )
}


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


def edited(
    name: str, canvas: tuple[str, dict[str, Any]], seed: int = 7, surroundings: str = "match"
) -> Nodes:
    """A canvas painted where its mask says, and put back."""
    return {
        "canvas": canvas,
        "encode": ("VAEEncode", {"pixels": "canvas.image", "vae": "model.VAE"}),
        "masked": ("SetLatentNoiseMask", {"samples": "encode.LATENT", "mask": "canvas.mask"}),
        **sampler("masked.LATENT", seed=seed),
        **put_back(name, surroundings),
    }


def put_back(name: str, surroundings: str = "match") -> Nodes:
    return {
        "decode": ("VAEDecode", {"samples": "sampler.LATENT", "vae": "model.VAE"}),
        "back": (
            "SonopaintPutBack",
            {"image": "decode.IMAGE", "context": "canvas.context", "seed": 7, "surroundings": surroundings},
        ),
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
            **mini("a dog barking"),
            "region": (
                "SonopaintRegion",
                {"drawing": drawn(1.5, 3.5, 200, 6000), "audio": "recording.AUDIO", "format": "model.format"},
            ),
            **edited(
                "inpainted",
                ("SonopaintInpaintCanvas", {**_CANVAS, "region": "region.region"}),
                seed=1,
                surroundings="add",
            ),
        },
        "Only the box is painted; every sample outside of it stays the recording's own. Draw more boxes, or "
        "brush, on the spectrogram. Put Back adds the dog to the engine; with surroundings on match it takes "
        "the engine's place.",
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
    "Choose variations": (
        {
            **example("whistling"),
            **mini("someone whistling a tune"),
            "canvas": ("SonopaintVariation", _CANVAS),
            "encode": ("VAEEncode", {"pixels": "canvas.image", "vae": "model.VAE"}),
            "repeat": ("RepeatLatentBatch", {"samples": "encode.LATENT", "amount": 6}),
            **sampler("repeat.LATENT", denoise=0.6),
            **put_back("chosen"),
            "chosen": (
                "SonopaintChooseVariations",
                {"reference": "recording.AUDIO", "candidates": "back.AUDIO", "count": 4},
            ),
            "figures": ("PreviewAny", {"source": "chosen.figures"}),
            "plot": ("SonopaintPlot", {"audio": "chosen.AUDIO", "format": "model.format"}),
            "save": ("SonopaintSaveAudio", {"audio": "chosen.AUDIO", "filename_prefix": "sonopaint/chosen"}),
        },
        "Six candidates, and the four of them that are the same thing and differ most: copies, silence and "
        "what has become something else are left out. Any audio model's batch can stand in for Mini's.",
    ),
}


def repainted(name: str) -> Nodes:
    """An audio model's latents of a recording, repainted in a region and put back."""
    return {
        "encode": ("VAEEncodeAudio", {"audio": "recording.AUDIO", "vae": "model.VAE"}),
        "masked": (
            "SonopaintLatentMask",
            {"samples": "encode.LATENT", "audio": "recording.AUDIO", "region": "region.region"}
            | {"positive": "prompt.CONDITIONING", "negative": "negative.CONDITIONING"},
        ),
        "decode": ("VAEDecodeAudio", {"samples": "sampler.LATENT", "vae": "model.VAE"}),
        "back": (
            "SonopaintPutBackAudio",
            {"recording": "recording.AUDIO", "audio": "decode.AUDIO", "region": "region.region"},
        ),
        "save": ("SonopaintSaveAudio", {"audio": "back.AUDIO", "filename_prefix": f"sonopaint/{name}"}),
    }


def masked_sampler(model: str, steps: int, cfg: float, sampler_name: str) -> Nodes:
    inputs = {"model": model, "positive": "masked.positive", "negative": "masked.negative", "seed": 7}
    inputs |= {"latent_image": "masked.LATENT", "steps": steps, "cfg": cfg, "sampler_name": sampler_name}
    return {"sampler": ("KSampler", {**inputs, "scheduler": "simple", "denoise": 1.0})}


def region(start: float, end: float) -> Nodes:
    """A stretch of time, drawn."""
    inputs = {"drawing": drawn(start, end, 20, 16_000), "audio": "recording.AUDIO"}
    return {"region": ("SonopaintRegion", inputs)}


def lane(name: str, points: str, seconds: float = 5.12) -> str:
    """A curve as the lanes of Draw Curves keep it."""
    return json.dumps(parse_points(name, points, seconds).to_dict())


def followed(name: str, prompt: str, curves: Nodes) -> Nodes:
    """Curves that Mini follows, the result brought to them, and both drawn."""
    nodes = {**mini(prompt), **empty(), **curves}
    ask = {"model": "model.MODEL", "curves": "curves.curves", "format": "model.format"}
    return {
        **nodes,
        "follow": ("SonopaintApplyCurves", ask),
        **sampler("latent.LATENT", "follow.MODEL"),
        "decode": ("VAEDecode", {"samples": "sampler.LATENT", "vae": "model.VAE"}),
        "sound": (
            "SonopaintSpectrogramToAudio",
            {"image": "decode.IMAGE", "format": "latent.format", "seed": 7},
        ),
        "brought": ("SonopaintBringToCurves", {"audio": "sound.AUDIO", "curves": "curves.curves"}),
        "plot": ("SonopaintPlotCurves", {"curves": "curves.curves", "audio": "brought.AUDIO"}),
        "look": ("PreviewImage", {"images": "plot.IMAGE"}),
        "save": ("SonopaintSaveAudio", {"audio": "brought.AUDIO", "filename_prefix": f"sonopaint/{name}"}),
    }


WORKFLOWS["Voice to train horn"] = (
    followed(
        "sung",
        "a train horn",
        {
            **example("humming"),
            "curves": ("SonopaintCurvesFromSound", {"audio": "recording.AUDIO", "brightness": False}),
        },
    ),
    "Hum a train horn: the loudness and the pitch of a voice become those of what Mini paints. Put a "
    "recording of your own in the first node's place.",
)
WORKFLOWS["Draw the loudness"] = (
    followed(
        "drawn",
        "footsteps",
        {"curves": ("SonopaintDrawCurves", {"lanes": lane("loudness", "0:-40 2.5:-6 5.1:-40")})},
    ),
    "Steps that come nearer and go away: draw in the lanes, or write points; what is free is the model's "
    "choice.",
)
WORKFLOWS["Blend three sounds"] = (
    {
        **example("horse_hooves"),
        "second": ("SonopaintExampleSound", {"sound": "humming"}),
        "third": ("SonopaintExampleSound", {"sound": "engine"}),
        "blended": (
            "SonopaintBlendSounds",
            {"coarse": "recording.AUDIO", "mid": "second.AUDIO", "fine": "third.AUDIO", "seed": 7},
        ),
        "plot": ("SonopaintPlot", {"audio": "blended.AUDIO"}),
        "look": ("PreviewImage", {"images": "plot.IMAGE"}),
        "save": ("SonopaintSaveAudio", {"audio": "blended.AUDIO", "filename_prefix": "sonopaint/blend"}),
    },
    "Three sounds are taken apart by scale, and a new one is made: the coarse of hooves, the mid of a voice, "
    "the fine of an engine. Put recordings of your own in the first nodes' place; a weight of 0 leaves a "
    "level out, one above 1 exaggerates it.",
)
WORKFLOWS["Match and edit"] = (
    {
        **example("engine"),
        "matched": ("SonopaintMatchSound", {"audio": "recording.AUDIO", "synth": "engine"}),
        "played": (
            "SonopaintPlaySynth",
            {"synth": "as matched", "synth.changes": "rate=-5st rev=0.3 exhaust=-6", "match": "matched.match"}
            | {"colour": 0.5},
        ),
        "plot": ("SonopaintPlot", {"audio": "played.AUDIO"}),
        "look": ("PreviewImage", {"images": "plot.IMAGE"}),
        "save": ("SonopaintSaveAudio", {"audio": "played.AUDIO", "filename_prefix": "sonopaint/match"}),
    },
    "The knobs of a synthesiser that make this engine are found, and turned: slower, revving up, with more "
    "hiss. Put a recording of your own in the first node's place, with synth on auto; other knobs are named "
    "in Match Sound's text. Choose a synth in Play Synth, and its knobs appear.",
)
WORKFLOWS["Repaint with Stable Audio 3"] = (
    {
        **example("horse_hooves"),
        "model": ("CheckpointLoaderSimple", {"ckpt_name": "stable_audio_3_medium_base.safetensors"}),
        "clip": ("CLIPLoader", {"clip_name": "t5gemma_b_b_ul2.safetensors", "type": "stable_audio"}),
        "prompt": ("CLIPTextEncode", {"text": "a steam train whistle", "clip": "clip.CLIP"}),
        "negative": ("CLIPTextEncode", {"text": "", "clip": "clip.CLIP"}),
        **region(1.5, 3.5),
        **masked_sampler("model.MODEL", 50, 7.0, "lcm"),
        **repainted("stable audio"),
    },
    "Any audio model of ComfyUI's repaints a region: Audio Latent Mask lets it paint there only (and tells "
    "Stable Audio 3 what is kept), Put Back Audio keeps every other sample of the recording. Its files are "
    "not part of Sonopaint; the page says where they are.",
)
WORKFLOWS["Continue with ACE-Step"] = (
    {
        **example("whistling"),
        "model": ("CheckpointLoaderSimple", {"ckpt_name": "ace_step_1.5_turbo_aio.safetensors"}),
        "shifted": ("ModelSamplingAuraFlow", {"model": "model.MODEL", "shift": 3.0}),
        "prompt": (
            "TextEncodeAceStepAudio1.5",
            {"clip": "model.CLIP", "tags": "someone whistling a tune, solo", "lyrics": "[Instrumental]"}
            | {"duration": 15.12, "generate_audio_codes": False, "seed": 7},
        ),
        "negative": ("ConditioningZeroOut", {"conditioning": "prompt.CONDITIONING"}),
        "longer": ("SonopaintLengthen", {"audio": "recording.AUDIO", "left": 0.0, "right": 10.0}),
        **masked_sampler("shifted.MODEL", 8, 1.0, "euler"),
        **repainted("continued"),
    },
    "A recording goes on: Lengthen Sound adds silence and gives it as a region, the model paints there, and "
    "every sample of the recording but for the feather stays. The model's file is not part of Sonopaint; the "
    "page says where it is.",
)
_longer = {"recording.AUDIO": "longer.AUDIO", "region.region": "longer.region"}
for _name in ("encode", "masked", "back"):
    _inputs = WORKFLOWS["Continue with ACE-Step"][0][_name][1]
    _inputs |= {key: _longer.get(value, value) for key, value in _inputs.items()}
OTHER_MODELS = ("Repaint with Stable Audio 3", "Continue with ACE-Step")

WORKFLOWS["LoRA"][0]["prompt"][1]["clip"] = WORKFLOWS["LoRA"][0]["negative"][1]["clip"] = "lora.CLIP"


# Blueprints ---------------------------------------------------------------------------------------------

_GIVEN = {"audio": ["canvas.audio"]}
_WORDS = {"prompt": ["prompt.text"], "seed": ["sampler.seed"], "model": ["model.model"]}


def edit_nodes(canvas: tuple[str, dict[str, Any]], prompt: str) -> Nodes:
    """The nodes of an edit, without what shows and saves it."""
    nodes = {**mini(prompt), **edited("", (canvas[0], {"format": "model.format", **canvas[1]}))}
    return {name: node for name, node in nodes.items() if name not in ("plot", "look", "save")}


_VARY = {
    **edit_nodes(("SonopaintVariation", {}), "horse hooves"),
    **sampler("encode.LATENT", denoise=0.5),
}
del _VARY["masked"]
BLUEPRINTS = {
    "Repaint": Blueprint(
        edit_nodes(("SonopaintInpaintCanvas", {}), "a train horn"),
        _GIVEN | {"region": ["canvas.region"]} | _WORDS | {"surroundings": ["back.surroundings"]},
        "back.AUDIO",
        "Repaints a region of a recording with Sonopaint Mini or a Stable Diffusion 1.5 checkpoint; every "
        "sample outside of it stays. Give it a Time–Frequency Region.",
    ),
    "Extend": Blueprint(
        edit_nodes(("SonopaintExtendCanvas", {}), "someone whistling a tune"),
        _GIVEN | {"left": ["canvas.left"], "right": ["canvas.right"]} | _WORDS,
        "back.AUDIO",
        "Adds new time before and after a recording, whose own samples all stay.",
    ),
    "Loop": Blueprint(
        edit_nodes(("SonopaintLoopCanvas", {}), "an engine running"),
        _GIVEN | {"seam": ["canvas.seam"]} | _WORDS,
        "back.AUDIO",
        "Repaints around the place where a recording's end meets its start, so that it plays on and on.",
    ),
    "Vary": Blueprint(
        _VARY,
        _GIVEN | {"strength": ["sampler.denoise"]} | _WORDS,
        "back.AUDIO",
        "The same recording, a little different: a strength of 0.3 is close to it, 0.7 keeps hardly more than"
        " its rhythm.",
    ),
}
