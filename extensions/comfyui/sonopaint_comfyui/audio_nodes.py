"""Sounds of any model in the graph: masks for its latents, what it made put back, loudness."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from comfy_api.latest import io

from sonoconvert.defaults import FEATHER_S, FORMAT
from sonoconvert.edits.loudness import at_loudness, lufs
from sonoconvert.edits.region import Box, Region
from sonoconvert.edits.splice import splice
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS
from sonopaint_comfyui import kinds
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import audio_of, clips_of, repeated

logger = logging.getLogger(__name__)
LUFS = -16.0
# Of latents: Stable Audio 1, Stable Audio 3 and ACE-Step 1, ACE-Step 1.5.
FRAMES_PER_S = (44_100 / 2048, 44_100 / 4096, 48_000 / 1920)


class LatentMask(io.ComfyNode):
    """A region as the noise mask of an audio model's latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLatentMask",
            "Audio Latent Mask",
            group="any model",
            description="Lets an audio model (Stable Audio, ACE-Step …) repaint only a region's time: the "
            "noise mask for its latents, which core's Set Latent Noise Mask can't give, and for Stable Audio "
            "3 what is kept, in the conditioning.",
            search_aliases=[
                "audio inpaint",
                "set latent noise mask",
                "stable audio inpaint",
                "ace step repaint",
            ],
            inputs=[
                io.Latent.Input("samples", tooltip="The recording's latents, from VAE Encode Audio."),
                io.Audio.Input("audio", tooltip="The recording that was encoded: it says how long they are."),
                kinds.Region.Input("region", tooltip="Its time is repainted, at all frequencies."),
                io.Conditioning.Input("positive", optional=True, tooltip="For models that see what is kept."),
                io.Conditioning.Input("negative", optional=True, tooltip="For models that see what is kept."),
            ],
            outputs=[
                io.Latent.Output(),
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
            ],
        )

    @classmethod
    def execute(
        cls,
        samples: dict[str, Any],
        audio: Any,
        region: Region,
        positive: Any = None,
        negative: Any = None,
    ) -> io.NodeOutput:
        latents = samples["samples"]
        free = free_frames(region, clips_of(audio)[0].duration_s, latents.shape[-1])
        # [1, 1, frames], or [1, 1, rows, frames] for models whose latents have rows.
        mask = free.expand(1, 1, *latents.shape[2:-1], -1).clone()
        seen = {"concat_latent_image": latents * (1 - mask.to(latents)), "concat_mask": mask}
        return io.NodeOutput(
            {**samples, "noise_mask": mask}, with_values(positive, seen), with_values(negative, seen)
        )


def free_frames(region: Region, duration_s: float, count: int) -> torch.Tensor:
    """float32 [count]: 1 for each latent frame that the region or its feather touches.

    Raises SonopaintError where that is none.
    """
    free, rate = torch.zeros(count), frames_per_s(duration_s, count)
    for start, end in region.time_support(duration_s):
        free[math.floor(start * rate) : math.ceil(end * rate)] = 1
    if not free.any():
        raise SonopaintError(
            f"The region lies outside the recording, which lasts {duration_s:.2f} s; choose seconds in it."
        )
    return free


def frames_per_s(duration_s: float, count: int) -> float:
    """Latent frames in a second: that of a model which gives `count` of them, or about so.

    Encoders cut the recording to whole frames or fill it up, so that the last one counts in part.
    """
    rate = min(FRAMES_PER_S, key=lambda one: abs(count - one * duration_s))
    return rate if abs(count - rate * duration_s) <= 1 else count / duration_s


def with_values(conditioning: Any, values: dict[str, Any]) -> Any:
    """A CONDITIONING whose parts have more values; None stays None."""
    return None if conditioning is None else [[text, {**more, **values}] for text, more in conditioning]


class Lengthen(io.ComfyNode):
    """Silence before and after a recording, and the region that it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def side(name: str, default: float, where: str) -> io.Float.Input:
            return io.Float.Input(
                name, default=default, min=0.0, max=600.0, step=0.01, tooltip=f"Seconds of silence {where}."
            )

        return schema(
            "SonopaintLengthen",
            "Lengthen Sound",
            group="any model",
            description="Adds silence to a recording, and gives it as a region: with Audio Latent Mask, any "
            "audio model goes on with the recording there.",
            search_aliases=["continue audio", "outpaint audio", "extend", "pad audio", "continuation"],
            inputs=[
                io.Audio.Input("audio"),
                side("left", 0.0, "before it"),
                side("right", 2.5, "after it"),
                io.Float.Input(
                    "feather",
                    default=FEATHER_S,
                    min=0.0,
                    max=5.0,
                    step=0.01,
                    tooltip="Seconds of the recording's ends that cross-fade with what is new.",
                ),
            ],
            outputs=[io.Audio.Output(), kinds.Region.Output(display_name="region")],
        )

    @classmethod
    def execute(cls, audio: Any, left: float, right: float, feather: float) -> io.NodeOutput:
        clip, rate = clips_of(audio)[0], int(audio["sample_rate"])
        sides = round(left * rate), round(right * rate)
        if not any(sides):
            raise SonopaintError("Nothing is added: give seconds for left or right.")
        waveform = torch.nn.functional.pad(audio["waveform"], sides)
        start, end = sides[0] / rate, (sides[0] + clip.num_samples) / rate
        boxes = ((Box(0.0, start),) if sides[0] else ()) + ((Box(end, None),) if sides[1] else ())
        return io.NodeOutput({**audio, "waveform": waveform}, Region(boxes, feather_s=feather))


class PutBackAudio(io.ComfyNode):
    """What any model made of a recording, inside the recording."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPutBackAudio",
            "Put Back Audio",
            group="any model",
            description="Takes a region of a sound that any model made of a recording, and puts it into the "
            "recording. All samples outside of the region and its feather stay the recording's, bit for bit.",
            search_aliases=["splice audio", "paste audio", "composite audio", "audio inpaint", "put back"],
            inputs=[
                io.Audio.Input("recording", tooltip="It keeps its rate, channels and length."),
                io.Audio.Input("audio", tooltip="What was made of it, from the same beginning; any rate."),
                kinds.Region.Input("region", tooltip="Times, and frequencies where its boxes have some."),
                io.Combo.Input(
                    "level",
                    options=["match", "as it is"],
                    default="match",
                    tooltip="match: where the recording is heard again around the region, as models for "
                    "inpainting give it, the sound is brought to its level and place.",
                ),
                kinds.Format.Input(
                    "format", optional=True, tooltip="On whose spectrogram a brush was drawn: Mini's without."
                ),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(
        cls, recording: Any, audio: Any, region: Region, level: str, format: PictureInfo | None = None
    ) -> io.NodeOutput:
        fmt = format.format if format else PRESETS[FORMAT]
        made = clips_of(audio)
        kept = repeated(clips_of(recording), len(made), "recordings", "sounds")
        pairs = list(zip(kept, made, strict=True))
        return io.NodeOutput(
            audio_of([splice(old, new, region, fmt, match=level == "match") for (old, new), _ in told(pairs)])
        )


class Loudness(io.ComfyNode):
    """Sounds at one loudness."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLoudness",
            "Loudness",
            description="Measures how loud a sound is (LUFS, ITU-R BS.1770) and brings it to a loudness; no "
            "sample rises above −1 dBFS for it.",
            search_aliases=["lufs", "normalize audio", "r128", "volume", "level"],
            inputs=[
                io.Audio.Input("audio"),
                io.Float.Input(
                    "target",
                    default=LUFS,
                    min=-70.0,
                    max=0.0,
                    step=0.1,
                    tooltip="LUFS: −16 is usual for podcasts, −23 for broadcasting, −14 for streaming.",
                ),
            ],
            outputs=[
                io.Audio.Output(),
                io.Float.Output(
                    display_name="measured", tooltip="Of the first sound, before: −70 for silence."
                ),
            ],
        )

    @classmethod
    def execute(cls, audio: Any, target: float) -> io.NodeOutput:
        clips = clips_of(audio)
        measured = max(lufs(clips[0].waveform, clips[0].sample_rate), -70.0)
        return io.NodeOutput(audio_of([at_loudness(clip, target) for clip, _ in told(clips)]), measured)


NODES = [LatentMask, Lengthen, PutBackAudio, Loudness]
