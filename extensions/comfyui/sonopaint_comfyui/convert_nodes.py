"""Audio → Spectrogram and Spectrogram → Audio."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.defaults import QUALITIES
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.picture import Picture
from sonoconvert.progress import Progress
from sonopaint.painters.spans import padded
from sonopaint.tasks.looping import fitted_loop
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import Format, PictureInfo, advanced, schema
from sonopaint_comfyui.sounds import audio_of, clips_of, image_of, pictures_of
from sonopaint_comfyui.views import shown

DECODERS = {"automatic": True, "phase search only": False}  # whether a learned decoder may begin


def phase_inputs(seed: str) -> list[Any]:
    """Quality and seed of the phase search; `seed` is the latter's tooltip."""
    counts = ", ".join(f"{name} {count}" for name, count in QUALITIES.items())
    return [
        io.Combo.Input(
            "quality",
            options=list(QUALITIES),
            default=PhaseSearch().quality,
            tooltip=f"How long to search for the phase: {counts} iterations.",
        ),
        io.Int.Input("seed", default=0, min=0, max=2**53 - 1, control_after_generate=False, tooltip=seed),
    ]


class AudioToSpectrogram(io.ComfyNode):
    """A sound as a picture, and the format that turns it back at its own level and length."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintAudioToSpectrogram",
            "Audio → Spectrogram",
            description="Draws a sound as a mel spectrogram. The format output remembers level and length.",
            search_aliases=["audio to image", "sound to picture", "mel spectrogram", "encode audio"],
            has_intermediate_output=True,
            inputs=[
                io.Audio.Input("audio", tooltip="Any rate, mono or stereo, batches too."),
                Format.Input("format", tooltip="The format of the model that will see the picture."),
                io.Boolean.Input(
                    "fill_up",
                    default=True,
                    tooltip="Add silent columns on the right up to a multiple of 64, as models need it. "
                    "Spectrogram → Audio cuts them off again.",
                    extra_dict=advanced(),
                ),
            ],
            outputs=[io.Image.Output(), Format.Output(display_name="format")],
        )

    @classmethod
    def execute(cls, audio: Any, format: PictureInfo, fill_up: bool = True) -> io.NodeOutput:
        fmt = format.format
        clips = clips_of(audio)
        pictures = [encode(clip, fmt) for clip, _ in told(clips)]
        image = image_of(pictures)
        if fill_up:
            missing = padded(image.shape[2]) - image.shape[2]
            silence = 1.0 if fmt.inverted else 0.0
            image = torch.nn.functional.pad(image, (0, 0, 0, missing), value=silence)
            if fmt.channels == "stereo":  # red holds nothing
                image[:, :, image.shape[2] - missing :, 0] = 0.0
        peaks = tuple(picture.peak for picture in pictures)
        info = PictureInfo(fmt, peaks, pictures[0].num_samples)
        return io.NodeOutput(image, info, ui=shown(pictures, clips))


class SpectrogramToAudio(io.ComfyNode):
    """Pictures as sounds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintSpectrogramToAudio",
            "Spectrogram → Audio",
            description="Turns spectrogram pictures into sound: mel inversion, then phase reconstruction.",
            search_aliases=["image to audio", "picture to sound", "riffusion", "griffin lim", "vocoder"],
            inputs=[
                io.Image.Input("image", tooltip="The picture as it was painted, not scaled."),
                Format.Input("format", tooltip="The format of the picture: from the node that made it."),
                io.Combo.Input(
                    "decoder",
                    options=list(DECODERS),
                    default="automatic",
                    tooltip="automatic begins with the learned decoder where there is one for the format; "
                    "the search for the phase goes on from there.",
                ),
                *phase_inputs("Of the starting phase; the same seed gives the same samples."),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, format: PictureInfo, decoder: str, quality: str, seed: int
    ) -> io.NodeOutput:
        pictures = list(enumerate(pictures_of(image, format)))
        search = PhaseSearch.of(quality, seed=seed, learned=DECODERS[decoder])
        clips = [
            sound(one, format, replace(search, seed=seed + index), progress)
            for (index, one), progress in told(pictures)
        ]
        return io.NodeOutput(audio_of(clips))


def sound(picture: Picture, info: PictureInfo, search: PhaseSearch, progress: Progress) -> Clip:
    """The picture's sound: at its own level where that is known, else with a peak of −1 dBFS."""
    if info.loop:
        length = info.num_samples or picture.columns * picture.format.hop_length
        return fitted_loop(picture, length, search, progress=progress)[1]
    return decode(picture, search, progress=progress)


NODES = [AudioToSpectrogram, SpectrogramToAudio]
