"""Seamless loops, long sounds, and interpolation."""

from __future__ import annotations

import math
from typing import Any

import torch
from comfy_api.latest import io

from sonoconvert.defaults import JOIN_S
from sonoconvert.errors import SonopaintError
from sonopaint.painters.latents import seeded_noise, slerp
from sonopaint.tasks.interpolation import joined
from sonopaint.tasks.settings import CLIPS
from sonopaint_comfyui import kinds
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import image_of, pictures_of
from sonopaint_comfyui.time_patches import patched_model, patched_vae, window_of

_SEED = {"default": 0, "min": 0, "max": 2**53 - 1}


class SeamlessLoop(io.ComfyNode):
    """MODEL and VAE whose time wraps round."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLoop",
            "Seamless Loop",
            group="sampling",
            description="Makes time circular in model and VAE, so that the end of what is painted runs into "
            "its start. Use an Empty Spectrogram Latent with loop switched on.",
            search_aliases=["circular", "seamless tiling", "loop sound"],
            inputs=[
                io.Model.Input("model"),
                io.Vae.Input("vae"),
                kinds.Format.Input(
                    "format", tooltip="The model's format: loops longer than it go in windows."
                ),
            ],
            outputs=[io.Model.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, model: Any, vae: Any, format: PictureInfo) -> io.NodeOutput:
        window = window_of(format.format)
        return io.NodeOutput(
            patched_model(model, window, circular=True), patched_vae(vae, window, circular=True)
        )


class LongAudio(io.ComfyNode):
    """MODEL and VAE that paint sounds of any length in overlapping windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLongAudio",
            "Long Audio",
            group="sampling",
            description="Paints sounds longer than the model was trained on: overlapping windows that agree "
            "at every step, one long picture, turned into sound once, so that there are no seams.",
            search_aliases=["long sound", "windows", "multidiffusion", "ambience", "tiled sampling"],
            inputs=[
                io.Model.Input("model"),
                io.Vae.Input("vae"),
                kinds.Format.Input("format", tooltip="The model's format: its width is the window."),
            ],
            outputs=[io.Model.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, model: Any, vae: Any, format: PictureInfo) -> io.NodeOutput:
        window = window_of(format.format)
        return io.NodeOutput(
            patched_model(model, window, circular=False), patched_vae(vae, window, circular=False)
        )


class SlerpNoise:
    """Noise on the great circle between two seeds', for SamplerCustomAdvanced."""

    def __init__(self, seed_a: int, seed_b: int, steps: int) -> None:
        self.seed, self.seed_b, self.steps = seed_a, seed_b, steps

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """[steps, C, H, W]; the first is seed A's own noise, the last seed B's."""
        shape = (1, *latent["samples"].shape[1:])
        a, b = seeded_noise(self.seed)(shape), seeded_noise(self.seed_b)(shape)
        return torch.cat([slerp(a, b, i / (self.steps - 1)) for i in range(self.steps)])


class Interpolation(io.ComfyNode):
    """Sounds on the way from one prompt and seed to another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintInterpolation",
            "Prompt/Seed Interpolation",
            group="sampling",
            description="A batch of sounds on the way from A to B: prompts along a straight line, noise "
            "along the great circle between two seeds. For SamplerCustomAdvanced.",
            search_aliases=["morph", "interpolate prompts", "slerp", "travel"],
            inputs=[
                io.Conditioning.Input("prompt_a"),
                io.Conditioning.Input("prompt_b"),
                io.Latent.Input("latent", tooltip="An empty spectrogram latent; it is repeated."),
                io.Int.Input("seed_a", tooltip="Seed of the first sound.", **_SEED),
                io.Int.Input("seed_b", tooltip="Of the last; equal ones move the prompt only.", **_SEED),
                io.Int.Input(
                    "steps", default=CLIPS, min=2, max=100, tooltip="How many sounds, A and B included."
                ),
            ],
            outputs=[io.Conditioning.Output(), io.Noise.Output(), io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, prompt_a: Any, prompt_b: Any, latent: dict[str, Any], seed_a: int, seed_b: int, steps: int
    ) -> io.NodeOutput:
        samples = latent["samples"]
        if samples.shape[0] != 1:
            raise SonopaintError(
                f"The latent is a batch of {samples.shape[0]}; an interpolation makes its own batch, so set "
                "batch_size to 1."
            )
        repeated = {**latent, "samples": samples.repeat(steps, 1, 1, 1)}
        return io.NodeOutput(between(prompt_a, prompt_b, steps), SlerpNoise(seed_a, seed_b, steps), repeated)


def between(a: Any, b: Any, steps: int) -> list[Any]:
    """CONDITIONING with a batch of `steps` embeddings from `a` to `b`."""
    if len(a) != 1 or len(b) != 1:
        raise SonopaintError(
            "Only plain prompts can be interpolated; connect the two CLIP Text Encode nodes directly."
        )
    (text_a, more_a), (text_b, more_b) = a[0], b[0]
    if text_a.shape[-1] != text_b.shape[-1]:
        raise SonopaintError("The two prompts were encoded by different models; use one CLIP for both.")
    length = math.lcm(text_a.shape[1], text_b.shape[1])  # as ComfyUI itself makes lengths equal
    text_a, text_b = (text.repeat(1, length // text.shape[1], 1) for text in (text_a, text_b))
    places = [index / (steps - 1) for index in range(steps)]

    def line(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.lerp(one, other, t) for t in places])

    more = dict(more_a)
    pooled_a, pooled_b = more_a.get("pooled_output"), more_b.get("pooled_output")
    if pooled_a is not None and pooled_b is not None:
        more["pooled_output"] = line(pooled_a, pooled_b)
    return [[line(text_a, text_b), more]]


class JoinSounds(io.ComfyNode):
    """A batch of pictures as one long picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintJoin",
            "Join Sounds",
            group="sampling",
            description="Joins a batch of spectrograms, those of an interpolation for instance, to one long "
            "one in which neighbours cross-fade; turned into sound once, it has no seams.",
            search_aliases=["concatenate", "batch to one sound", "cross-fade", "morph"],
            inputs=[
                io.Image.Input("image", tooltip="The batch, from VAE Decode."),
                kinds.Format.Input("format", tooltip="The format of the pictures."),
                io.Float.Input(
                    "overlap",
                    default=JOIN_S,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Seconds over which neighbours cross-fade; at most half of a sound.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                kinds.Format.Output(display_name="format"),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, format: PictureInfo, overlap: float) -> io.NodeOutput:
        whole = joined(pictures_of(image, format), overlap)
        return io.NodeOutput(image_of([whole]), PictureInfo(format.format, (), whole.num_samples))


NODES = [SeamlessLoop, LongAudio, Interpolation, JoinSounds]
