"""What a file is, in plain words: sounds, spectrogram pictures, safetensors."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError

# The safetensors library's own limit for headers.
_MAX_HEADER = 100_000_000
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_SUBTYPES = {
    "PCM_U8": "8 bit",
    "PCM_S8": "8 bit",
    "PCM_16": "16 bit",
    "PCM_24": "24 bit",
    "PCM_32": "32 bit",
    "FLOAT": "32 bit float",
    "DOUBLE": "64 bit float",
    "VORBIS": "Vorbis",
}


def describe(path: str | os.PathLike[str], *, format: str | None = None) -> str:
    """A few lines on a sound, a picture or a safetensors file.

    Args:
        format: spectrogram format for pictures that don't say theirs.

    Raises:
        SonopaintError: missing, damaged, or none of the three.
    """
    source = Path(path)
    if not source.is_file():
        raise SonopaintError(f"There is no file {source}.")
    suffix = source.suffix.lower()
    if suffix in _PICTURES:
        return _describe_picture(source, format)
    if suffix == ".safetensors":
        return _describe_safetensors(source)
    if suffix in _PICKLES:
        raise SonopaintError(
            f"{source} is a pickle, which can run code when it is opened; use a .safetensors file instead."
        )
    return _describe_sound(source)


def _describe_sound(path: Path) -> str:
    from sonoconvert.clip import sound_header

    header = sound_header(path)
    channels = {1: "mono", 2: "stereo"}.get(header.channels, f"{header.channels} channels")
    kind = _SUBTYPES.get(header.subtype, header.subtype)
    seconds = header.frames / header.sample_rate
    lines = [
        f"{path}: a sound ({header.container}, {kind}), {header.sample_rate} Hz, {channels}, "
        f"{seconds:.3f} s ({header.frames} samples)"
    ]
    return "\n".join(lines + _settings_lines(header.settings))


def _describe_picture(path: Path, format: str | None) -> str:
    from sonoconvert.picture import load_picture

    picture = load_picture(path, format=format)
    fmt = picture.format
    level = "unknown, will be normalised" if picture.peak is None else "absolute, stored in the file"
    lines = [
        f"{path}: a spectrogram picture, format {fmt.name}, {fmt.channels}, {picture.depth} bit, "
        f"{picture.duration_s:.3f} s ({picture.columns} × {fmt.rows} pixels)",
        f"  {fmt.sample_rate} Hz, {fmt.n_mels} mel bands {fmt.f_min:g}–{fmt.f_max:g} Hz, "
        f"one column each {1000 * fmt.hop_length / fmt.sample_rate:.4g} ms",
        f"  level: {level}",
    ]
    lines += [f"  damage: {note}" for note in picture.damage]
    return "\n".join(lines + _settings_lines(picture.settings))


def _describe_safetensors(path: Path) -> str:
    tensors, metadata = read_safetensors_header(path)
    count = sum(_numel(entry) for entry in tensors.values())
    dtypes = sorted({str(entry["dtype"]) for entry in tensors.values()})
    lines = [
        f"{path}: {_kind_of_weights(tensors, metadata)}",
        f"  {len(tensors)} tensors, {count:,} numbers ({', '.join(dtypes)}), "
        f"{path.stat().st_size / 1e6:.1f} MB",
    ]
    for key in sorted(metadata):
        text = metadata[key] if len(metadata[key]) <= 120 else metadata[key][:117] + "…"
        lines.append(f"  {key}: {text}")
    return "\n".join(lines)


def read_safetensors_header(path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Tensor entries and metadata of a safetensors file, checked against its size; no weights are read.

    Raises:
        SonopaintError: not safetensors, truncated, or a header that lies about sizes.
    """
    source = Path(path)
    size = source.stat().st_size
    with source.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise SonopaintError(f"{source} is not a safetensors file, or is cut off; get it again.")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SonopaintError(f"{source} has a damaged safetensors header; get it again.") from error
    if not isinstance(header, dict):
        raise SonopaintError(f"{source} has a damaged safetensors header; get it again.")
    metadata = header.pop("__metadata__", {})
    end = 0
    for name, entry in header.items():
        if not _is_entry(entry):
            raise SonopaintError(f"{source} has a damaged entry for tensor {name!r}; get it again.")
        end = max(end, entry["data_offsets"][1])
    if end != size - 8 - length:
        raise SonopaintError(
            f"{source} promises {end} bytes of weights but has {size - 8 - length}; get it again."
        )
    texts = {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}
    return header, texts


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        return False
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int for n in offsets):
        return False
    width = _DTYPE_BYTES.get(entry["dtype"])
    right_size = width is None or offsets[1] - offsets[0] == _numel(entry) * width
    return 0 <= offsets[0] <= offsets[1] and right_size


def _numel(entry: dict[str, Any]) -> int:
    count = 1
    for n in entry["shape"]:
        count *= n
    return count


def _kind_of_weights(tensors: dict[str, dict[str, Any]], metadata: dict[str, str]) -> str:
    names = list(tensors)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if has("lora_unet_", "lora_te_"):
        return f"a LoRA in kohya format, rank {_ranks(tensors)}{_scale_note(names)}"
    if any(".lora_A." in name or ".lora.down." in name or ".lora_down." in name for name in names):
        return "a LoRA in PEFT or diffusers format (convert it to kohya format for WebUI and ComfyUI)"
    if has("model.diffusion_model."):
        context = tensors.get(
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", {}
        ).get("shape", [0, 0])
        family = "Stable Diffusion 1.x" if context[-1] == 768 else "an unknown network, not SD 1.5"
        return f"a single-file checkpoint ({family})"
    if has("down_blocks.") and has("conv_in."):
        return "a U-Net in diffusers format"
    if has("encoder.") and has("decoder."):
        return "a VAE in diffusers format"
    if has("text_model."):
        return "a CLIP text encoder"
    if "sonopaint.format" in metadata:
        return "weights made by Sonopaint"
    return "weights of an unknown network"


def _ranks(tensors: dict[str, dict[str, Any]]) -> str:
    ranks = sorted(
        {e["shape"][0] for n, e in tensors.items() if n.endswith("lora_down.weight") and e["shape"]}
    )
    return ", ".join(map(str, ranks)) or "unknown"


def _scale_note(names: list[str]) -> str:
    if any(name.endswith(".alpha") for name in names):
        return ""
    return ", without .alpha (hosts will use scale 1)"


def _settings_lines(settings: dict[str, Any]) -> list[str]:
    return [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
