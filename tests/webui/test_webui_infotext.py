"""The tab's arguments in the host's infotext and back, through the host's own quoting and reading."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoconvert.defaults import SURROUNDINGS
from sonoconvert.pictures.format import PRESETS
from sonopaint_webui import infotext
from sonopaint_webui.arguments import FILLS, PAINTS, Arguments, names_of

LEAST: dict[str, dict[str, Any]] = {
    "inpaint": {"region": {"boxes": [{"start": 1.0, "end": 2.0}]}},
    "outpaint": {"right": 2.5},
}
# As AUTOMATIC1111 and Forge write and read infotexts.
PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def through_the_host(arguments: Arguments, index: int = 0) -> dict[str, str]:
    text = infotext.written(arguments, index)
    line = f"Steps: 1, Seed: 7, {infotext.KEY}: {json.dumps(text, ensure_ascii=False)}, Version: 1.10.1"
    line.encode("ascii")
    assert "\n" not in line
    found = dict(PARAMETER.findall(line))
    return {key: json.loads(value) if value[:1] == '"' else value for key, value in found.items()}


def values_for(item: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    about, kind = item.metadata, str(item.type)
    if item.name == "region":
        number = st.none() | st.floats(6, 100)
        box = st.fixed_dictionaries({"start": st.floats(0, 5), "end": number, "low": number})
        return st.builds(lambda boxes: {"boxes": boxes}, st.lists(box, min_size=1, max_size=3))
    if item.name == "curves":
        return st.none()  # what was drawn is too long for an infotext
    if item.name == "format":
        return st.sampled_from(["", *PRESETS])
    if item.name == "fill":
        return st.sampled_from(FILLS)
    if item.name == "surroundings":
        return st.sampled_from(SURROUNDINGS)
    if kind.startswith("tuple") and about["choices"]:
        return st.lists(st.sampled_from(about["choices"]), unique=True)
    if kind == "int":
        return st.integers(about["low"], about["high"])
    if kind == "float":
        return st.floats(about["low"], about["high"])
    if kind == "bool":
        return st.booleans()
    text = st.text(max_size=30) | st.sampled_from(['a, b: "c"', "x\nSteps: 99, Seed: 1", "\\", "é 🎺 \ud800"])
    return st.lists(text, max_size=3) if kind.startswith("tuple") else text


@cache
def values_of(action: str) -> st.SearchStrategy[dict[str, Any]]:
    names = names_of(action)
    return st.fixed_dictionaries(
        {f.name: values_for(f) for f in dataclasses.fields(Arguments) if f.name in names}
    )


@pytest.mark.parametrize("action", PAINTS)
@settings(max_examples=25)
@given(st.data(), st.integers(0, 31))
def test_every_argument_comes_back(action: str, data: st.DataObject, index: int) -> None:
    values = data.draw(values_of(action))
    if action == "outpaint" and not values["left"] + values["right"]:
        values["right"] = 1.0
    if values.get("heal"):
        values["prompt"] = ""  # healing works without words
    arguments = Arguments.of(action, values)
    params = through_the_host(arguments, index)
    assert infotext.action_of(params) == action
    expected = dataclasses.replace(arguments, seed=arguments.seed_of(index), count=1)
    assert Arguments.of(action, infotext.read(params)) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@cache
def hostile(action: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names_of(action)), _JSON, max_size=4)


@settings(max_examples=50)
@given(st.sampled_from(PAINTS), st.sampled_from(PAINTS), st.data())
def test_what_is_hostile_is_left_out(action: str, wanted: str, data: st.DataObject) -> None:
    values = data.draw(hostile(action))
    params = {infotext.KEY: json.dumps({"action": action, **values})}
    found = infotext.read(params, wanted)
    assert set(found) <= set(names_of(wanted))
    least = LEAST.get(wanted, {})
    if not any((found.get("region") or {}).values()):
        found.pop("region", None)
    if not found.get("left") and not found.get("right"):
        found = {name: value for name, value in found.items() if name not in ("left", "right")}
    Arguments.of(wanted, {**least, **found})


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '"x"', "[" * 100_000, '{"action": "rm"}', '{"action": ["vary"]}', '{"seed": 1}']
)
def test_what_is_none_of_ours_is_read_as_the_hosts(text: str) -> None:
    params = {
        infotext.KEY: text, "Prompt": "a horn", "Steps": "12", "CFG scale": "5.5", "Seed": "9",
        "Sound format": "From the checkpoint", "Denoising strength": "lots",
    }  # fmt: skip
    assert infotext.action_of(params) == "inpaint"
    assert infotext.read(params, "vary") == {"prompt": "a horn", "steps": 12, "cfg_scale": 5.5, "seed": 9}


def test_of_another_sub_tab_comes_what_both_know() -> None:
    arguments = Arguments.of("outpaint", {"right": 2.0, "prompt": "rain", "right_prompt": "dog", "steps": 7})
    values = infotext.read(through_the_host(arguments.seeded()), "vary")
    assert (values["prompt"], values["steps"]) == ("rain", 7) and "right" not in values


def test_a_brush_stays_behind() -> None:
    arguments = Arguments.of("inpaint", {"region": {"brush": "A" * 5000}, "seed": 3})
    assert len(infotext.written(arguments)) < 200
