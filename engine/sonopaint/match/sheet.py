"""A matched sound as a sheet: which synthesiser, where its knobs stand; kept as JSON, turned, and played."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip
from sonopaint.match.colour import BANDS, FRAMES, coloured
from sonopaint.match.synths import Parameter, Synth, get_synth
from sonopaint.match.synths.protocol import PLAY_RATE

VERSION = 1
LONGEST_S = 60.0
_CHANGE = re.compile(r"\s*([+-]?\d*\.?\d+(?:e[+-]?\d+)?)\s*([a-zA-Z%×/]*)\s*")


@dataclass(frozen=True)
class Sheet:
    """A synthesiser's settings.

    values: of each parameter. seconds: how long it plays. level: factor of what the synthesiser makes. seed:
    of its noise. colour: dB [BANDS, FRAMES] of what it can't say, over `colour_s` seconds; None: unknown.
    distance: ‖Φ(x) − Φ(y)‖ of the match, `relative`: over ‖Φ(x)‖; None where nothing was matched.
    """

    synth: Synth
    values: dict[str, float]
    seconds: float
    level: float = 1.0
    seed: int = 0
    colour: Tensor | None = field(default=None, repr=False)
    colour_s: float = 1.0
    distance: float | None = None
    relative: float | None = None
    source: str = ""

    @property
    def theta(self) -> Tensor:
        return self.synth.theta_of(self.values)

    def changed(self, changes: Iterable[str]) -> Sheet:
        """With "pitch=+3st", "decay=2x", "brightness=-3dB", "rate=+10%" or a plain value "pitch=440" each.

        SonopaintError: unknown names, no number, beyond the range.
        """
        values = dict(self.values)
        for change in changes:
            name, _, said = change.partition("=")
            name = name.strip()
            parameter = next((p for p in self.synth.parameters if p.name == name), None)
            if parameter is None or not said:
                raise SonopaintError(
                    f'{change!r} sets nothing of {self.synth.title}; say e.g. "{self.synth.names[0]}=2x" '
                    f"(it has {', '.join(self.synth.names)})."
                )
            values[name] = parameter.checked(_changed(parameter, values[name], said))
        return replace(self, values=values)

    def play(self, amount: float = 0.0) -> Clip:
        """The sound, mono at 32 kHz, with `amount` (0 … 1) of the original's colour. It never clips."""
        if not 0 <= amount <= 1:
            raise SonopaintError(f"The share of the original's colour must be 0 to 1, not {amount:g}.")
        with torch.no_grad():
            wave = self.synth.render(self.theta[None], rate=PLAY_RATE, seconds=self.seconds, seed=self.seed)[
                0
            ]
            if self.colour is not None:
                wave = coloured(wave, PLAY_RATE, self.colour, self.colour_s, amount)
        wave = wave * self.level
        fade = min(len(wave), PLAY_RATE // 100)  # strokes come 20 ms after the beginning, after it has risen
        wave[:fade] *= torch.linspace(0, 1, fade)
        wave[len(wave) - fade :] *= torch.linspace(1, 0, fade)
        wave = wave * (0.98 / max(float(wave.abs().max()), 0.98))
        told: dict[str, Any] = {"task": "match", **self.header(), "colour": amount}
        return Clip(wave[None], PLAY_RATE, told)

    def header(self) -> dict[str, Any]:
        """What stands in files but for the colour."""
        units = {p.name: p.unit for p in self.synth.parameters}
        return {
            "synth": self.synth.name,
            "parameters": {n: {"value": _rounded(v), "unit": units[n]} for n, v in self.values.items()},
            "seconds": round(self.seconds, 4),
            "level": _rounded(self.level),
            "seed": self.seed,
            "distance": self.distance,
            "relative": self.relative,
            "source": self.source,
        }

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """As JSON. SonopaintError where the file exists, unless `force`."""
        grid = None if self.colour is None else [[round(v, 1) for v in row] for row in self.colour.tolist()]
        told = {"format": "sonopaint.match", "version": VERSION, **self.header()}
        told |= {"colour": {"decibels": grid, "seconds": self.colour_s} if grid else None}
        write_text(path, json.dumps(told, indent=1, ensure_ascii=False) + "\n", force=force)


def read_sheet(path: str | Path) -> Sheet:
    """The sheet in a JSON file. SonopaintError where it is damaged, none, or of another version."""
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SonopaintError(f"{path} can't be read as the parameters of a match ({error}).") from error
    if not isinstance(told, dict) or told.get("format") != "sonopaint.match":
        raise SonopaintError(f'{path} holds no parameters of a match; make them with "sonopaint match".')
    if told.get("version") != VERSION:
        raise SonopaintError(
            f"{path} is of version {told.get('version')} of the match's format, and this Sonopaint knows "
            f"{VERSION}; match the sound again, or update Sonopaint."
        )
    return sheet_of(told, str(path))


def sheet_of(told: dict[str, Any], where: str) -> Sheet:
    """A sheet from its header (and colour). SonopaintError for what is missing or no number."""
    try:
        synth = get_synth(str(told["synth"]))
        values = {name: float(one["value"]) for name, one in told["parameters"].items()}
        grid = told.get("colour")
        decibels, spans = None, 1.0
        if isinstance(grid, dict):
            decibels, spans = torch.tensor(grid["decibels"], dtype=torch.float32), float(grid["seconds"])
            if decibels.shape != (BANDS, FRAMES) or not bool(torch.isfinite(decibels).all()) or spans <= 0:
                raise ValueError("colour")
        sheet = Sheet(
            synth, {}, float(told["seconds"]), float(told["level"]), int(told["seed"]), decibels, spans,
            told.get("distance"), told.get("relative"), str(told.get("source") or ""),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SonopaintError(f"{where} is damaged: {error} is missing or no number.") from error
    if not 0 < sheet.seconds <= LONGEST_S:
        raise SonopaintError(
            f"{where} plays {sheet.seconds:g} s; it must be above 0 and at most {LONGEST_S:g}."
        )
    theta = synth.theta_of(values)
    return replace(sheet, values=synth.values(theta))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _changed(parameter: Parameter, value: float, said: str) -> float:
    """A value after what was said of it."""
    found = _CHANGE.fullmatch(said)
    if not found:
        raise SonopaintError(f"{parameter.name}={said} is no number; say e.g. 440, 2x, +3st or +10%.")
    number, unit = float(found[1]), found[2]
    if unit in ("x", "×"):
        return value * number
    if unit == "%":
        return value * (1 + number / 100) if said.strip()[0] in "+-" else value * number / 100
    if unit == "st" and parameter.unit == "Hz":
        return value * 2 ** (number / 12)
    relative = unit == "dB" or (unit == "st" and parameter.unit == "st")
    if unit and not relative and unit != parameter.unit:
        raise SonopaintError(
            f"{parameter.name} is in {parameter.unit or 'no unit'}, so {said!r} says nothing of it; give a "
            "plain number, a factor (2x) or a percentage (+10%)."
        )
    return value + number if relative and said.strip()[0] in "+-" else number
