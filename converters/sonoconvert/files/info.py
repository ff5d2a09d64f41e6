"""What a file is, in plain words: sounds, spectrogram pictures, models and LoRAs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_WEIGHTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".pkl"}
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
    """A few lines on a sound, a picture, a model or a LoRA.

    Args:
        format: spectrogram format for pictures that don't say theirs.

    Raises:
        SonopaintError: missing, damaged, or none of the three.
    """
    source = Path(path)
    if _is_weights(source):
        from sonoconvert.checkpoints.explain import explain, in_words

        return in_words(explain(source))
    if not os.path.isfile(source):
        raise SonopaintError(f"There is no file {source}.")
    if source.suffix.lower() in _PICTURES:
        return _describe_picture(source, format)
    return _describe_sound(source)


def facts(path: str | os.PathLike[str], *, format: str | None = None) -> dict[str, Any]:
    """What describe says, for programs: at least "file" and "what" (see checkpoints.explain for weights)."""
    source = Path(path)
    if _is_weights(source):
        from sonoconvert.checkpoints.explain import explain

        return explain(source)
    first, *rest = describe(source, format=format).splitlines()
    return {
        "file": str(source),
        "what": first.removeprefix(f"{source}: "),
        "notes": [x.strip() for x in rest],
    }


def _is_weights(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in _WEIGHTS


def _describe_sound(path: Path) -> str:
    from sonoconvert.files.clip import sound_header

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
    from sonoconvert.pictures.picture import load_picture

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


def _settings_lines(settings: dict[str, Any]) -> list[str]:
    return [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
