"""The flow sampler: any denoiser read as a velocity field."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, pairs


def velocity(denoise: Denoise, z: torch.Tensor, t: float) -> torch.Tensor:
    """dz/dt on the path z = t x0 + (1 − t) ε (Lipman et al. 2023, arXiv:2210.02747), t from 0 to 1.

    z / t = x0 + σ ε with σ = (1 − t) / t is what a denoiser takes, whatever its network predicts (ε, v or x0:
    ``models.denoiser``); so the velocity x0 − ε is (x̂0 − z) / (1 − t), in closed form.
    """
    return (denoise(z / t, (1 - t) / t) - z) / (1 - t)


@torch.no_grad()
def sample_flow(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Equal steps in flow time from sigmas[0] on, by Adams and Bashforth's method of second order.

    As many steps as there are sigmas, one call each. (Euler's method on this path is DDIM.)
    """
    count = len(pairs(sigmas))
    start = 1 / (1 + float(sigmas[0]))
    step = (1 - start) / count
    z, before = x * start, None
    for index in range(count):
        t = start + index * step
        now = velocity(denoise, z, t)
        x0 = z + (1 - t) * now
        if index == count - 1:  # the rest of the way is straight
            z = x0
        else:
            z = z + step * (now if before is None else 1.5 * now - 0.5 * before)
        before = now
        if callback:
            callback(index + 1, count, x0)
    return z
