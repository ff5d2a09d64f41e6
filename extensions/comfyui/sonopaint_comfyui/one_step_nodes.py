"""Models distilled to one step: their LoRAs, SAMPLER and SIGMAS for SamplerCustom, and a node that paints."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import folder_paths
import torch
from comfy_api.latest import io

from sonoconvert.checkpoints.files import read_header
from sonoconvert.errors import SonopaintError
from sonopaint.models.info import format_of_loras
from sonopaint.models.one_step import ONE_STEP_KEY, on_student, student_timestep
from sonopaint.models.schedule import sigmas as schedule
from sonopaint.samplers.common import added_noise
from sonopaint.samplers.one_step import pure_noise, sample_student
from sonopaint.tasks.settings import MOST_STUDENT_STEPS
from sonopaint_comfyui.kinds import LORA_METADATA, METADATA, advanced, schema
from sonopaint_comfyui.time_patches import guarded_model

logger = logging.getLogger(__name__)

STUDENT = "mini-one-step.safetensors"


class LoadOneStep(io.ComfyNode):
    """A one-step student or subject on a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        names = folder_paths.get_filename_list("loras")
        return schema(
            "SonopaintLoadOneStep",
            "Load One-Step LoRA",
            group="sampling",
            description="Puts a model's one-step student, or a subject learnt from a few clips, on the "
            "model. A subject that was learnt on top of a student brings the student along.",
            search_aliases=["subject", "student", "distilled", "lora loader", "dmd2"],
            inputs=[
                io.Model.Input("model"),
                io.Clip.Input("clip"),
                io.Combo.Input(
                    "lora",
                    options=sorted(names, key=lambda name: name != STUDENT) or [STUDENT],
                    tooltip="mini-one-step comes with Sonopaint; your own lie in ComfyUI's loras folder.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Of what stands on a student; a student itself is always at 1.",
                ),
            ],
            outputs=[io.Model.Output(), io.Clip.Output()],
        )

    @classmethod
    def validate_inputs(cls, lora: str) -> bool | str:
        if lora in folder_paths.get_filename_list("loras"):
            return True
        return f"There is no LoRA {lora} in ComfyUI's loras folder; put it there, or choose another one."

    @classmethod
    def fingerprint_inputs(cls, lora: str, **_: Any) -> str:
        path = folder_paths.get_full_path("loras", lora)
        return str(os.stat(path).st_mtime_ns) if path else ""

    @classmethod
    def execute(cls, model: Any, clip: Any, lora: str, strength: float = 1.0) -> io.NodeOutput:
        used, header = loras_of(lora, strength)
        below = ("below it", model.get_attachment(LORA_METADATA) or {})
        format_of_loras([below, (lora, header)])  # raises where they differ

        from comfy.sd import load_lora_for_models
        from comfy.utils import load_torch_file

        for file, weight in used:
            model, clip = load_lora_for_models(
                model, clip, load_torch_file(str(file), safe_load=True), weight, weight
            )
        model.set_attachments(LORA_METADATA, header)
        return io.NodeOutput(guarded_model(model), clip)


def loras_of(name: str, strength: float) -> tuple[list[tuple[Path, float]], dict[str, str]]:
    """The files of a one-step LoRA with their strengths, its student first, and what their headers say.

    Raises SonopaintError where the student is not among ComfyUI's LoRAs.
    """
    path = Path(folder_paths.get_full_path_or_raise("loras", name))
    header = read_header(path)[1]
    needed = on_student(name, header)
    if needed is None:
        return [(path, 1.0 if ONE_STEP_KEY in header else strength)], header
    student, _ = needed
    found = [one for one in folder_paths.get_filename_list("loras") if Path(one).stem == student]
    if not found:
        raise SonopaintError(
            f"{name} was learnt on top of the one-step student {student!r}, which is missing; put "
            f"{student}.safetensors into ComfyUI's loras folder."
        )
    below = Path(folder_paths.get_full_path_or_raise("loras", found[0]))
    return [(below, 1.0), (path, strength)], {**read_header(below)[1], **header}


class OneStepSampler(io.ComfyNode):
    """SAMPLER and SIGMAS for models distilled to one step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintOneStepSampler",
            "One-Step Sampler",
            group="sampling",
            description="For SamplerCustom: one call of a distilled model, without CFG (cfg is not used).",
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
            tooltip="1 for a new sound, and for inpainting with Mini. 4 for variations and long sounds, "
            "where what is painted must agree with what is kept.",
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
    """A SAMPLER for students; CFG is not used. SonopaintError when it is used with an ordinary schedule.

    `denoise`: 1 paints anew from noise; below, from what the latent holds.
    """

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
        guider = model.inner_model
        guidance = guider.cfg
        if guidance != 1:
            logger.warning("One-step models work without guidance: cfg %g is not used.", guidance)
        arguments = extra_args or {}
        if denoise == 1:  # nothing of the latent is kept, but what its mask keeps
            x = pure_noise(model.noise.to(x), float(sigmas[0]))

        def told(step: int, total: int, x0: torch.Tensor) -> None:
            if callback is not None:
                sigma = sigmas[step - 1]
                callback({"i": step - 1, "denoised": x0, "x": x, "sigma": sigma, "sigma_hat": sigma})

        guider.cfg = 1.0
        try:
            return sample_student(
                lambda x, sigma: model(x, x.new_full((len(x),), sigma), **arguments),
                x,
                sigmas,
                callback=told,
                generator=added_noise(int(arguments.get("seed") or 0)),
            )
        finally:
            guider.cfg = guidance

    return comfy.samplers.KSAMPLER(sample)


def one_step_sigmas(model: Any, timestep: int, steps: int = 1, denoise: float = 1.0) -> torch.Tensor:
    """Falling sigmas [steps + 1] from the student's timestep to 0; -1: as the headers say.

    Raises SonopaintError where nothing says that the model was distilled.
    """
    if timestep < 0:
        own, lora = (model.get_attachment(name) or {} for name in (METADATA, LORA_METADATA))
        above = on_student("Its LoRA", lora)
        # Only the last LoRA's header is kept; whether its student is there too, the patches show.
        if above and any(len(patches) > 1 for patches in model.patches.values()):
            timestep = above[1]
        else:
            timestep = student_timestep({"This model": own, **({"its LoRA": lora} if lora else {})})
    levels = model.get_model_object("model_sampling").sigmas.double()
    alphas = 1 / (levels[: timestep + 1] ** 2 + 1)
    return schedule(alphas, min(steps, len(alphas)), strength=denoise).float()


NODES = [LoadOneStep, OneStepSampler, OneStepSound]
