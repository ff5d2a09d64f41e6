"""Curves to follow: what a request asks, and the adapter at work in AUTOMATIC1111's sampler.

The host tells what its U-Net is about to see and what it said of it, in two callbacks; the adapter that
works behind the U-Net moves the second one. Forge has no such place, and the other adapters work inside a
U-Net of diffusers' layout: there a sound is brought to its curves afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.points import parse_points
from sonoconvert.errors import SonopaintError
from sonopaint.models.curves import CURVES_FILE, FOLLOWED, without
from sonopaint.models.curves_file import load_adapter
from sonopaint.models.curves_output import OUTPUT
from sonopaint.models.folders import shipped_folder
from sonopaint.painters.following import Following, followed
from sonopaint_webui import host, shipped
from sonopaint_webui.arguments import WHOLE

if TYPE_CHECKING:
    from sonopaint_webui.arguments import Arguments


def asked(arguments: Arguments, seconds: float | None) -> Curves | None:
    """What is to be followed; None where all is free. Points win over what was drawn or imported.

    seconds: of the sound, where it is known. Raises SonopaintError for what are no curves.
    """
    drawn = arguments.curves
    found = Curves.from_dict(drawn) if drawn else None
    for name in FOLLOWED:
        if text := str(getattr(arguments, name)).strip():
            one = parse_points(name, text, found.duration_s if found is not None else seconds)
            found = one if found is None else found.joined(one)
    return None if found is None or found.is_free else followed(found)


def following(curves: Curves, action: str, checkpoint: Path, exact: bool) -> Following | None:
    """Curves with the checkpoint's adapter; None where they are only brought to the sound afterwards.

    Raises SonopaintError where nothing would follow them.
    """
    path = adapter_for(checkpoint)
    adapter = load_adapter(path) if path is not None else None
    if adapter is not None and adapter.variant == OUTPUT:
        return Following(curves, adapter)
    if exact and action in WHOLE:
        return None
    raise SonopaintError(
        f"{checkpoint.name} has no adapter for curves that works here, so that only whole new sounds can be "
        "brought to them afterwards: use Generate or Variations with that switched on, or Sonopaint Mini in "
        "AUTOMATIC1111."
    )


def adapter_for(checkpoint: Path) -> Path | None:
    """The adapter beside a checkpoint (NAME.curves.safetensors), for Mini the shipped one; None in Forge."""
    if host.is_forge():
        return None
    own = checkpoint.with_suffix(f".{CURVES_FILE}")
    mini = shipped_folder() / "mini" / CURVES_FILE
    if not own.is_file() and checkpoint.name == shipped.CHECKPOINT and shipped.is_mini(checkpoint):
        own = mini
    return own if own.is_file() else None


class AtWork:
    """The adapter while one picture is painted. control: [1, 138, H, W], see sonopaint.models.curves."""

    def __init__(self, adapter: Any, control: torch.Tensor) -> None:
        self.adapter, self.control = adapter, control
        self.before: Any = None

    @torch.no_grad()
    def after(self, params: Any) -> None:
        """Move what the U-Net said of the clean latents, in place, as the host goes on with the same tensor.

        The last ones of the batch are the negative prompt's; they know no curves, so that guidance
        strengthens curves as it does words. Samplers over time steps (DDIM, PLMS, UniPC) tell noise instead.
        """
        x, said, before = self.before.x, params.x, self.before
        device, free = x.device, len(before.text_uncond)
        ask = self.control.to(device)
        asks = torch.cat([ask.expand(len(x) - free, -1, -1, -1), without(ask).expand(free, -1, -1, -1)])
        seen, told, level = x.float(), said.float(), before.sigma.float().reshape(-1)
        alphas = getattr(before.denoiser, "alphas", None)
        if alphas is not None:
            kept = alphas.to(device)[before.sigma.long()].float().view(-1, 1, 1, 1)
            root, noise = kept.sqrt(), (1 - kept).sqrt()
            level = (noise / root).reshape(-1)
            moved = self.adapter.to(device)(asks, seen, (seen - noise * told) / root, level)
            moved = (seen - root * moved) / noise
        else:
            seen = seen / (level.view(-1, 1, 1, 1) ** 2 + 1) ** 0.5
            moved = self.adapter.to(device)(asks, seen, told, level)
        said.copy_(moved.to(said))


_now: AtWork | None = None


@contextmanager
def at_work(adapter: Any, control: torch.Tensor) -> Iterator[None]:
    """Let the host's next picture follow; its jobs come one after the other."""
    global _now
    _now = AtWork(adapter, control)
    try:
        yield
    finally:
        _now = None


def on_cfg_denoiser(params: Any) -> None:
    """The host's callback before each call of the U-Net."""
    if _now is not None:
        _now.before = params


def on_cfg_denoised(params: Any) -> None:
    """The host's callback after it."""
    if _now is not None and _now.before is not None:
        _now.after(params)
