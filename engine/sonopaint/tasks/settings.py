"""PaintSettings: the one validated object that command line, Studio and hosts share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sonoconvert.defaults import ITERATIONS, SURROUNDINGS
from sonoconvert.errors import SonopaintError, setting

if TYPE_CHECKING:
    from sonoconvert.phase.search import PhaseSearch

MAX_PROMPT = 10_000  # characters; longer ones are a pasted file, not a prompt
MAX_STEPS = 1000  # the timesteps that Stable Diffusion was trained on
ANOTHER_SEED = 1000  # further than any batch is long
MAX_SEED = 2**53 - 1  # exact in JSON and in a browser's numbers
SILENCE = {"silence", "silent", "nothing", "mute", "stille", "nichts", "ruhe"}
FILLS = ("noise", "original")
# What nobody said, the same behind every door (see also sonoconvert.defaults).
VARY_STRENGTH = 0.5  # how far `vary` goes from its source
EXTEND_S = 2.5  # seconds that are added after a sound where neither side is named
CLIPS = 5  # of an interpolation, both ends included
# Of Stable Diffusion 1.5 checkpoints, which have no card that says better.
SD_DEFAULTS: dict[str, Any] = {"steps": 20, "guidance_scale": 7.0, "sampler": "dpmpp_2m"}
ONE_STEP = "one_step"  # the sampler of distilled models
FEW_STEPS = 4  # what a distilled model edits in: what it paints must agree with what is kept
MOST_STUDENT_STEPS = 8  # more only blur what a distilled model paints


@dataclass(frozen=True)
class PaintSettings:
    """What to paint and how. ``None`` means: what the model's card recommends.

    prompt, negative_prompt: words, up to 10,000 characters, ``(word:1.3)`` weights allowed.
    steps: sampler steps, 1 … 1000.
    guidance_scale: classifier-free guidance (Ho & Salimans 2022), 1 = off.
    sampler: a name in ``sonopaint.samplers.SAMPLERS``.
    seed: of the first item of a batch; item i is painted with seed + i.
    strength: above 0 and up to 1, the part of the noise schedule that is walked. Below 1 the walk starts
        from what is there, whatever ``fill`` says.
    fill: what a painted area starts from: "noise" (its content is forgotten) or "original".
    iterations: iterations of the phase search when the picture becomes sound.
    surroundings: what edits do with what they painted: "match" its level, tilt and background to what is
        around it, "add" it to what is there, or "free", as it was painted.
    down_prompt, up_prompt: what the halves of a U-Net, before and behind its bottleneck, read in place of
        the prompt (models/block_prompts.py); empty: the prompt.

    Raises SonopaintError when a value makes no sense.
    """

    prompt: str = ""
    negative_prompt: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    seed: int = 0
    strength: float = 1.0
    fill: str = "noise"
    iterations: int = ITERATIONS
    surroundings: str = SURROUNDINGS[0]
    down_prompt: str = ""
    up_prompt: str = ""

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt", "down_prompt", "up_prompt"):
            _text(name, getattr(self, name))
        if self.steps is not None:
            _whole("steps", self.steps, 1, MAX_STEPS)
        if self.guidance_scale is not None:
            object.__setattr__(self, "guidance_scale", _number("guidance_scale", self.guidance_scale, 0, 100))
        if self.sampler is not None and not isinstance(self.sampler, str):
            raise SonopaintError(f"{setting('sampler')} must be a name, not {self.sampler!r}.")
        _whole("seed", self.seed, 0, MAX_SEED)
        object.__setattr__(self, "strength", _number("strength", self.strength, 0, 1))
        if self.strength == 0:
            raise SonopaintError(
                f"{setting('strength')} is 0, which would change nothing; choose one above 0 and up to 1."
            )
        if self.fill not in FILLS:
            raise SonopaintError(f"{setting('fill')} must be one of {', '.join(FILLS)}, not {self.fill!r}.")
        _whole("iterations", self.iterations, 0, 1000)
        if self.surroundings not in SURROUNDINGS:
            choices = ", ".join(SURROUNDINGS)
            raise SonopaintError(
                f"{setting('surroundings')} must be one of {choices}, not {self.surroundings!r}."
            )

    @property
    def search(self) -> PhaseSearch:
        """How the phase is searched for when the picture becomes sound."""
        from sonoconvert.phase.search import PhaseSearch

        return PhaseSearch(self.iterations, self.seed)

    @property
    def blocks(self) -> dict[str, str]:
        """{what the names of a U-Net's blocks begin with: their prompt}, where that is not the prompt."""
        said = {"down_blocks": self.down_prompt, "up_blocks": self.up_prompt}
        return {begin: prompt for begin, prompt in said.items() if prompt}

    def resolved(self, defaults: Mapping[str, Any]) -> PaintSettings:
        """The same settings with every ``None`` replaced by the model's ``defaults``."""
        wanted = {**SD_DEFAULTS, **{name: defaults[name] for name in SD_DEFAULTS if name in defaults}}
        return replace(self, **{name: value for name, value in wanted.items() if getattr(self, name) is None})

    def for_student(self) -> PaintSettings:
        """What a distilled model makes of the same settings: its own sampler, no guidance, few steps."""
        steps = 1 if self.steps is None else min(self.steps, MOST_STUDENT_STEPS)
        return replace(self, negative_prompt="", steps=steps, guidance_scale=1.0, sampler=ONE_STEP)

    def ignored(self, resolved: PaintSettings) -> dict[str, Any]:
        """What was asked for and is not in the settings that a painter resolved them to."""
        asked, used = asdict(self), asdict(resolved)
        return {name: value for name, value in asked.items() if value is not None and value != used[name]}

    def for_item(self, index: int) -> PaintSettings:
        """The settings that paint item ``index`` of a batch on its own."""
        return replace(self, seed=self.seed + index)

    def for_another_try(self) -> PaintSettings:
        """The settings for painting once more: a seed that no item of a batch has and hosts take."""
        step = ANOTHER_SEED if self.seed + ANOTHER_SEED < 2**32 else -ANOTHER_SEED
        return replace(self, seed=self.seed + step)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; ``from_dict(to_dict())`` is the identity."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PaintSettings:
        """Read what ``to_dict`` or a result's settings hold; other keys (task, model …) are passed over."""
        if not isinstance(values, Mapping):
            raise SonopaintError(
                f"Settings must be a mapping of names to values, not {type(values).__name__}."
            )
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def wants_silence(prompt: str) -> bool:
    """Whether nothing need be heard: the prompt is empty or about silence (English or German)."""
    words = set(re.findall(r"\w+", prompt.lower()))
    return not words or bool(words & SILENCE)


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise SonopaintError(f"{setting(name)} must be text, not {value!r}.")
    if len(value) > MAX_PROMPT:
        raise SonopaintError(
            f"{setting(name)} has {len(value):,} characters; at most {MAX_PROMPT:,} are read."
        )


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SonopaintError(f"{setting(name)} must be a whole number from {low} to {high}, not {value!r}.")


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SonopaintError(f"{setting(name)} must be a number from {low} to {high}, not {value!r}.")
    if not low <= value <= high:
        raise SonopaintError(f"{setting(name)} must be from {low} to {high}, not {value:g}.")
    return float(value)
