"""Files in ComfyUI's folders: temporary sounds for the browser, and saved ones with their workflow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
from PIL import Image

from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.files.tags import add_tags
from sonopaint.knowledge import knowledge_of

# What the person chooses: (suffix, soundfile's subtype).
KINDS = {
    "WAV 16 bit": (".wav", "PCM_16"),
    "WAV 24 bit": (".wav", "PCM_24"),
    "WAV 32 bit float": (".wav", "FLOAT"),
    "FLAC 16 bit": (".flac", "PCM_16"),
    "FLAC 24 bit": (".flac", "PCM_24"),
    "OGG": (".ogg", "VORBIS"),
}
_TEXT_INPUTS = ("text", "prompt", "prompt_a")
# What a sampler, or a node that gives it a part of its work, is set to: {its input: our setting}.
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SonopaintOneStep", "SamplerCustom", "SamplerCustomAdvanced")
_VALUES = {"seed": "seed", "noise_seed": "seed", "seed_a": "seed", "steps": "steps", "cfg": "guidance_scale"}
_VALUES |= {"sampler_name": "sampler", "denoise": "strength"}
_WORDS = {"positive": "prompt", "prompt": "prompt", "negative": "negative_prompt"}
_PARTS = ("sigmas", "sampler", "guider", "noise")


def temporary_wav(clip: Clip) -> dict[str, str]:
    """Write a clip for the browser to play; ComfyUI empties its temp folder when it starts."""
    path = _temporary("wav")
    write_clip(replace(clip, settings={}), path, subtype="PCM_16")
    return {"filename": path.name, "subfolder": "", "type": "temp"}


def temporary_png(image: Image.Image) -> dict[str, str]:
    """Write a picture for the browser to show."""
    path = _temporary("png")
    image.save(path, compress_level=1)  # seen once: quick counts, not small
    return {"filename": path.name, "subfolder": "", "type": "temp"}


def _temporary(suffix: str) -> Path:
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"sonopaint-{uuid.uuid4().hex}.{suffix}"


def save_sound(
    clip: Clip, path: Path, subtype: str, graph: Mapping[str, Any] | None, extra: Mapping[str, Any] | None
) -> None:
    """Write a clip with its settings, ComfyUI's prompt (`graph`) and its workflow (in `extra`) inside.

    FLAC and OGG hold them as the tags that ComfyUI reads when a file is dropped on its page; WAV has no such
    tags, there they stand in the comment, under "comfyui", and Sonopaint's page script reads them.
    """
    host = {"prompt": graph, **(extra or {})} if graph else dict(extra or {})
    settings = {**clip.settings, **settings_of(graph)}
    if path.suffix == ".wav" and host:
        settings["comfyui"] = host
    write_clip(replace(clip, settings=settings), path, subtype=subtype)
    if path.suffix != ".wav" and host:
        add_tags(path, {name: json.dumps(value) for name, value in host.items()})


def settings_of(graph: Mapping[str, Any] | None) -> dict[str, Any]:
    """Sonopaint's settings (prompt, seed, steps …) from the first sampler of a graph, as far as known."""
    nodes = graph or {}
    sampler = next((n for n in nodes.values() if n.get("class_type") in _SAMPLERS), None)
    found: dict[str, Any] = {}
    waiting = [sampler] if sampler else []
    while waiting:
        inputs = waiting.pop(0).get("inputs", {})
        for name, value in inputs.items():
            if name in _VALUES and not isinstance(value, list):
                found.setdefault(_VALUES[name], value)
            elif name in _WORDS and (text := _text_behind(nodes, value)) is not None:
                found.setdefault(_WORDS[name], text)
            elif name in _PARTS and isinstance(value, list) and value:
                waiting.append(nodes.get(str(value[0]), {}))
    return {"task": "comfyui", **found} if found else {}


def unknown_in(graph: Mapping[str, Any] | None, models: Mapping[str, Path]) -> str:
    """What the graph's prompt names that its model does not know, in a sentence; empty for nothing.

    models: those of Load Sonopaint Mini, by name.
    """
    inputs = {node["class_type"]: node["inputs"] for node in (graph or {}).values() if "inputs" in node}
    name = inputs.get("SonopaintLoadMini", {}).get("model")
    if not isinstance(name, str) or name not in models:
        return ""
    loras = [str(one[key]) for one in inputs.values() for key in ("lora_name", "lora") if key in one]
    known = knowledge_of(models[name], [Path(lora).stem for lora in loras])
    prompt = settings_of(graph).get("prompt", "")
    return known.sentence(prompt, name) if known and prompt else ""


def _text_behind(graph: Mapping[str, Any], link: Any, depth: int = 8) -> str | None:
    """The words that come into a conditioning socket, from the nearest node that has some."""
    if not isinstance(link, list) or not link or depth == 0:
        return None
    inputs = graph.get(str(link[0]), {}).get("inputs", {})
    for name in _TEXT_INPUTS:
        if isinstance(inputs.get(name), str):
            return inputs[name]
    found = (_text_behind(graph, value, depth - 1) for value in inputs.values())
    return next((text for text in found if text is not None), None)
