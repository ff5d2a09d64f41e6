"""One step: distilled students that paint a picture with a single call of their U-Net, or edit in a few."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from sonoconvert.errors import SonopaintError
from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas
from sonopaint.samplers.lcm import sample_lcm
from sonopaint.samplers.schedule import training_sigmas

# In a student's safetensors header: JSON with the timestep at which it was trained, as {"timestep": 999}.
ONE_STEP_KEY = "sonopaint.one_step"
# In the header of a LoRA that was learnt on top of a student and doesn't hold it: JSON with the student's
# name and timestep, as {"student": "mini-one-step", "timestep": 999}.
ON_STUDENT_KEY = "sonopaint.on_student"


@torch.no_grad()
def sample_one_step(denoise: Denoise, noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """x̂0 = (x_T − σ_T ε(x_T, T)) / α_T with x_T = noise: DMD2, Yin et al. 2024, arXiv:2405.14867, section 3.

    denoise: predicts x0 from x = x0 + sigma · noise (see ``common``), without guidance: a student has none.
    noise: standard normal [B, C, H, W], which the network sees as it is. sigma: of the student's timestep.
    """
    return denoise(pure_noise(noise, sigma), sigma)


def pure_noise(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """What a student starts from, scaled as all samplers have x: the network sees `noise` as it is."""
    return noise * (sigma**2 + 1) ** 0.5


def sample_student(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """One call, or a few where something is kept: x̂0, noised again to the next of the student's sigmas.

    DMD2's multi-step sampler (section 4.4), which is consistency sampling. `x` is ``pure_noise`` where
    nothing is to be kept (then one step is ``sample_one_step``), else what is there with noise of sigmas[0].
    """
    return sample_lcm(denoise, x, sigmas, callback=callback, generator=generator)


def one_step_sigma(alphas_cumprod: torch.Tensor, timestep: int) -> float:
    """The sigma of a student's timestep."""
    if not 0 <= timestep < len(alphas_cumprod):
        raise SonopaintError(
            f"The timestep {timestep} is not one of the model's, 0 to {len(alphas_cumprod) - 1}."
        )
    return training_sigmas(alphas_cumprod)[timestep].item()


def header_timestep(name: str, metadata: Mapping[str, str]) -> int | None:
    """The timestep in a file's safetensors metadata, None where it is no student's."""
    return int(_fact(name, metadata, ONE_STEP_KEY, "timestep")) if ONE_STEP_KEY in metadata else None


def on_student(name: str, metadata: Mapping[str, str]) -> tuple[str, int] | None:
    """(name, timestep) of the student that a LoRA is used on top of, None where it is no such LoRA."""
    if ON_STUDENT_KEY not in metadata:
        return None
    found = [_fact(name, metadata, ON_STUDENT_KEY, key) for key in ("student", "timestep")]
    return str(found[0]), int(found[1])


def _fact(name: str, metadata: Mapping[str, str], header: str, key: str) -> str | int:
    try:
        found = json.loads(metadata[header])[key]
        return int(found) if key == "timestep" else str(found)
    except (ValueError, TypeError, KeyError) as error:
        raise SonopaintError(
            f"{name} says that it paints in one step, but its header {header} is damaged; get the file anew."
        ) from error


def student_timestep(headers: Mapping[str, Mapping[str, str]]) -> int:
    """The timestep that the first one-step header among {name: safetensors metadata} gives.

    The headers are those of a checkpoint and of the LoRAs on it. Raises SonopaintError where none of them is
    a one-step student's.
    """
    for name, metadata in headers.items():
        timestep = header_timestep(name, metadata)
        if timestep is not None:
            return timestep
    for name, metadata in headers.items():
        if found := on_student(name, metadata):
            student = found[0]
            raise SonopaintError(
                f"{name} was learnt on top of the one-step student {student!r} and does not hold it: "
                f"load the LoRA {student} as well, both at strength 1."
            )
    names = " with ".join(headers) or "This model"
    raise SonopaintError(
        f"{names} needs many steps: nothing says that it was distilled to one. Use an ordinary sampler with "
        "20 steps, or load a one-step model or LoRA."
    )
