"""What a model or LoRA file is, in plain words: kind, base, where it loads, how strong, made from what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonoconvert.checkpoints import ldm, lora_names, lora_peft
from sonoconvert.checkpoints.files import PICKLES, Stored, listed, read_stored
from sonoconvert.checkpoints.layouts import CONFIG_KEY, PARTS, open_model, read_weights
from sonoconvert.checkpoints.lora import grouped_keys

SONOPAINT, HOSTS = "Sonopaint", ["AUTOMATIC1111", "Forge", "ComfyUI"]
_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL", 256: "Sonopaint Mini"}
_LORA = re.compile(r"\.lora_|\.lora\.|_lora\.|\.hada_|\.lokr_|\.oft_|lora_linear_layer")
# LyCORIS' and others' ways, by the beginning of a part that only they have. The hosts know them, we do not.
_FAMILIES = (
    ("hada_", "LoHa"), ("lokr_", "LoKr"), ("oft_", "OFT"), ("on_input", "(IA)³"), ("a1.", "GLoRA"),
    ("lora_mid", "Tucker's core"), ("w_norm", "norms"), ("diff", "whole differences"),
)  # fmt: skip
_MINI_INSIDE = (64, 128, 256)  # channels of Mini's self-attention; Stable Diffusion 1 has 320 to 1280
_SHOWN = 120  # characters of a header's value


def is_model_folder(path: Path) -> bool:
    """Whether a folder is one model or LoRA (and not a folder of files)."""
    mini = (path / "config.json").is_file() and (path / "unet.safetensors").is_file()
    adapters = (path / part / lora_peft.WEIGHTS for part in ("", "unet", "text_encoder"))
    return mini or (path / "model_index.json").is_file() or any(file.is_file() for file in adapters)


def explain(path: str | Path) -> dict[str, Any]:
    """Facts about a .safetensors file, a pickle, or a model's folder; nothing is run, few tensors are read.

    Keys: file, what, base, loads_in, strength, trigger, made_from, licence, format, notes (sentences),
    tensors, numbers, types, bytes, metadata; None or empty where nothing is known. Raises SonopaintError for
    damage.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    tensors, metadata, left_out = read_weights(path)
    facts = _facts(path, tensors, metadata)
    facts |= _kind(tensors, metadata)
    if path.suffix.lower() in PICKLES:
        facts["loads_in"] = []
        facts["what"] += ", as a pickle"
        facts["notes"].append(
            f"programs that open pickles run what is in them: sonoconvert checkpoint {path.name} "
            f"{path.stem}.safetensors makes it safe"
        )
    if left_out:
        facts["notes"].append(f"beside the weights: {listed(left_out)}")
    return facts


def in_words(facts: Mapping[str, Any]) -> str:
    """The facts as a few lines."""
    base = f", for {facts['base']}" if facts["base"] else ""
    lines = [f"{facts['file']}: {facts['what']}{base}"]
    if facts["loads_in"]:
        lines.append(f"  loads in: {', '.join(facts['loads_in'])}")
    for key in ("strength", "trigger", "made_from", "licence", "format"):
        if facts[key]:
            lines.append(f"  {key.replace('_', ' ')}: {facts[key]}")
    lines += [f"  {note}" for note in facts["notes"]]
    lines.append(
        f"  {facts['tensors']} tensors, {facts['numbers']:,} numbers ({', '.join(facts['types'])}), "
        f"{facts['bytes'] / 1e6:.1f} MB"
    )
    for key, value in sorted(facts["metadata"].items()):
        lines.append(f"  {key}: {value if len(value) <= _SHOWN else value[: _SHOWN - 1] + '…'}")
    # A header may hold anything: no line of it can pass for another or move the cursor.
    return "\n".join("".join(c if c.isprintable() else "�" for c in line) for line in lines)


def _facts(path: Path, tensors: Mapping[str, Stored], metadata: dict[str, str]) -> dict[str, Any]:
    numbers = [tensor.bytes // tensor.dtype.itemsize for tensor in tensors.values()]
    return {
        "file": str(path),
        "what": "weights of an unknown network",
        "base": None,
        "loads_in": [],
        "strength": None,
        "trigger": metadata.get("modelspec.trigger_phrase") or metadata.get("sonopaint.trigger"),
        "made_from": _made_from(metadata),
        "licence": metadata.get("modelspec.license"),
        "format": _format(metadata),
        "notes": [],
        "tensors": len(tensors),
        "numbers": sum(numbers),
        "types": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}),
        "bytes": sum(tensor.bytes for tensor in tensors.values()),
        "metadata": metadata,
    }


def _kind(tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the names say: the facts that differ from the unknown."""
    names = list(tensors)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if has("lora_unet_", "lora_te") or any(_LORA.search(name) for name in names):
        return _lora(tensors, metadata)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if has(ldm.UNET_PREFIX):
        problem = ldm.why_not_stable_diffusion_1(shapes)
        if CONFIG_KEY in metadata:
            return {"what": "Sonopaint Mini in a single file", "loads_in": [SONOPAINT]}
        width = ldm.context_dim(shapes)
        start = shapes.get(f"{ldm.UNET_PREFIX}input_blocks.0.0.weight", (0,))[0]
        if problem:
            if width == 768:
                return {"what": "a single-file checkpoint (Stable Diffusion 1.x)", "notes": [f"it {problem}"]}
            return {"what": f"a single-file checkpoint (an unknown network, not SD 1.5: it {problem})"}
        if width == 768 and start == 320:
            return {
                "what": "a single-file checkpoint (Stable Diffusion 1.x)",
                "loads_in": [*HOSTS, SONOPAINT],
            }
        return {
            "what": f"a single-file checkpoint (Stable Diffusion 1's layout, smaller: {start} channels)",
            "loads_in": [SONOPAINT],
        }
    if has("string_to_param.", "emb_params"):
        return {"what": "a textual inversion (a word for the prompt)", "loads_in": HOSTS}
    if has("down_blocks.") and has("conv_in."):
        width = ldm.context_dim(shapes)
        return {"what": "a U-Net in diffusers format", "base": _WIDTHS.get(width or 0)}
    if has("encoder.") and has("decoder."):
        return {"what": "a VAE in diffusers format"}
    if has("text_model."):
        return {"what": "a CLIP text encoder"}
    if any(key.startswith("sonopaint.") for key in metadata):
        return {"what": "weights made by Sonopaint"}
    return {}


def _lora(tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> dict[str, Any]:
    groups = grouped_keys(tensors)
    kohya = any(name.startswith("lora_") for name in tensors)
    peft = any(name.startswith(lora_peft.PREFIX) for name in tensors)
    kind = "kohya" if kohya else "PEFT" if peft else "diffusers"
    downs = {name: parts["down"] for name, parts in groups.items() if "down" in parts}
    ranks = sorted({tensor.shape[0] for tensor in downs.values() if tensor.shape})
    text = [name for name in groups if name.startswith(("lora_te", "text_encoder")) or "text_model" in name]
    parts = ["text encoder"] * bool(text) + ["U-Net"] * (len(text) < len(groups))
    width = next(
        (t.shape[1] for n, t in downs.items() if re.search(r"attn2[._]to_k", n) and len(t.shape) > 1), None
    )
    base = "SDXL" if any(name.startswith("lora_te2_") for name in groups) else _WIDTHS.get(width or 0)
    inner = next(
        (
            part.shape[1]
            for name, parts_ in groups.items()
            if re.search(r"attn1[._]to_[qkv]", name)
            and (part := parts_.get("down", parts_.get("hada_w1_b"))) is not None
            and len(part.shape) > 1
        ),
        None,
    )
    if base is None and inner in _MINI_INSIDE:
        base = "Sonopaint Mini"
    mini = base == "Sonopaint Mini" or "sonopaint-mini" in metadata.get("modelspec.architecture", "")
    shown = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}" if ranks else "unknown"
    what = f"a LoRA in {kind} format, rank {shown}"
    notes, others = [], [n for n, p in groups.items() if not {"down", "up"} <= p.keys()]
    plain = (p for p in groups.values() if {"down", "up"} <= p.keys())
    usable = any(not any(part.startswith("lora_mid") for part in p) for p in plain)
    odd = {
        family for p in groups.values() for part in p for start, family in _FAMILIES if part.startswith(start)
    }
    if odd and not usable:
        what = f"a LoRA of another kind ({', '.join(sorted(odd))}, LyCORIS) in {kind} format"
        notes.append("Sonopaint uses plain LoRAs (down and up) only")
    elif odd:
        what += f", with {', '.join(sorted(odd))}, which Sonopaint does not use"
    scales = _scales(groups)
    if kohya and not any("alpha" in parts for parts in groups.values()):
        notes.append("without .alpha (hosts will use scale 1)")
    if scales and (scales[0], scales[-1]) != (1, 1):
        shown = f"{scales[0]:g}" if scales[0] == scales[-1] else f"{scales[0]:g} to {scales[-1]:g}"
        notes.append(f"scale {shown}, which hosts apply by themselves")
    if any({"dora_scale", "magnitude"} & parts.keys() for parts in groups.values()):
        what += ", with DoRA"
    if len(parts) == 1:
        notes.append(f"changes the {parts[0]} only")
    if others:
        notes.append(f"{len(others)} names are of another kind or incomplete: {listed(sorted(others), 3)}")
    if kohya:
        names, unknown = lora_names.from_kohya(groups, metadata, None)
        if unknown:
            notes.append(f"{len(unknown)} names are of modules that SD 1 does not have: {listed(unknown, 3)}")
    loads = [SONOPAINT] if usable and base in ("Stable Diffusion 1.x", "Sonopaint Mini", None) else []
    if kohya and not mini:
        loads = [*HOSTS, *(["diffusers"] if usable else []), *loads]
    elif not kohya:
        loads = ["diffusers" if kind == "diffusers" else "PEFT", *loads]
        notes.append("WebUI and ComfyUI need it in kohya format: sonoconvert lora IN OUT.safetensors")
    strength = metadata.get("sonopaint.strength") or metadata.get("modelspec.usage_hint")
    return {
        "what": what,
        "base": "Sonopaint Mini" if mini else base,
        "loads_in": loads,
        "strength": strength or "1 is how it was trained; less is weaker",
        "notes": notes,
    }


def _scales(groups: Mapping[str, Mapping[str, Stored]]) -> list[float]:
    """The different values of alpha/rank, ascending."""
    found = set()
    for parts in groups.values():
        rank = parts["down"].shape[0] if "down" in parts and parts["down"].shape else 0
        if rank and "alpha" in parts and parts["alpha"].shape in ((), (1,)):
            found.add(round(float(parts["alpha"].load().item().real) / rank, 6))
    return sorted(found)


def _folder(path: Path) -> dict[str, Any]:
    if is_model_folder(path) and not any((path / n).is_file() for n in ("model_index.json", "config.json")):
        tensors: dict[str, Stored] = {}
        metadata: dict[str, str] = {}
        for file in sorted(path.rglob(lora_peft.WEIGHTS)):
            own, header = read_stored(file)
            part = "text_encoder." if file.parent.name == "text_encoder" else ""
            tensors |= {lora_peft.PREFIX + part + n.removeprefix(lora_peft.PREFIX): t for n, t in own.items()}
            metadata |= header
        return _facts(path, tensors, metadata) | _lora(tensors, metadata)
    model = open_model(path)
    tensors = {f"{part}.{n}": t for part in PARTS for n, t in model.parts[part].items()}
    facts = _facts(path, tensors | model.extra, model.headers["unet"])
    width = model.config["unet"].get("cross_attention_dim")
    what = "Sonopaint Mini" if model.is_mini else "a model"
    facts["what"] = f"{what} in {'its own' if model.layout == 'mini' else 'a diffusers'} folder"
    facts["base"] = None if model.is_mini else _WIDTHS.get(width or 0)
    facts["loads_in"] = [SONOPAINT] if model.layout == "mini" else ["diffusers", SONOPAINT]
    if not model.is_mini and width == 768:
        facts["notes"].append("the WebUIs need one file: sonoconvert checkpoint FOLDER OUT.safetensors")
    if not model.tokenizer:
        facts["notes"].append("no tokenizer (Sonopaint takes CLIP's own)")
    return facts


def _made_from(metadata: Mapping[str, str]) -> str | None:
    """One line on data, base and training, from whatever the header tells."""
    told = []
    for key, words in (
        ("modelspec.merged_from", "merged from {}"),
        ("sonopaint.made_from", "{}"),
        ("ss_sd_model_name", "trained on {}"),
        ("ss_num_train_images", "{} examples"),
        ("ss_steps", "{} steps"),
        ("ss_num_epochs", "{} epochs"),
        ("ss_unet_lr", "learning rate {}"),
    ):
        if metadata.get(key) and metadata[key] != "None":
            told.append(words.format(metadata[key][:_SHOWN]))
    training = _json(metadata.get("sonopaint.training"))
    if isinstance(training, dict) and isinstance(training.get("data"), str):
        told.append(training["data"][:_SHOWN])
    return ", ".join(told) or None


def _format(metadata: Mapping[str, str]) -> str | None:
    value = _json(metadata.get("sonopaint.format"))
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
