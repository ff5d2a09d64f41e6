"""Curves: from a sound, a file or points; a MODEL that follows them; a sound brought to them; plotted."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.curves.curves import Curves
from sonoconvert.curves.fit import bent, brighter_and_darker, louder_and_softer, semitones_apart
from sonoconvert.curves.measure import MEASURED, measure
from sonoconvert.curves.plot import plot_curves
from sonoconvert.curves.points import PRESETS as SHAPES
from sonoconvert.curves.points import parse_points, preset
from sonoconvert.curves.reading import read_curves
from sonoconvert.defaults import FORMAT
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS
from sonopaint.models.curves import control, relative, without
from sonopaint.models.curves_file import load_adapter
from sonopaint.models.folders import shipped_folder
from sonopaint.tasks.result import normalised
from sonopaint_comfyui import kinds
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import audio_of, clips_of

logger = logging.getLogger(__name__)
FILES = (".mid", ".midi", ".csv", ".tsv", ".txt", ".mp4", ".mov", ".webm", ".mkv", ".gif")
ALIASES = ["control curve", "automation", "envelope", "sketch2sound", "t-foley", "voice to sound"]


def _noted(curves: Curves) -> Curves:
    for note in curves.notes:
        logger.warning("%s", note)
    return curves


class CurvesFromSound(io.ComfyNode):
    """What a recording does over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        switches = [
            io.Boolean.Input(name, default=name != "onsets", tooltip=f"Take its {name}.") for name in MEASURED
        ]
        return schema(
            "SonopaintCurvesFromSound",
            "Curves from Sound",
            group="curves",
            description="Measures how loud, how high and how bright a sound is over time, and where things "
            "begin in it: hum what you want, and let a model paint it.",
            search_aliases=ALIASES,
            inputs=[io.Audio.Input("audio", tooltip="A voice, or any sound."), *switches],
            outputs=[kinds.Curves.Output(display_name="curves")],
        )

    @classmethod
    def execute(cls, audio: Any, **switches: bool) -> io.NodeOutput:
        names = [name for name in MEASURED if switches.get(name)]
        if not names:
            raise SonopaintError("No curve is switched on; take at least one.")
        [(clip, _)] = list(told(clips_of(audio)[:1]))
        return io.NodeOutput(_noted(measure(clip, names)))


class CurvesFromFile(io.ComfyNode):
    """MIDI, CSV or a video's motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        folder = Path(folder_paths.get_input_directory())
        names = (
            sorted(p.name for p in folder.iterdir() if p.suffix.lower() in FILES) if folder.is_dir() else []
        )
        return schema(
            "SonopaintCurvesFromFile",
            "Curves from MIDI/CSV/Video",
            group="curves",
            description="Reads curves from a MIDI melody, a table with a column for the time, or from what "
            "moves in a video.",
            search_aliases=[*ALIASES, "midi", "csv", "foley"],
            inputs=[io.Combo.Input("file", options=names, tooltip="In ComfyUI's input folder.")],
            outputs=[kinds.Curves.Output(display_name="curves")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        path = Path(folder_paths.get_annotated_filepath(file)).resolve()
        if not path.is_relative_to(Path(folder_paths.get_input_directory()).resolve()):
            raise SonopaintError(f"There is no file {file!r} in ComfyUI's input folder.")
        return io.NodeOutput(_noted(read_curves(path)))


class DrawCurves(io.ComfyNode):
    """Curves written as points, or drawn in lanes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def points(name: str, example: str, unit: str) -> Any:
            return io.String.Input(
                name, default="", placeholder=example, optional=True,
                tooltip=f"second:{unit} with spaces between, straight in between; free: the model's choice.",
            )  # fmt: skip

        return schema(
            "SonopaintDrawCurves",
            "Draw Curves",
            group="curves",
            description="Curves drawn in lanes over the time, or written as points; what is drawn comes "
            "first, points take its place where they are given.",
            search_aliases=[*ALIASES, "adsr", "keyframes"],
            inputs=[
                io.Float.Input("seconds", default=5.12, min=0.1, max=600.0, step=0.01, tooltip="The length."),
                io.Combo.Input("shape", options=["none", *SHAPES], tooltip="A loudness to begin with."),
                points("loudness", "0:-60 0.3:-12 2:-20 3:free", "decibel"),
                points("pitch", "0:A3 1:440 2:off", "hertz, or a note"),
                points("brightness", "0:500 2:4000", "hertz"),
                points("onsets", "0.5:1 1:1", "1 for each"),
                kinds.Lanes.Input("lanes", optional=True, tooltip="Draw here; right button or Shift: free."),
                kinds.Curves.Input("curves", optional=True, tooltip="Others, which these are added to."),
            ],
            outputs=[kinds.Curves.Output(display_name="curves")],
        )

    @classmethod
    def execute(
        cls,
        seconds: float,
        shape: str,
        loudness: str = "",
        pitch: str = "",
        brightness: str = "",
        onsets: str = "",
        lanes: str | None = None,
        curves: Curves | None = None,
    ) -> io.NodeOutput:
        found = [curves] if curves is not None else []
        if shape != "none":
            found.append(preset(shape, seconds))
        if lanes:
            try:
                found.append(Curves.from_dict(json.loads(lanes)))
            except json.JSONDecodeError as error:
                raise SonopaintError("The lanes can't be read; draw them again.") from error
        written = {"loudness": loudness, "pitch": pitch, "brightness": brightness, "onsets": onsets}
        found += [parse_points(name, text, seconds) for name, text in written.items() if text.strip()]
        if not found:
            raise SonopaintError("There are no curves: draw in a lane, choose a shape, or write points.")
        joined = found[0]
        for one in found[1:]:
            joined = joined.joined(one)
        return io.NodeOutput(joined)


class ApplyCurves(io.ComfyNode):
    """A MODEL that follows curves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintApplyCurves",
            "Apply Curves",
            group="curves",
            description="Lets Mini follow curves while it paints, at every step, also in long sounds and "
            "with LoRAs. Bring to Curves does the last decibels and cents afterwards.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model"),
                kinds.Curves.Input("curves", tooltip="What to follow; what is free is the model's choice."),
                kinds.Format.Input("format", tooltip="The model's format."),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, curves: Curves, format: PictureInfo) -> io.NodeOutput:
        if curves.is_free:
            raise SonopaintError("All curves are free: there is nothing to follow.")
        path = shipped_folder() / "mini" / "curves.safetensors"
        if not path.is_file():
            raise SonopaintError(f"The adapter for curves is missing ({path}); get the pack anew.")
        adapter, asked, seen = load_adapter(path), relative(curves), {}
        if adapter.variant != "output":
            raise SonopaintError("This adapter works inside the U-Net; ComfyUI takes those behind it only.")

        def correct(args: dict[str, Any]) -> list[Any]:
            """Both sides of the guidance, moved towards the curves."""
            x, sigma = args["input"], args["sigma"]
            if x.shape[1] != 4:
                raise SonopaintError("The adapter for curves was made for another kind of model.")
            if x.shape[-1] not in seen:
                seen[x.shape[-1]] = control(asked, format.format, 8 * x.shape[-1])
            ask = seen[x.shape[-1]].to(x.device, torch.float32).expand(len(x), -1, -1, -1)
            levels = sigma.reshape(-1).float().expand(len(x)) if sigma.numel() == 1 else sigma.float()
            scaled = x.float() / (levels.view(-1, 1, 1, 1) ** 2 + 1) ** 0.5
            made = adapter.to(x.device)
            with torch.no_grad():
                asks = [ask, without(ask)]  # guidance strengthens curves as it does words
                return [
                    made(asks[min(k, 1)], scaled, out.float(), levels).to(out)
                    if torch.is_tensor(out) and out.any()
                    else out
                    for k, out in enumerate(args["conds_out"])
                ]

        patched = model.clone()
        patched.set_model_sampler_pre_cfg_function(correct)
        return io.NodeOutput(patched)


class BringToCurves(io.ComfyNode):
    """The last decibels and cents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintBringToCurves",
            "Bring to Curves",
            group="curves",
            description="Rides the gain of a sound to a loudness curve, and bends its pitch, by "
            "twelve semitones at most and in its own octave, to a pitch curve, and tilts its spectrum to a "
            "brightness. Of any model's sound.",
            search_aliases=[*ALIASES, "auto-tune", "gain"],
            inputs=[
                io.Audio.Input("audio"),
                kinds.Curves.Input("curves", tooltip="What to bring it to."),
                io.Boolean.Input("loudness", default=True, tooltip="Ride the gain."),
                io.Boolean.Input("pitch", default=True, tooltip="Bend the pitch."),
                io.Boolean.Input("brightness", default=True, optional=True, tooltip="Tilt the spectrum."),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(
        cls, audio: Any, curves: Curves, loudness: bool, pitch: bool, brightness: bool = True
    ) -> io.NodeOutput:
        made = []
        for clip, _ in told(clips_of(audio)):
            asked = curves.at(curves.rate, max(1, round(clip.duration_s * curves.rate)))
            apart = semitones_apart(clip, asked) if pitch else None
            if apart is not None:
                picture = bent(encode(clip.mono(), PRESETS[FORMAT]), apart, asked.rate)
                turned = decode(picture).resampled(clip.sample_rate).waveform[:, : clip.num_samples]
                turned = torch.nn.functional.pad(turned, (0, clip.num_samples - turned.shape[1]))
                clip = dataclasses.replace(clip, waveform=turned.expand(clip.num_channels, -1).clone())
            if brightness:
                clip = brighter_and_darker(clip, asked)
            if loudness:
                clip = louder_and_softer(clip, asked)
            changed = loudness and "loudness" in asked.names or brightness and "brightness" in asked.names
            made.append(normalised(clip) if changed else clip)
        return io.NodeOutput(audio_of(made))


class PlotCurves(io.ComfyNode):
    """Curves, and what a sound made of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPlotCurves",
            "Plot Curves",
            group="curves",
            description="Draws curves in lanes, and what a sound measures of them over it.",
            search_aliases=[*ALIASES, "plot"],
            inputs=[
                kinds.Curves.Input("curves", tooltip="What was asked."),
                io.Audio.Input("audio", optional=True, tooltip="What was made."),
                io.Int.Input("width", default=960, min=200, max=4096, tooltip="Pixels."),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, curves: Curves, audio: Any = None, width: int = 960) -> io.NodeOutput:
        got = None
        if audio is not None:
            names = [name for name in curves.names if name in MEASURED]
            got = measure(clips_of(audio)[0], names, curves.rate)
            curves = curves.at(curves.rate, got.frames)
        image = np.asarray(plot_curves(curves, got, width=width))
        return io.NodeOutput(torch.from_numpy(image.copy()).float()[None] / 255)


NODES = [CurvesFromSound, CurvesFromFile, DrawCurves, ApplyCurves, BringToCurves, PlotCurves]
