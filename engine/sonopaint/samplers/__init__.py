"""Samplers as pure functions with one signature (``common``); they know a denoiser and noise levels only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from sonopaint.samplers.ddim import sample_ddim
from sonopaint.samplers.dpmpp_2m import sample_dpmpp_2m
from sonopaint.samplers.euler import sample_euler
from sonopaint.samplers.flow import sample_flow
from sonopaint.samplers.heun import sample_heun
from sonopaint.samplers.lcm import sample_lcm
from sonopaint.samplers.one_step import sample_student

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddim": sample_ddim,
    "euler": sample_euler,
    "euler_ancestral": partial(sample_ddim, eta=1.0),  # the same in this scaling
    "heun": sample_heun,
    "dpmpp_2m": sample_dpmpp_2m,
    "dpmpp_2m_sde": partial(sample_dpmpp_2m, eta=1.0),
    "lcm": sample_lcm,
    "flow": sample_flow,
    "one_step": sample_student,  # distilled models only; they have no other
}

__all__ = [
    "SAMPLERS",
    "sample_ddim",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_flow",
    "sample_heun",
    "sample_lcm",
    "sample_student",
]
