"""Settings that rode along in a file: checked, and turned back into what stands in the controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sonoconvert.errors import SonopaintError
from sonopaint_studio.model_store import ModelStore, title

MOST_STEPS = 100  # ends of Studio's sliders
GUIDANCE = (1.0, 15.0)


@dataclass(frozen=True)
class Recalled:
    """Values for the controls; None where the file says nothing usable. `model` is a listed model's path."""

    prompt: str
    negative_prompt: str
    seed: int | None
    steps: int | None
    guidance_scale: float | None
    sampler: str | None
    strength: float | None
    model: str | None
    note: str


def recall(settings: dict[str, Any], store: ModelStore) -> Recalled:
    """Check a file's settings (anybody may have written them). SonopaintError when they make no sense."""
    from sonopaint.samplers import SAMPLERS
    from sonopaint.tasks.settings import PaintSettings

    if not isinstance(settings.get("prompt", ""), str):
        raise SonopaintError("The settings in this file are damaged: they hold no prompt.")
    known = PaintSettings.from_dict({k: v for k, v in settings.items() if v is not None})
    models = {info.name: info for info in store.models()}
    wanted, scale = settings.get("model"), known.guidance_scale
    model = models.get(wanted) if isinstance(wanted, str) else None
    parts = [f"“{known.prompt[:60]}”" if known.prompt else "no prompt"]
    if "seed" in settings:
        parts.append(f"seed {known.seed}")
    if model is not None:
        parts.append(title(model))
    elif isinstance(wanted, str):
        parts.append(f"made with {wanted[:60]}, which is not here")
    return Recalled(
        prompt=known.prompt,
        negative_prompt=known.negative_prompt,
        seed=known.seed if "seed" in settings else None,
        steps=min(known.steps, MOST_STEPS) if known.steps else None,
        guidance_scale=None if scale is None else min(max(scale, GUIDANCE[0]), GUIDANCE[1]),
        sampler=known.sampler if known.sampler in SAMPLERS else None,
        strength=known.strength if "strength" in settings else None,
        model=str(model.path) if model else None,
        note=", ".join(parts),
    )
