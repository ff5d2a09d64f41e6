"""The sampler "Sonopaint one-step" in the host's list, for models and LoRAs distilled to one step.

It is the host's own k-diffusion sampler with another function in it, so that its queue, previews, masks and
LoRAs work as always. Written for `modules.sd_samplers` of AUTOMATIC1111 1.10 and of Forge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from modules import sd_samplers, sd_samplers_common, sd_samplers_kdiffusion

from sonoconvert.errors import SonopaintError
from sonopaint.models.one_step import student_timestep
from sonopaint.models.schedule import sigmas as schedule
from sonopaint.samplers.common import added_noise
from sonopaint.samplers.one_step import pure_noise, sample_student
from sonopaint.tasks.settings import FEW_STEPS
from sonopaint_webui import host


class OneStepSampler(sd_samplers_kdiffusion.KDiffusionSampler):
    """x̂0 in one call from pure noise; in a few where a picture or a mask is kept."""

    def __init__(self, sd_model: Any) -> None:
        super().__init__(funcname=self._student, sd_model=sd_model)
        self.noise: torch.Tensor | None = None
        self.timestep = 0

    def sample(self, p: Any, x: torch.Tensor, *conditioning: Any, **options: Any) -> torch.Tensor:
        """txt2img. x: pure noise [B, 4, H, W]."""
        self._prepare(p, 1)
        self.noise = x
        return super().sample(p, x, *conditioning, **{**options, "steps": 1})

    def sample_img2img(
        self, p: Any, x: torch.Tensor, noise: torch.Tensor, *conditioning: Any, **options: Any
    ) -> torch.Tensor:
        """img2img, inpainting and the second pass of the high-res fix. x: the source's latents."""
        self._prepare(p, min(p.steps, FEW_STEPS))
        self.noise = None
        return super().sample_img2img(p, x, noise, *conditioning, **{**options, "steps": None})

    def get_sigmas(self, p: Any, steps: int) -> torch.Tensor:
        """The student's own: it begins at its timestep, not at the model's last."""
        table = self.model_wrap.sigmas.double().cpu()
        levels = (1 / (1 + table**2))[: self.timestep + 1]
        if self.noise is not None:
            return schedule(levels, 1).float()
        few = schedule(levels, p.steps, strength=max(p.denoising_strength, 0.01)).float()
        # The host cuts off what lies before the picture's noise; here that is nothing.
        steps, begun = sd_samplers_common.setup_img2img_steps(p)
        return torch.cat([few[:1].expand(steps - begun - 1), few])

    def _prepare(self, p: Any, steps: int) -> None:
        self.timestep = timestep_of(p)
        wrong = [f"{p.steps} steps"] * (p.steps != steps) + [f"CFG {p.cfg_scale:g}"] * (p.cfg_scale != 1)
        if wrong:
            p.comment(
                f"{host.ONE_STEP_SAMPLER} paints in {steps}, without CFG; not used: {', '.join(wrong)}."
            )
        p.steps, p.cfg_scale = steps, 1.0
        self.generators = [added_noise(int(seed)) for seed in p.seeds]

    def _student(
        self, model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None,
        callback: Any = None, disable: Any = None,
    ) -> torch.Tensor:  # fmt: skip
        """In the place of a function of k_diffusion.sampling; model(x, sigma [B]) predicts x0."""
        options = {**(extra_args or {}), "cond_scale": 1.0}
        calls = 0

        def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
            nonlocal calls
            level = x.new_full((len(x),), float(sigma))
            denoised = model(x, level, **options)
            if callback is not None:
                callback({"x": x, "i": calls, "sigma": level, "sigma_hat": level, "denoised": denoised})
            calls += 1
            return denoised

        if self.noise is not None:
            x = pure_noise(self.noise.to(x), float(sigmas[0]))
        return sample_student(denoise, x, sigmas, generator=self.generators)


def timestep_of(p: Any) -> int:
    """The student's timestep by the headers of the checkpoint and of the LoRAs in the prompt.

    Raises host.Refused where none of them is a student.
    """
    model = host.loaded_model()
    path = Path(str(model.sd_checkpoint_info.filename))
    files = [path, *host.lora_files("\n".join(p.all_prompts or [p.prompt]))]
    try:
        return student_timestep({file.name: host.header_of(file) for file in files})
    except SonopaintError as error:
        raise host.Refused(str(error)) from None


def add_sampler() -> None:
    """Put it into the host's list, at the end."""
    remove_sampler()
    data = sd_samplers_common.SamplerData(
        name=host.ONE_STEP_SAMPLER, constructor=OneStepSampler, aliases=["sonopaint_one_step"], options={}
    )
    sd_samplers.all_samplers.append(data)
    sd_samplers.all_samplers_map[data.name] = data
    _refresh()


def remove_sampler() -> None:
    """Leave the host's list as it was."""
    sd_samplers.all_samplers[:] = [
        one for one in sd_samplers.all_samplers if one.name != host.ONE_STEP_SAMPLER
    ]
    sd_samplers.all_samplers_map.pop(host.ONE_STEP_SAMPLER, None)
    _refresh()


def _refresh() -> None:
    sd_samplers.set_samplers()
    # The host remembers which sampler a name in an infotext means.
    if forget := getattr(sd_samplers.get_sampler_and_scheduler, "cache_clear", None):
        forget()
