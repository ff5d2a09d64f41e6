"""MODEL and VAE that work along time: in overlapping windows, and round in a circle."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from sonoconvert.errors import SonopaintError
from sonopaint.models.circular import circular_time
from sonopaint.painters.windows import over_windows

KEY = "sonopaint_time"  # one patch at a time: a later node replaces an earlier one's


def patched_model(model: Any, window: int, *, circular: bool) -> Any:
    """A clone of a MODEL that sees latents longer than `window` columns window by window.

    circular: time wraps round; latents no longer than a window then wrap in the U-Net itself.
    Neighbouring windows are averaged at every step (see over_windows), also with classifier-free guidance.
    """

    def apply(
        executor: Any,
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: torch.Tensor | None = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Any = None,
        **more: Any,
    ) -> torch.Tensor:
        options = transformer_options or {}
        if x.shape[-1] <= window:
            network = executor.class_obj.diffusion_model
            with circular_time(network) if circular else nullcontext():
                return executor(x, t, c_concat, c_crossattn, control, options, **more)
        if control:
            raise SonopaintError(
                "ControlNet can't be used on a sound that is painted in windows; take the ControlNet away, "
                "or paint a sound as short as the model's own length."
            )
        channels = x.shape[1]

        def one_window(part: torch.Tensor) -> torch.Tensor:
            beside = None if c_concat is None else part[:, channels:]
            return executor(part[:, :channels], t, beside, c_crossattn, control, options, **more)

        together = x if c_concat is None else torch.cat([x, c_concat.to(x)], dim=1)
        return over_windows(one_window, together, window, circular=circular)

    patched = model.clone()
    patched.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, apply)
    return patched


def patched_vae(vae: Any, window: int, *, circular: bool) -> Any:
    """A copy of a VAE that encodes and decodes pictures wider than `window` cells of 8 in windows."""
    original = getattr(vae, KEY, vae)
    patched = copy.copy(original)

    def wrap() -> Any:
        return circular_time(original.first_stage_model) if circular else nullcontext()

    def decode(samples: torch.Tensor, vae_options: Any = None) -> torch.Tensor:
        def one(part: torch.Tensor) -> torch.Tensor:
            return original.decode(part).movedim(-1, 1)

        with wrap() if samples.shape[-1] <= window else nullcontext():
            image = over_windows(one, samples, window, circular=circular, cell_out=8)
        return image.movedim(1, -1)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        def one(part: torch.Tensor) -> torch.Tensor:
            return original.encode(part.movedim(1, -1))

        with wrap() if pixels.shape[-2] <= 8 * window else nullcontext():
            return over_windows(one, pixels.movedim(-1, 1), window, circular=circular, cell_in=8)

    patched.decode, patched.encode = decode, encode
    setattr(patched, KEY, original)
    return patched
