"""What is put on MODEL and VAE: overlapping windows along time, time as a circle, no student in KSampler."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat
from sonopaint.models.circular import circular_time
from sonopaint.models.grain import with_grain
from sonopaint.models.info import format_of_loras
from sonopaint.models.one_step import ON_STUDENT_KEY, ONE_STEP_KEY
from sonopaint.painters.windows import over_windows
from sonopaint.tasks.settings import MOST_STUDENT_STEPS
from sonopaint_comfyui.host import stoppable
from sonopaint_comfyui.kinds import LORA_METADATA, METADATA

KEY = "sonopaint_time"  # one patch at a time: a later node replaces an earlier one's
GRAIN = "sonopaint_grain"  # the network, on a VAE that has one and paints mono


def window_of(fmt: SpectrogramFormat) -> int:
    """Latent columns of the pictures that a model was trained on."""
    return -(-fmt.width // 8)


def own_window(base_model: Any, window: int) -> int:
    """That of the LoRA that is on a running model; `window` where its file says no format."""
    patcher = getattr(base_model, "current_patcher", None)
    header = (patcher.get_attachment(LORA_METADATA) or {}) if patcher is not None else {}
    fmt = format_of_loras([("The LoRA", header)])
    return window_of(fmt) if fmt else window


def patched_model(model: Any, window: int, *, circular: bool, asked: bool = True) -> Any:
    """A clone of a MODEL that sees latents longer than `window` columns window by window.

    circular: time wraps round; latents no longer than a window then wrap in the U-Net itself.
    asked: by a node for it; otherwise the window is that of the model's LoRA, where it says one, and a
    ControlNet is given the whole. Neighbouring windows are averaged at every step (see over_windows), also
    with classifier-free guidance.
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
        width = window if asked else own_window(executor.class_obj, window)
        if x.shape[-1] <= width or (control and not asked):
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
            stoppable()  # a step of a long sound takes long
            beside = None if c_concat is None else part[:, channels:]
            return executor(part[:, :channels], t, beside, c_crossattn, control, options, **more)

        together = x if c_concat is None else torch.cat([x, c_concat.to(x)], dim=1)
        return over_windows(one_window, together, width, circular=circular)

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
            stoppable()
            return original.decode(part).movedim(-1, 1)

        with wrap() if samples.shape[-1] <= window else nullcontext():
            image = over_windows(one, samples, window, circular=circular, cell_out=8)
        return _grained(original, image).movedim(1, -1)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        def one(part: torch.Tensor) -> torch.Tensor:
            stoppable()
            return original.encode(part.movedim(1, -1))

        with wrap() if pixels.shape[-2] <= 8 * window else nullcontext():
            return over_windows(one, pixels.movedim(-1, 1), window, circular=circular, cell_in=8)

    patched.decode, patched.encode = decode, encode
    setattr(patched, KEY, original)
    return patched


def guarded_model(model: Any) -> Any:
    """A clone of a MODEL that refuses to be sampled in many steps while a one-step LoRA is on it."""

    def check(
        executor: Any, noise: Any, latent: Any, sampler: Any, sigmas: Any, *rest: Any, **more: Any
    ) -> Any:
        patcher, steps = executor.class_obj.model_patcher, len(sigmas) - 1
        headers = [patcher.get_attachment(name) or {} for name in (METADATA, LORA_METADATA)]
        if steps > MOST_STUDENT_STEPS and any({ONE_STEP_KEY, ON_STUDENT_KEY} & set(one) for one in headers):
            raise SonopaintError(
                f"This model or its LoRA paints in one step, and {steps} steps of it are noise: use One-Step "
                f"Sound in the sampler's place, or at most {MOST_STUDENT_STEPS} steps with cfg 1."
            )
        return executor(noise, latent, sampler, sigmas, *rest, **more)

    guarded = model.clone()
    guarded.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    guarded.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, check)
    return guarded


def _grained(vae: Any, image: torch.Tensor) -> torch.Tensor:
    """A decoded picture [B, 3, H, W] in 0 … 1 with the grain that its VAE blurs, if that is known."""
    network = getattr(vae, GRAIN, None)
    if network is None:
        return image
    levels = image.float().mean(1).flip(-2).cpu()
    return with_grain(network, levels).flip(-2)[:, None].to(image).expand_as(image)
