"""What a base model must keep, whatever is changed in it: what was lost once, over several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.evaluation import metrics
from sonotrain.evaluation.base.pictures import grain, quiet
from sonotrain.trainers.mini.sound_classifier import SoundClassifier
from sonotrain.training.painting import paint, through_vae, to_sound

# Captions among words that say nothing, and what is to be heard all the same. Before captions were trained
# among filler words the first was nothing, and the second a flute.
AMONG_WORDS = {
    "masterpiece, best quality, a dog barking, 8k": "dog_bark",
    "my phone recorded a church bell ringing yesterday": "church_bell",
    "recording: a notification chime": "notification",
}
SHORT = ("a dog barks", "someone knocks on a door")  # silence between and after


@dataclass(frozen=True)
class Check:
    """A figure of a model, and between which bounds it must lie."""

    name: str
    value: float
    least: float
    most: float

    @property
    def passed(self) -> bool:
        return self.least <= self.value <= self.most


def check(
    model: Any, judge: SoundClassifier, *, seed: int, count: int, settings: Mapping[str, Any]
) -> list[Check]:
    """All checks, each over `count` seeds from `seed`."""
    from sonotrain.data import foley

    rough, error = {}, 0.0
    for kind in ("rain", "siren"):
        clips = foley.batch(count, seed, [kind], relations=[("single", 1.0)])
        real = levels(clips.waveforms, get_format(FORMAT))
        kept = through_vae(model, real)
        rough[kind] = grain(kept) / grain(real)
        error = max(error, float((kept - real).abs().mean()))
    seeds = range(seed, seed + count)
    events = torch.cat([paint(model, SHORT, seed=one, **settings) for one in seeds])
    said = list(AMONG_WORDS)
    heard = [judge.judge(to_sound(paint(model, said, seed=one, **settings)))[0] for one in seeds]
    guesses = metrics.guesses(torch.cat(heard), judge.kinds)
    found = metrics.top1(guesses, list(AMONG_WORDS.values()) * count)
    return [
        Check("grain of rain that the VAE keeps", rough["rain"], 0.3, 1.2),
        Check("grain of a siren that the VAE keeps", rough["siren"], rough["rain"], 1.5),
        Check("mean difference after the VAE, of a range of 1", error, 0.0, 0.1),
        Check("level between and after short events, dB", quiet(events), -80.0, -75.0),
        Check("level of short events, of a range of 1", float(events.amax((-2, -1)).mean()), 0.8, 1.0),
        Check("kinds heard though words that say nothing stand around them", found, 0.9, 1.0),
    ]


def as_dicts(checks: list[Check]) -> list[dict[str, Any]]:
    """For look.json."""
    return [asdict(one) | {"passed": one.passed} for one in checks]


def as_lines(checks: list[dict[str, Any]]) -> list[str]:
    """A Markdown table; ✗ is what has been lost."""
    lines = ["| check | value | from | to | |", "|---|---|---|---|---|"]
    for one in checks:
        bounds = f"{one['least']:.2f} | {one['most']:.2f}"
        lines.append(f"| {one['name']} | {one['value']:.2f} | {bounds} | {'✓' if one['passed'] else '✗'} |")
    return lines
