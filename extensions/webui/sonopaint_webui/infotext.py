"""The tab's arguments in the host's infotext, and back: under the name "Sonopaint", as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from sonoconvert.errors import SonopaintError
from sonopaint_webui.arguments import PAINTS, Arguments, checked, names_of, read_boxes

KEY = "Sonopaint"
# What the host's own infotexts say of the arguments.
HOST_NAMES = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "steps": "Steps",
    "cfg_scale": "CFG scale",
    "sampler": "Sampler",
    "scheduler": "Schedule type",
    "seed": "Seed",
    "strength": "Denoising strength",
    "format": "Sound format",
}


def written(arguments: Arguments, index: int = 0) -> str:
    """What makes item ``index`` of a batch again, in ASCII: all but defaults and what was drawn."""
    one = dataclasses.replace(arguments, seed=arguments.seed_of(index), count=1)
    defaults = {item.name: item.default for item in dataclasses.fields(Arguments)}
    values = {name: value for name, value in one.to_dict().items() if value != _plain(defaults[name])}
    values.pop("curves", None)  # thousands of numbers; the picture's own settings have them
    if "region" in values:
        values["region"] = {"boxes": list(values["region"].get("boxes") or [])}
    return json.dumps({"action": one.action, **values}, separators=(",", ":"))


def read(params: Mapping[str, Any], action: str = "") -> dict[str, Any]:
    """What a parsed infotext, ours or the host's, says of an action's arguments.

    What makes no sense is left out. action: default the infotext's own; of another one's infotext comes what
    both know.
    """
    ours = _ours(params)
    if ours:
        defaults = {item.name: item.default for item in dataclasses.fields(Arguments)}
        given: dict[str, Any] = {name: defaults[name] for name in names_of(ours["action"])} | ours
    else:
        given = {name: _number(params[label]) for name, label in HOST_NAMES.items() if label in params}
    values: dict[str, Any] = {}
    for name in names_of(action or action_of(params)):
        if name in given:
            try:
                values[name] = checked(name, given[name])
                if name == "region":
                    read_boxes(values[name] or {})
            except SonopaintError:
                values.pop(name, None)
    return values


def action_of(params: Mapping[str, Any]) -> str:
    """The sub-tab that an infotext belongs to; Inpaint for the host's."""
    return str(_ours(params).get("action", "inpaint"))


def _ours(params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        values = json.loads(str(params.get(KEY) or "{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and values.get("action") in PAINTS else {}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _number(value: Any) -> Any:
    """The host gives all values as text."""
    try:
        return int(value)
    except (TypeError, ValueError):
        pass
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
