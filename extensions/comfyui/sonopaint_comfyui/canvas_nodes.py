"""Canvases for inpainting, extending, looping and varying a recording, and Put Back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io

from sonoconvert.defaults import OVERLAP_S, SEAM_S, SURROUNDINGS
from sonoconvert.edits.canvas import Canvas, extend_canvas, inpaint_canvas, loop_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Region
from sonoconvert.edits.surroundings import SILENT_DB, loudness_db
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonopaint.tasks.settings import EXTEND_S
from sonopaint_comfyui import kinds
from sonopaint_comfyui.canvases import for_sampler, from_sampler, pictures_by_canvas
from sonopaint_comfyui.convert_nodes import phase_inputs
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import EditContext, PictureInfo, advanced, schema
from sonopaint_comfyui.sounds import audio_of, clips_of, repeated

logger = logging.getLogger(__name__)
TRY = "try another seed in the sampler, another prompt or a larger region"
_AUDIO = "The recording. It is kept as it is outside of what is painted, at its own rate and channels."
_FORMAT = "The format of the model that will paint."


def _start_from() -> io.Combo.Input:
    return io.Combo.Input(
        "start_from",
        options=["noise", "original"],
        default="noise",
        tooltip="What the model starts from where it paints: noise forgets what is there; original keeps it "
        "(use a denoise below 1 in the sampler).",
        extra_dict=advanced(),
    )


def _outputs() -> list[Any]:
    return [
        io.Image.Output(display_name="image", tooltip="For VAE Encode."),
        io.Mask.Output(display_name="mask", tooltip="For Set Latent Noise Mask."),
        kinds.Context.Output(display_name="context", tooltip="For Put Back."),
    ]


def _made(audio: Any, make: Callable[[Clip], Canvas], fill: str, lead: int | None) -> io.NodeOutput:
    canvases = [make(clip) for clip, _ in told(clips_of(audio))]
    return io.NodeOutput(*for_sampler(canvases, fill, lead))


class InpaintCanvas(io.ComfyNode):
    """The picture and mask to repaint a region of a recording."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintInpaintCanvas",
            "Inpaint Canvas",
            group="edit",
            description="Prepares a region of a recording for repainting. Encode the image, set the mask as "
            "latent noise mask, sample, decode, then Put Back.",
            search_aliases=["audio inpaint", "repaint sound", "replace section", "edit audio"],
            inputs=[
                io.Audio.Input("audio", tooltip=_AUDIO),
                kinds.Region.Input("region", tooltip="Where to paint, from Time–Frequency Region."),
                kinds.Format.Input("format", tooltip=_FORMAT),
                _start_from(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, audio: Any, region: Region, format: PictureInfo, start_from: str = "noise"
    ) -> io.NodeOutput:
        return _made(audio, lambda clip: inpaint_canvas(clip, region, format.format), start_from, format.lead)


class ExtendCanvas(io.ComfyNode):
    """The picture and mask for new time before and after a recording."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def side(name: str, default: float, where: str) -> io.Float.Input:
            return io.Float.Input(
                name, default=default, min=0.0, max=600.0, step=0.01, tooltip=f"Seconds of new sound {where}."
            )

        return schema(
            "SonopaintExtendCanvas",
            "Extend Canvas",
            group="edit",
            description="Adds time to a recording, to be painted as it goes on. Every sample of the "
            "recording stays.",
            search_aliases=["outpaint audio", "continue audio", "extend sound", "lengthen"],
            inputs=[
                io.Audio.Input("audio", tooltip=_AUDIO),
                kinds.Format.Input("format", tooltip=_FORMAT),
                side("left", 0.0, "before it"),
                side("right", EXTEND_S, "after it"),
                io.Float.Input(
                    "overlap",
                    default=OVERLAP_S,
                    min=0.0,
                    max=5.0,
                    step=0.01,
                    tooltip="Seconds at the recording's ends that the model may paint over in the picture, "
                    "so that new and old join; the samples stay.",
                    extra_dict=advanced(),
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, audio: Any, format: PictureInfo, left: float, right: float, overlap: float = OVERLAP_S
    ) -> io.NodeOutput:
        def make(clip: Clip) -> Canvas:
            return extend_canvas(clip, left, right, format.format, overlap)

        return _made(audio, make, "noise", format.lead)


class LoopCanvas(io.ComfyNode):
    """The picture and mask to close a recording to a loop."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLoopCanvas",
            "Loop Canvas",
            group="edit",
            description="Repaints around the place where a recording's end meets its start, so that it plays "
            "round and round without a seam.",
            search_aliases=["seamless loop", "loop audio", "close the loop"],
            inputs=[
                io.Audio.Input("audio", tooltip=_AUDIO),
                kinds.Format.Input("format", tooltip=_FORMAT),
                io.Float.Input(
                    "seam",
                    default=SEAM_S,
                    min=0.05,
                    max=60.0,
                    step=0.05,
                    tooltip="Seconds that are repainted around the seam; at most half of the recording.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, audio: Any, format: PictureInfo, seam: float) -> io.NodeOutput:
        def make(clip: Clip) -> Canvas:
            if seam > max(clip.duration_s, SEAM_S):
                raise SonopaintError(
                    f"A {setting('seam')} of {seam:g} s is longer than the recording, which lasts "
                    f"{clip.duration_s:.2f} s; at most half of it is repainted."
                )
            return loop_canvas(clip, format.format, seam)

        return _made(audio, make, "noise", format.lead)


class Variation(io.ComfyNode):
    """The picture of a whole recording, to be varied."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintVariation",
            "Variation",
            group="edit",
            description="The whole recording as a picture. Encode it and sample with a denoise below 1: 0.3 "
            "is close to the recording, 0.7 keeps hardly more than its rhythm.",
            search_aliases=["vary sound", "audio to audio", "img2img audio", "sound variation"],
            inputs=[
                io.Audio.Input("audio", tooltip=_AUDIO),
                kinds.Format.Input("format", tooltip=_FORMAT),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, audio: Any, format: PictureInfo) -> io.NodeOutput:
        everything = Region(feather_s=0.0, inverted=True)

        def make(clip: Clip) -> Canvas:
            return inpaint_canvas(clip, everything, format.format, kind="vary")

        return _made(audio, make, "original", format.lead)


class PutBack(io.ComfyNode):
    """The painted picture as sound inside the recording."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPutBack",
            "Put Back",
            group="edit",
            description="Turns what was painted into sound and puts it into the recording. All samples "
            "outside of the region and its feather stay the recording's own, bit for bit.",
            search_aliases=["paste audio", "composite audio", "apply inpaint"],
            inputs=[
                io.Image.Input("image", tooltip="What was painted, from VAE Decode."),
                kinds.Context.Input("context", tooltip="From the canvas that the picture was painted on."),
                *phase_inputs("Of the starting phase of new sound."),
                io.Combo.Input(
                    "surroundings",
                    optional=True,
                    options=list(SURROUNDINGS),
                    default=SURROUNDINGS[0],
                    tooltip="match: level, tilt and background become those of what is around; add: what is "
                    "there stays behind it; free: as it was painted.",
                ),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        context: EditContext,
        quality: str,
        seed: int,
        surroundings: str = SURROUNDINGS[0],
    ) -> io.NodeOutput:
        pictures = pictures_by_canvas(image, context)
        canvases = repeated(context.canvases, len(pictures), "recordings", "pictures")
        clips, notes = [], []
        for (index, canvas), progress in told(list(enumerate(canvases))):
            painted = from_sampler(pictures[index], canvas, context)
            search = PhaseSearch.of(quality, seed=seed + index)
            clips.append(put_back(canvas, painted, search, surroundings=surroundings, progress=progress))
            if canvas.kind != "vary" and loudness_db(canvas, painted) < -SILENT_DB:
                notes.append(f"Nothing can be heard in what was painted of picture {index + 1}; {TRY}.")
        for note in notes:
            logger.warning(note)
        return io.NodeOutput(audio_of(clips), ui={"text": tuple(notes)} if notes else None)


NODES = [InpaintCanvas, ExtendCanvas, LoopCanvas, Variation, PutBack]
