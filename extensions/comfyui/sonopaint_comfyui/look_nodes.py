"""Spectrogram Plot and Energy Envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FORMAT
from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.plot import plot_spectrogram
from sonopaint.painters.spans import padded
from sonopaint_comfyui import kinds
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import clips_of, pictures_of


class SpectrogramPlot(io.ComfyNode):
    """A sound or a spectrogram with axes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPlot",
            "Spectrogram Plot",
            description="Draws a sound, or a spectrogram picture, over seconds and hertz, 80 dB from light "
            "to dark (the scale is beside it), with a region outlined.",
            search_aliases=["plot audio", "show spectrogram", "visualize", "axes"],
            inputs=[
                io.Audio.Input("audio", optional=True, tooltip="A sound; or connect image and format."),
                io.Image.Input("image", optional=True, tooltip="A spectrogram picture."),
                kinds.Format.Input(
                    "format", optional=True, tooltip="Format of the picture, or to draw with."
                ),
                kinds.Region.Input("region", optional=True, tooltip="Its boxes and strokes are outlined."),
                io.Int.Input("width", default=960, min=80, max=8192, tooltip="Pixels."),
                io.Int.Input("height", default=360, min=60, max=4096, tooltip="Pixels."),
                io.Boolean.Input("dark", default=True, tooltip="Light text on a dark ground."),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        dark: bool,
        audio: Any = None,
        image: torch.Tensor | None = None,
        format: PictureInfo | None = None,
        region: Region | None = None,
    ) -> io.NodeOutput:
        pictures = drawn(audio, image, format)
        plots = [
            plot_spectrogram(one, size=(width, height), region=region, dark=dark) for one, _ in told(pictures)
        ]
        return io.NodeOutput(torch.from_numpy(np.stack([np.asarray(plot) for plot in plots])).float() / 255)


def drawn(audio: Any, image: torch.Tensor | None, info: PictureInfo | None) -> list[Picture]:
    """The pictures to plot."""
    if image is not None:
        if info is None:
            raise SonopaintError(
                "A spectrogram picture needs its format: connect the one that it was made with."
            )
        return pictures_of(image, info)
    if audio is None:
        raise SonopaintError("There is nothing to plot: connect audio, or an image with its format.")
    fmt = info.format if info else PRESETS[FORMAT]
    return [encode(clip, fmt) for clip, _ in told(clips_of(audio))]


class EnergyEnvelope(io.ComfyNode):
    """How loud a sound is over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintEnvelope",
            "Energy Envelope",
            description="How loud a sound is over time (RMS): as numbers, and as a picture whose columns are "
            "as bright as the sound is loud, for masks and as a hint image.",
            search_aliases=["rms", "loudness curve", "amplitude", "control curve", "audio reactive"],
            inputs=[
                io.Audio.Input("audio"),
                kinds.Format.Input("format", tooltip="Gives the columns and rows of the picture."),
                io.Combo.Input(
                    "scale",
                    options=["linear", "db"],
                    default="linear",
                    tooltip="Of the brightness. db: 60 dB from black to white.",
                ),
                io.Boolean.Input("normalize", default=True, tooltip="The loudest moment is white."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="values",
                    is_output_list=True,
                    tooltip="One for each column of the first sound.",
                ),
                io.Mask.Output(display_name="mask"),
                io.Image.Output(display_name="image"),
            ],
        )

    @classmethod
    def execute(cls, audio: Any, format: PictureInfo, scale: str, normalize: bool) -> io.NodeOutput:
        fmt = format.format
        curves = [brightness(curve, scale, normalize) for curve in curves_of(audio, fmt)]
        values = [float(value) for value in curves[0]]
        width = padded(len(values))
        rows = torch.stack([torch.nn.functional.pad(curve, (0, width - len(curve))) for curve in curves])
        mask = rows[:, None, :].expand(-1, fmt.rows, -1).clone()
        return io.NodeOutput(values, mask, mask[..., None].expand(-1, -1, -1, 3).clone())


def curves_of(audio: Any, fmt: Any) -> list[torch.Tensor]:
    """The RMS of each clip at the format's columns."""
    frames_per_s = fmt.sample_rate / fmt.hop_length
    return [rms_envelope(clip.waveform, clip.sample_rate, frames_per_s) for clip, _ in told(clips_of(audio))]


def brightness(curve: torch.Tensor, scale: str, normalize: bool) -> torch.Tensor:
    """An RMS curve as brightness in 0 … 1."""
    top = float(curve.max())
    if normalize and top > 0:
        curve = curve / top
    if scale == "db":
        curve = 1 + 20 * torch.log10(curve.clamp_min(1e-6)) / 60
    return curve.clamp(0, 1)


NODES = [SpectrogramPlot, EnergyEnvelope]
