"""What the tab and the API ask for: one validated object, which also rides along in every result.

Each field says which actions know it, its limits and what it means; the API's schema and its documentation
are made of the same fields.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sonoconvert.defaults import FEATHER_S, ITERATIONS, SEAM_S, SURROUNDINGS
from sonoconvert.edits.region import Box
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import get_format
from sonopaint.tasks.settings import (
    CLIPS,
    EXTEND_S,
    MAX_PROMPT,
    MAX_STEPS,
    SD_DEFAULTS,
    VARY_STRENGTH,
    PaintSettings,
)
from sonopaint.variations.protocol import KEEPS

MAX_SEED = 2**32 - 1  # what the host takes; item i of a batch is painted with seed + i
MAX_COUNT = 32
MAX_BOXES = 1000
MAX_SIDE_S = 300.0
# What a painted area starts from, in the host's words.
FILLS = ("fill", "original", "latent noise", "latent nothing")
PAINTS = ("generate", "inpaint", "outpaint", "loop", "vary", "interpolate", "one-step")
ON_A_CLIP = ("inpaint", "outpaint", "loop", "vary")
FOLLOWING = ("generate", "inpaint", "vary")  # what curves can be followed in
WHOLE = ("generate", "vary")  # of these, what can be brought to curves when it is painted
CURVES = ("loudness", "pitch", "brightness", "onsets")  # as points, beside `curves`
MANY_STEPS = tuple(action for action in PAINTS if action != "one-step")
# Where an action's default differs from the field's own, which infotexts leave out.
OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "vary": {"strength": VARY_STRENGTH},
    "outpaint": {"right": EXTEND_S},
}


def _option(
    default: Any,
    help: str,
    actions: tuple[str, ...] = PAINTS,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": help, "actions": actions, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Arguments:
    """One request to paint. Made by ``Arguments.of``, which refuses what an action does not know.

    Raises SonopaintError when a value makes no sense.
    """

    action: str = _option("inpaint", "what to do", choices=PAINTS)
    prompt: str = _option("", "what should be heard; LoRAs and weights as in the prompt of txt2img")
    negative_prompt: str = _option("", "what should not be heard", MANY_STEPS)
    styles: tuple[str, ...] = _option((), "names of the WebUI's styles")
    steps: int = _option(SD_DEFAULTS["steps"], "sampler steps", MANY_STEPS, low=1, high=MAX_STEPS)
    cfg_scale: float = _option(
        SD_DEFAULTS["guidance_scale"], "how strictly the prompt is followed", MANY_STEPS, low=1, high=30
    )
    sampler: str = _option("", "a sampler's name; empty: the WebUI's first", MANY_STEPS)
    scheduler: str = _option("", "a schedule's name; empty: automatic", MANY_STEPS)
    seed: int = _option(-1, "-1: a random one", low=-1, high=MAX_SEED)
    count: int = _option(
        1,
        "how many to make",
        ("generate", "inpaint", "outpaint", "loop", "vary", "one-step"),
        low=1,
        high=MAX_COUNT,
    )
    format: str = _option("", "spectrogram format; empty: the LoRAs' or the checkpoint's own")
    iterations: int = _option(ITERATIONS, "Phase iterations", low=0, high=1000)
    strength: float = _option(
        1.0, "how far from what is there, 0 to 1", ("inpaint", "loop", "vary"), low=0.01, high=1
    )
    keep: tuple[str, ...] = _option(
        (), f"what of the sound each variation keeps: {', '.join(KEEPS)}", ("vary",), choices=KEEPS
    )
    choose: bool = _option(
        False,
        "make more than asked for, leave out copies, silence and what sounds like something else, and take "
        "the most different of the rest",
        ("vary",),
    )
    fill: str = _option(
        "latent nothing", "what a painted area starts from", ("inpaint", "outpaint", "loop"), choices=FILLS
    )
    surroundings: str = _option(
        SURROUNDINGS[0],
        "match: level, tilt and background as around it; add: to what is there; free: as it was painted",
        ("inpaint", "outpaint", "loop"),
        choices=SURROUNDINGS,
    )
    region: dict[str, Any] = _option(
        None,
        'boxes in seconds and Hz and a brush: {"boxes": [{"start", "end", "low", "high"}], "brush": PNG}',
        ("inpaint",),
    )
    invert: bool = _option(False, "paint everything but the region", ("inpaint",))
    heal: bool = _option(
        False, "repair what is marked from what is around it; for this the prompt is empty", ("inpaint",)
    )
    feather: float = _option(FEATHER_S, "seconds over which the edges fade", ("inpaint",), low=0, high=10)
    left: float = _option(0.0, "seconds to add before", ("outpaint",), low=0, high=MAX_SIDE_S)
    right: float = _option(
        0.0, "seconds to add after; 0 where only left is given", ("outpaint",), low=0, high=MAX_SIDE_S
    )
    left_prompt: str = _option("", "words for the left side; empty: the prompt", ("outpaint",))
    right_prompt: str = _option("", "words for the right side; empty: the prompt", ("outpaint",))
    seam: float = _option(
        SEAM_S, "seconds repainted where a clip's end meets its start", ("loop",), low=0.05, high=60
    )
    seconds: float = _option(
        0.0,
        "length of new sounds; 0: the model's own",
        ("generate", "loop", "interpolate", "one-step"),
        low=0,
        high=600,
    )
    to_prompt: str = _option("", "where the interpolation ends", ("interpolate",))
    to_seed: int = _option(
        -1, "the seed where it ends; -1: a random one", ("interpolate",), low=-1, high=MAX_SEED
    )
    clips: int = _option(CLIPS, "sounds from one end to the other", ("interpolate",), low=2, high=MAX_COUNT)
    curves: dict[str, Any] = _option(
        None,
        'curves to follow, in seconds of the result: {"rate": values a second, "values": {"loudness" dB, '
        '"pitch" Hz (0: none), "brightness" Hz, "onsets" 0 or 1: [numbers, null: free]}}',
        FOLLOWING,
    )
    loudness: str = _option("", "second:decibel, as in 0:-60 0.3:-12 2:-20 3:free", FOLLOWING)
    pitch: str = _option("", "second:hertz, a note, off or free, as in 0:A3 1:440 2:off", FOLLOWING)
    brightness: str = _option("", "second:hertz of the centroid, as in 0:500 2:4000", FOLLOWING)
    onsets: str = _option("", "second:1 where something begins, as in 0.5:1 1:1", FOLLOWING)
    exact: bool = _option(
        True,
        "bring whole sounds to the curves when they are painted: gain, pitch and brightness",
        FOLLOWING,
    )
    student: str = _option(
        "", "a one-step LoRA or checkpoint by name; empty: what the prompt names or is loaded", ("one-step",)
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = _checked(item, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        if self.action == "outpaint" and not self.left + self.right:
            raise SonopaintError(
                f"Nothing would be added: give seconds for {setting('left')} or {setting('right')}."
            )
        if self.action == "inpaint" and not any((self.region or {}).values()):
            raise SonopaintError("Nothing is marked: drag a box or paint over what is to change.")
        if self.heal and self.prompt.strip():
            raise SonopaintError(
                f"{setting('heal')} works without words: empty {setting('prompt')}, or switch it off."
            )

    @classmethod
    def of(cls, action: str, values: Mapping[str, Any]) -> Arguments:
        """The arguments of one action. Raises SonopaintError for names that it does not know."""
        known = names_of(action)
        unknown = sorted(str(name) for name in set(values) - set(known))
        if unknown:
            raise SonopaintError(
                f"{action} does not know {', '.join(unknown)[:200]}; it takes {', '.join(known)}."
            )
        own = OWN_DEFAULTS.get(action, {})
        if action == "outpaint" and "left" in values:  # who names one side means that one
            own = {}
        return cls(**{**own, **values, "action": action})

    def seeded(self) -> Arguments:
        """The same with seeds instead of −1, so that what was made can be made again."""
        seed, to_seed = (secrets.randbelow(2**31) if s == -1 else s for s in (self.seed, self.to_seed))
        return dataclasses.replace(self, seed=seed, to_seed=to_seed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with what this action knows only; ``of(action, to_dict())`` is the identity."""
        values = {name: getattr(self, name) for name in names_of(self.action)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def seed_of(self, index: int) -> int:
        """The seed of item ``index`` of a batch; after the last one comes the first."""
        return (max(self.seed, 0) + index) % (MAX_SEED + 1)

    def settings(self, index: int = 0) -> PaintSettings:
        """What the engine's tasks take, for item ``index`` of a batch."""
        return PaintSettings(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            steps=self.steps,
            guidance_scale=self.cfg_scale,
            sampler=self.sampler or None,
            seed=self.seed_of(index),
            strength=self.strength,
            fill="original" if self.fill == "original" else "noise",
            iterations=self.iterations,
            surroundings=self.surroundings,
        )


def names_of(action: str) -> list[str]:
    """The names that an action knows, without ``action``. Raises SonopaintError for an unknown one."""
    if action not in PAINTS:
        raise SonopaintError(f"There is no action {action!r}; choose one of {', '.join(PAINTS)}.")
    return [f.name for f in fields(Arguments) if f.name != "action" and action in f.metadata["actions"]]


def default_of(action: str, item: dataclasses.Field[Any]) -> Any:
    """What a field of an action is where nobody says."""
    return OWN_DEFAULTS.get(action, {}).get(item.name, item.default)


def schema(action: str) -> dict[str, Any]:
    """The JSON schema of an action's arguments."""
    properties: dict[str, Any] = {}
    for item in fields(Arguments):
        if item.name not in names_of(action):
            continue
        about = item.metadata
        entry: dict[str, Any] = {"type": _JSON_TYPES[_kind(item)], "description": about["help"]}
        if entry["type"] == "array":
            entry["items"] = {"type": "string"} | (
                {"enum": list(about["choices"])} if about["choices"] else {}
            )
        default = default_of(action, item)
        if default is not None:
            entry["default"] = list(default) if isinstance(default, tuple) else default
        limits = {"minimum": about["low"], "maximum": about["high"], "enum": list(about["choices"]) or None}
        if entry["type"] == "array":
            limits.pop("enum")
        properties[item.name] = entry | {name: limit for name, limit in limits.items() if limit is not None}
    return {"type": "object", "additionalProperties": False, "properties": properties}


_JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "tuple": "array",
    "dict": "object",
}


def read_boxes(region: Mapping[str, Any]) -> tuple[Box, ...]:
    """The boxes of a region. Raises SonopaintError where they, or the region, are none."""
    boxes, brush = region.get("boxes") or [], region.get("brush") or ""
    if set(region) - {"boxes", "brush"} or not isinstance(boxes, list) or not isinstance(brush, str):
        raise SonopaintError('The region must be {"boxes": [{"start", "end", "low", "high"}], "brush": PNG}.')
    if len(boxes) > MAX_BOXES:
        raise SonopaintError(f"The region has {len(boxes)} boxes; at most {MAX_BOXES} are read.")
    return tuple(map(_box, boxes))


def _box(given: Any) -> Box:
    edges = {"start": 0.0, "end": None, "low": None, "high": None}
    if not isinstance(given, dict) or set(given) - set(edges):
        raise SonopaintError("A box of the region has start and end in seconds and low and high in Hz.")
    box = {**edges, **given}
    for name, value in box.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise SonopaintError(f"The {name} of a box must be a number, not {str(value)[:40]!r}.")
    return Box(box["start"] or 0.0, box["end"], box["low"], box["high"])


def checked(name: str, value: Any) -> Any:
    """One argument's value. Raises SonopaintError where it makes no sense."""
    return _checked(next(item for item in fields(Arguments) if item.name == name), value)


def _kind(item: dataclasses.Field[Any]) -> str:
    return str(item.type).split("[")[0]


def _checked(item: dataclasses.Field[Any], value: Any) -> Any:
    """The value as its field's kind; SonopaintError says what is wrong with it."""
    name, kind, about = item.name, _kind(item), item.metadata
    called = setting(name)
    if kind in ("int", "float"):
        return _number(called, kind, value, about["low"], about["high"])
    if kind == "bool":
        if not isinstance(value, bool):
            raise SonopaintError(f"{called} must be true or false, not {_shown(value)}.")
    elif kind == "tuple":
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise SonopaintError(f"{called} must be a list of names, not {_shown(value)}.")
        if about["choices"] and (unknown := [one for one in value if one not in about["choices"]]):
            known = ", ".join(about["choices"])
            raise SonopaintError(f"{called} knows {known}, not {_shown(unknown[0])}.")
        return tuple(value)
    elif kind == "dict":
        if value is not None and not isinstance(value, dict):
            holds = "boxes or a brush" if name == "region" else "a rate and values"
            raise SonopaintError(f"{called} must be an object with {holds}, not {_shown(value)}.")
    elif not isinstance(value, str):
        raise SonopaintError(f"{called} must be text, not {_shown(value)}.")
    elif len(value) > MAX_PROMPT:
        raise SonopaintError(f"{called} has {len(value):,} characters; at most {MAX_PROMPT:,} are read.")
    elif about["choices"] and value not in about["choices"]:
        raise SonopaintError(f"{called} must be one of {', '.join(about['choices'])}, not {_shown(value)}.")
    elif name == "format" and value:
        get_format(value)
    return value


def _number(called: str, kind: str, value: Any, low: float, high: float) -> Any:
    what = "a whole number" if kind == "int" else "a number"
    reach = f"from {low:.10g} to {high:.10g}"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, float):
        number = math.isfinite(value) and (kind == "float" or value == int(value))
    if not number:
        raise SonopaintError(f"{called} must be {what} {reach}, not {_shown(value)}.")
    if not low <= value <= high:
        raise SonopaintError(f"{called} must be {reach}, not {_shown(value)}.")
    return int(value) if kind == "int" else float(value)


def _shown(value: Any) -> str:
    """A value in a sentence, short whatever it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return "something that is no number" if math.isnan(value) else "an endless number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
