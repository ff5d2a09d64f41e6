"""Decoders for several formats as one command: train, export, one after the other, within a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.trainers.vocoder.train import VocoderTrainer, export_vocoder
from sonotrain.training.loop import Budget
from sonotrain.training.run import train_once

# Shares of the time.
FORMATS = {"riffusion-v1": 0.4, "sonopaint-mini": 0.4, "perkins-10s": 0.2}
# What is said of a format: whose weights it starts from, and what its network is like. Mini's is to be quick.
START = {"perkins-10s": "riffusion-v1"}
OPTIONS: dict[str, dict[str, Any]] = {
    "sonopaint-mini": {"width": 32, "patch_frames": 4, "crop": 128, "model": "mini"},
}


@dataclass(frozen=True)
class Preset:
    """Sizes of the recipe; with `steps` above 0 every format trains so long in place of its share."""

    steps: int = 0
    options: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    # one datacentre GPU, about 28 minutes for all formats
    "gpu": Preset(
        # No larger network than the CPU's: decoding must stay quick there.
        options={"clips": 6000, "batch": 32, "ema": 0.999, "warmup": 200, "waveform_from": 2000,
                 "adversarial_weight": 0.03, "checkpoint_minutes": 1.0, "preview_minutes": 3.0},
    ),
    # one processor core, hours
    "cpu": Preset(options={"clips": 1000, "batch": 3}),
    # everything once, tiny: does it run?
    "smoke": Preset(
        steps=2,
        options={"clips": 14, "batch": 1, "crop": 16, "width": 8, "deep": 8, "blocks": 1, "waveform_from": 1,
                 "adversarial_weight": 0.03, "model_clips": 1},
    ),
}  # fmt: skip


def run_vocoders(
    out: str | Path, preset: str, minutes: float, *, device: str = "auto", workers: int = 2
) -> bool:
    """Trains and exports a decoder for each of FORMATS; called again, it goes on where it was stopped.

    Ends with out/weights/<format>.safetensors (Mini's: -fast). False when the user stopped it.
    """
    if preset not in PRESETS:
        raise SonopaintError(f"There is no preset {preset!r}; choose from {', '.join(PRESETS)}.")
    if minutes <= 0:
        raise SonopaintError(f"{setting('minutes')} must be above 0.")
    chosen, folder = PRESETS[preset], Path(out)
    for name, share in FORMATS.items():
        run = folder / name
        start = str(folder / START[name]) if name in START else ""
        own = OPTIONS.get(name, {})
        options = {"format": name, "start_from": start, "workers": workers, **own, **chosen.options}
        budget = Budget(steps=chosen.steps) if chosen.steps else Budget(minutes=minutes * share)
        if not train_once(VocoderTrainer, run, options, budget, device=device):
            return False
        if not any((folder / "weights").glob(f"{name}*.safetensors")):
            export_vocoder(run, folder / "weights")
    return True
