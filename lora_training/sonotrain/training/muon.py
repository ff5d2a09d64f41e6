"""Muon: momentum whose update has all singular values near one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by a Newton–Schulz iteration (Jordan et al. 2024), for convolutions' kernels.

    A kernel [out, in, …] counts as a matrix [out, in·…]; `lr` is the spectral size of a step. With few steps
    it learns far more than Adam. Biases and other vectors belong into another optimiser.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients that are there."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                matrix = ahead.reshape(len(ahead), -1)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                parameter.add_(orthogonal(matrix).reshape(parameter.shape), alpha=-group["lr"] * scale)


def muon_and_adam(
    parameters: Iterable[nn.Parameter], rate: float, bias_rate: float
) -> tuple[Muon, torch.optim.Adam]:
    """Muon for the kernels of convolutions (three dimensions and more), Adam for all else; their rates."""
    weights = list(parameters)
    others = [p for p in weights if p.ndim <= 2]
    return Muon([p for p in weights if p.ndim > 2], rate), torch.optim.Adam(
        others, bias_rate, betas=(0.9, 0.99)
    )


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values of about one: five quintic Newton–Schulz steps."""
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(5):
        gram = result @ result.T
        result = 3.4445 * result + (-4.7750 * gram + 2.0315 * gram @ gram) @ result
    return result.T if tall else result
