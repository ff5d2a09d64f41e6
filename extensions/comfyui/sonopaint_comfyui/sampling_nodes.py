"""Seamless loops, long sounds, interpolation and one-step sampling."""

from __future__ import annotations

import math
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from comfy_api.latest import io

from sonoconvert.errors import SonopaintError
from sonopaint.painters.latents import seeded_noise, slerp
from sonopaint.samplers.one_step import sample_one_step, student_timestep
from sonopaint_comfyui import kinds
from sonopaint_comfyui.kinds import PictureInfo, advanced, schema
from sonopaint_comfyui.time_patches import patched_model, patched_vae

METADATA = ("sonopaint_metadata", "lora_metadata")  # attachments of a MODEL
_SEED = {"default": 0, "min": 0, "max": 2**53 - 1}


def window_of(info: PictureInfo) -> int:
    """Latent columns of the pictures that a model was trained on."""
    return -(-info.format.width // 8)


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
        window = window_of(format)
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
        window = window_of(format)
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
                    "steps", default=5, min=2, max=100, tooltip="How many sounds, A and B included."
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


class OneStepSampler(io.ComfyNode):
    """SAMPLER and SIGMAS for models distilled to one step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintOneStepSampler",
            "One-Step Sampler",
            group="sampling",
            description="For SamplerCustom: one call of a distilled model, without CFG (set cfg to 1).",
            search_aliases=["distilled", "dmd2", "turbo", "subject"],
            inputs=[
                io.Model.Input("model", tooltip="A one-step model, or one with a one-step LoRA."),
                _timestep(),
            ],
            outputs=[io.Sampler.Output(), io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model: Any, timestep: int = -1) -> io.NodeOutput:
        return io.NodeOutput(one_step_sampler(), one_step_sigmas(model, timestep))


class OneStepSound(io.ComfyNode):
    """One call of a distilled model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintOneStep",
            "One-Step Sound",
            group="sampling",
            description="Paints with a model distilled to one step: one call, no CFG, no negative prompt.",
            search_aliases=["distilled", "dmd2", "turbo", "subject", "ksampler"],
            inputs=[
                io.Model.Input("model", tooltip="A one-step model, or one with a one-step LoRA."),
                io.Conditioning.Input("prompt"),
                io.Latent.Input("latent"),
                io.Int.Input("seed", control_after_generate=True, tooltip="Of the noise.", **_SEED),
                _timestep(),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, model: Any, prompt: Any, latent: dict[str, Any], seed: int, timestep: int = -1
    ) -> io.NodeOutput:
        sigmas = one_step_sigmas(model, timestep)
        start = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
        noise = comfy.sample.prepare_noise(start, seed, latent.get("batch_index"))
        painted = comfy.sample.sample_custom(
            model,
            noise,
            1.0,
            one_step_sampler(),
            sigmas,
            prompt,
            prompt,
            start,
            noise_mask=latent.get("noise_mask"),
            seed=seed,
        )
        return io.NodeOutput({**latent, "samples": painted})


def _timestep() -> io.Int.Input:
    return io.Int.Input(
        "timestep",
        default=-1,
        min=-1,
        max=999,
        tooltip="The timestep that the model was distilled at. -1: as the model's file says; give it (999 "
        "for most) for a distilled model whose file does not say.",
        extra_dict=advanced(),
    )


def one_step_sampler() -> Any:
    """A SAMPLER that makes one call; SonopaintError when it is used with CFG or several steps."""

    def sample(
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: Any = None,
        callback: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        if len(sigmas) != 2:
            raise SonopaintError(
                f"A one-step model was given {len(sigmas) - 1} steps; connect the One-Step Sampler's sigmas."
            )
        guidance = getattr(model.inner_model, "cfg", 1.0)
        if guidance != 1:
            raise SonopaintError(f"One-step models work without guidance: set cfg to 1, not {guidance:g}.")
        arguments = extra_args or {}
        x0 = sample_one_step(
            lambda x, sigma: model(x, x.new_full((len(x),), sigma), **arguments),
            model.noise.to(x),
            float(sigmas[0]),
        )
        if callback is not None:
            callback({"i": 0, "denoised": x0, "x": x, "sigma": sigmas[0], "sigma_hat": sigmas[0]})
        return x0

    return comfy.samplers.KSAMPLER(sample)


def one_step_sigmas(model: Any, timestep: int) -> torch.Tensor:
    """The sigma of the model's own timestep (or the one given), and 0."""
    if timestep < 0:
        found = {name: model.get_attachment(name) for name in METADATA}
        names = {"sonopaint_metadata": "This model", "lora_metadata": "its LoRA"}
        headers = {names[name]: metadata for name, metadata in found.items() if metadata}
        timestep = student_timestep(headers)
    levels = model.get_model_object("model_sampling").sigmas
    return torch.tensor([float(levels[min(timestep, len(levels) - 1)]), 0.0])


NODES = [SeamlessLoop, LongAudio, Interpolation, OneStepSampler, OneStepSound]
