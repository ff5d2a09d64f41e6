"""Where and how a step computes: device, precision, random numbers, memory."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one; SonopaintError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SonopaintError(
            f"The device {name!r} is not available here; use {setting('device')} auto or cpu."
        ) from error
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    return device


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where it is fast: on CUDA, and on processors that multiply it (AMX, AVX-512); fp32 elsewhere."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    fast = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    if device.type == "cuda" or (device.type == "cpu" and fast):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """All randomness of one step. It hangs on the step alone, so a resumed run goes on exactly."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % (1 << 62))


def compiled(module: nn.Module, device: torch.device) -> Any:
    """torch.compile on CUDA; the module itself elsewhere. It shares the module's parameters."""
    return torch.compile(module) if device.type == "cuda" else module


def descend(
    loss: Tensor, weights: Iterable[nn.Parameter], *optimisers: torch.optim.Optimizer, most: float = 1.0
) -> Tensor:
    """One step of the optimisers down a loss; the norm of their gradient, which is cut to `most`."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(weights, most)
    for optimiser in optimisers:
        optimiser.step()
    return norm


def give_back_memory() -> None:
    """Returns what was freed to the system: glibc keeps it otherwise, beside what training then needs."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def memory_mb() -> float:
    """Peak memory in MB: of the graphics card where there is one, else of this process (0: unknown)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if importlib.util.find_spec("resource") is None:  # Windows
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20
