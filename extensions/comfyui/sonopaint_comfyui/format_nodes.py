"""Spectrogram Format and Empty Spectrogram."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch
from comfy_api.latest import io

from sonoconvert.defaults import FORMAT
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import CHANNELS, PRESETS, SpectrogramFormat, get_format
from sonopaint.models.info import format_of_loras
from sonopaint.painters.spans import MULTIPLE, padded
from sonopaint.tasks.generation import samples_of
from sonopaint_comfyui.kinds import LORA_METADATA, METADATA, Format, PictureInfo, advanced, schema

logger = logging.getLogger(__name__)
AS_PRESET = -1.0
_NUMBERS: dict[str, tuple[type, float, float, str]] = {
    # field: (type, lowest, highest, tooltip)
    "sample_rate": (int, 1000, 768_000, "Samples per second of the sound that the picture stands for."),
    "n_fft": (int, 16, 131_072, "Size of the Fourier transform, in samples."),
    "win_length": (int, 16, 131_072, "Length of the analysis window, in samples; even."),
    "hop_length": (int, 1, 65_536, "Samples from one column of the picture to the next."),
    "n_mels": (int, 8, 4096, "Rows of the picture (mel bands). Models want a multiple of 8."),
    "f_min": (float, 0, 384_000, "Lowest frequency, in hertz."),
    "f_max": (float, 1, 384_000, "Highest frequency, in hertz; at most half of the sample rate."),
    "floor_db": (float, -200, 0, "Level that black stands for, in dB below the loudest cell."),
    "exponent": (float, 0.01, 4, "Exponent of the power curve."),
    "width": (int, 1, 65_536, "Columns of the pictures that the model was trained on."),
}
_WORDS = {
    "channels": (
        CHANNELS,
        "What red, green and blue hold: mono; stereo (left in green, right in blue); mid-side (the middle in "
        "red); rgb (mono with three times the bands).",
    ),
    "curve": (("db", "power"), "How levels become grey: decibels, or Riffusion's power of 0.25."),
    "mel_scale": (("htk", "slaney"), "Which mel scale the rows follow."),
    "mel_norm": (("none", "slaney"), "Slaney's normalisation gives every mel band the same area."),
    "inverted": (("no", "yes"), "Whether loud is drawn dark, as Riffusion does."),
}


class SpectrogramFormatNode(io.ComfyNode):
    """A preset, with any of its fields replaced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[Any] = [
            io.Combo.Input(
                "preset",
                options=list(PRESETS),
                default=FORMAT,
                tooltip="What the model was trained on: sonopaint-mini for Sonopaint Mini, riffusion-v1 for "
                "Riffusion v1 checkpoints, perkins-10s for ten-second LoRAs over the full band.",
            )
        ]
        for name, (words, tooltip) in _WORDS.items():
            inputs.append(
                io.Combo.Input(
                    name,
                    options=["as the preset", *words],
                    default="as the preset",
                    optional=True,
                    tooltip=tooltip,
                    extra_dict=None if name == "channels" else advanced(),
                )
            )
        for name, (kind, low, high, tooltip) in _NUMBERS.items():
            common: dict[str, Any] = {
                "optional": True,
                "tooltip": f"{tooltip} {0 if name == 'floor_db' else -1}: as the preset says.",
                "extra_dict": advanced(),
            }
            default = 0.0 if name == "floor_db" else AS_PRESET
            if kind is int:
                inputs.append(io.Int.Input(name, default=int(default), min=-1, max=int(high), **common))
            else:
                inputs.append(
                    io.Float.Input(name, default=default, min=min(low, -1), max=high, step=0.01, **common)
                )
        inputs.append(
            io.Model.Input(
                "model",
                optional=True,
                tooltip="A model with its LoRAs: what their files say, in place of the preset.",
            )
        )
        return schema(
            "SonopaintFormat",
            "Spectrogram Format",
            description="How a sound is drawn as a picture: rate, window, mel bands, levels.",
            search_aliases=["mel spectrogram settings", "riffusion format", "spectrogram preset"],
            inputs=inputs,
            outputs=[Format.Output(display_name="format")],
        )

    @classmethod
    def execute(cls, preset: str, model: Any = None, **fields: Any) -> io.NodeOutput:
        fmt = (format_of(model) if model is not None else None) or get_format(preset)
        return io.NodeOutput(PictureInfo(changed(fmt, fields)))


def format_of(model: Any) -> SpectrogramFormat | None:
    """What a MODEL paints: its LoRA's format, else its own; None where neither file says."""
    lora, own = (model.get_attachment(name) or {} for name in (LORA_METADATA, METADATA))
    found = format_of_loras([("The LoRA", lora)])
    if found and any(len(patches) > 1 for patches in model.patches.values()):
        # ComfyUI keeps the last one's header only.
        logger.warning("The model has more than one LoRA; the format is the last one's, %s.", found.name)
    return found or format_of_loras([("The model", own)])


def changed(fmt: SpectrogramFormat, fields: dict[str, Any]) -> SpectrogramFormat:
    """`fmt` with the fields that the person set; a format that was changed is called "custom"."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "channels" and value != "as the preset":
            fmt = fmt.with_channels(value)
        elif name in _WORDS and value != "as the preset":
            values[name] = {"none": None, "yes": True, "no": False}.get(value, value)
        elif name == "floor_db" and value != 0:
            values[name] = float(value)
        elif name in _NUMBERS and name != "floor_db" and value != AS_PRESET:
            values[name] = _NUMBERS[name][0](value)
    values = {name: value for name, value in values.items() if getattr(fmt, name) != value}
    if not values:
        return fmt
    renamed = dataclasses.replace(fmt, name="custom", **values)
    same = [p for p in PRESETS.values() if dataclasses.replace(renamed, name=p.name) == p]
    return same[0] if same else renamed


class EmptySpectrogram(io.ComfyNode):
    """A latent of the right size for so many seconds, and the format that knows them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintEmptySpectrogram",
            "Empty Spectrogram Latent",
            description="An empty latent as wide as a sound of this length, for a sampler to fill.",
            search_aliases=["empty latent audio", "text to sound", "spectrogram latent"],
            inputs=[
                Format.Input("format", tooltip="The model's format: from its loader or Spectrogram Format."),
                io.Float.Input(
                    "seconds",
                    default=0.0,
                    min=0.0,
                    max=3600.0,
                    step=0.01,
                    tooltip="Length of the sound. 0: what the model was trained on (5.12 s for Mini).",
                ),
                io.Int.Input("batch_size", default=1, min=1, max=100, tooltip="How many sounds at once."),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    tooltip="For a loop (see Seamless Loop): a width that wraps; the sound is fitted to "
                    "the seconds when it is decoded.",
                ),
            ],
            outputs=[io.Latent.Output(), Format.Output(display_name="format")],
        )

    @classmethod
    def execute(cls, format: PictureInfo, seconds: float, batch_size: int, loop: bool) -> io.NodeOutput:
        info = sized(format, seconds, loop)
        return io.NodeOutput({"samples": empty_latent(info, batch_size)}, info)


def sized(info: PictureInfo, seconds: float, loop: bool = False) -> PictureInfo:
    """The format with a length of `seconds` (0: the model's own)."""
    num_samples = samples_of(seconds or None, info.format)
    return dataclasses.replace(info, peaks=(), num_samples=num_samples, loop=loop)


def empty_latent(info: PictureInfo, batch_size: int) -> torch.Tensor:
    """Zeros [batch, 4, rows / 8, columns / 8], the columns filled up to a multiple of 64."""
    fmt = info.format
    if fmt.rows % 8:
        raise SonopaintError(
            f"{fmt.name} has {fmt.rows} rows, which is no multiple of 8, so no model can paint it; "
            "choose another n_mels."
        )
    columns = fmt.frames(info.num_samples or fmt.width * fmt.hop_length)
    if info.loop:  # models wrap at multiples of 64 columns only
        wide = max(1, round((info.num_samples or 0) / fmt.hop_length / MULTIPLE)) * MULTIPLE
    else:
        wide = padded(columns)
    return torch.zeros(batch_size, 4, fmt.rows // 8, wide // 8)


NODES = [SpectrogramFormatNode, EmptySpectrogram]
