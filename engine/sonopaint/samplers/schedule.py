"""Noise levels that no model prescribes."""

from __future__ import annotations

import torch

from sonoconvert.errors import SonopaintError


def karras(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> torch.Tensor:
    """Falling sigmas with a final 0: float64 [n + 1] (Karras et al. 2022, arXiv:2206.00364, equation 5).

    From sigma_max to sigma_min, in equal steps of sigma^(1 / rho); a single one is sigma_max.
    """
    if n < 1 or not 0 < sigma_min <= sigma_max or rho <= 0:
        raise SonopaintError(
            f"{n} noise levels from {sigma_max:g} to {sigma_min:g} with rho {rho:g} can't be made: choose at "
            "least one level, 0 < lowest ≤ highest, and rho above 0."
        )
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    falling = torch.linspace(high, low, n, dtype=torch.float64) ** rho
    return torch.cat([falling, torch.zeros(1, dtype=torch.float64)])
