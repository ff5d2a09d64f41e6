"""Models distilled to one step: a SAMPLER and SIGMAS for SamplerCustom, and a node that does it all."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy_api.latest import io

from sonoconvert.errors import SonopaintError
from sonopaint.samplers.one_step import on_student, pure_noise, sample_student, student_timestep
from sonopaint.samplers.schedule import sigmas as schedule
from sonopaint.tasks.settings import MOST_STUDENT_STEPS
from sonopaint_comfyui.kinds import METADATA, advanced, schema

LAST_LORA = "its LoRA"
HEADERS = {METADATA: "This model", "lora_metadata": LAST_LORA}  # attachments of a MODEL


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
                *_few_steps(),
            ],
            outputs=[io.Sampler.Output(), io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model: Any, timestep: int = -1, steps: int = 1, denoise: float = 1.0) -> io.NodeOutput:
        return io.NodeOutput(one_step_sampler(denoise), one_step_sigmas(model, timestep, steps, denoise))


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
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**53 - 1,
                    control_after_generate=True,
                    tooltip="Of the noise.",
                ),
                _timestep(),
                *_few_steps(),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        prompt: Any,
        latent: dict[str, Any],
        seed: int,
        timestep: int = -1,
        steps: int = 1,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        sigmas = one_step_sigmas(model, timestep, steps, denoise)
        start = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
        noise = comfy.sample.prepare_noise(start, seed, latent.get("batch_index"))
        painted = comfy.sample.sample_custom(
            model,
            noise,
            1.0,
            one_step_sampler(denoise),
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


def _few_steps() -> list[Any]:
    return [
        io.Int.Input(
            "steps",
            optional=True,
            default=1,
            min=1,
            max=MOST_STUDENT_STEPS,
            tooltip="1 for a new sound. 4 for inpainting, variations and long sounds, where what is painted "
            "must agree with what is kept.",
        ),
        io.Float.Input(
            "denoise",
            optional=True,
            default=1.0,
            min=0.05,
            max=1.0,
            step=0.05,
            tooltip="Below 1: how far a variation goes from what is in the latent.",
        ),
    ]


def one_step_sampler(denoise: float = 1.0) -> Any:
    """A SAMPLER for students; SonopaintError when it is used with CFG or with an ordinary schedule."""

    def sample(
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: Any = None,
        callback: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        if len(sigmas) > MOST_STUDENT_STEPS + 1:
            raise SonopaintError(
                f"A one-step model was given {len(sigmas) - 1} steps; connect the One-Step Sampler's sigmas."
            )
        guidance = getattr(model.inner_model, "cfg", 1.0)
        if guidance != 1:
            raise SonopaintError(f"One-step models work without guidance: set cfg to 1, not {guidance:g}.")
        arguments = extra_args or {}
        if denoise == 1:  # nothing of the latent is kept, but what its mask keeps
            x = pure_noise(model.noise.to(x), float(sigmas[0]))

        def told(step: int, total: int, x0: torch.Tensor) -> None:
            if callback is not None:
                sigma = sigmas[step - 1]
                callback({"i": step - 1, "denoised": x0, "x": x, "sigma": sigma, "sigma_hat": sigma})

        return sample_student(
            lambda x, sigma: model(x, x.new_full((len(x),), sigma), **arguments),
            x,
            sigmas,
            callback=told,
            # As Studio's painter: not the first noise again.
            generator=torch.Generator().manual_seed(int(arguments.get("seed") or 0) ^ 0x5EED),
        )

    return comfy.samplers.KSAMPLER(sample)


def one_step_sigmas(model: Any, timestep: int, steps: int = 1, denoise: float = 1.0) -> torch.Tensor:
    """Falling sigmas from the model's own timestep (or the one given) to 0."""
    if timestep < 0:
        found = {what: model.get_attachment(name) for name, what in HEADERS.items()}
        headers = {what: metadata for what, metadata in found.items() if metadata}
        above = on_student("This LoRA", headers.get(LAST_LORA, {}))
        # ComfyUI keeps the header of the last LoRA alone; whether its student is there too, the patches show.
        if above and any(len(patches) > 1 for patches in model.patches.values()):
            timestep = above[1]
        else:
            timestep = student_timestep(headers)
    levels = model.get_model_object("model_sampling").sigmas.double()
    alphas = 1 / (levels[: timestep + 1] ** 2 + 1)
    return schedule(alphas, min(steps, len(alphas)), strength=denoise).float()


NODES = [OneStepSampler, OneStepSound]
