"""The one argument object: what it takes, what it refuses, and that it says so in a sentence."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.defaults import FEATHER_S, SEAM_S
from sonoconvert.errors import SonopaintError
from sonopaint.tasks.settings import CLIPS, EXTEND_S, SD_DEFAULTS, VARY_STRENGTH, PaintSettings
from sonopaint_webui.arguments import PAINTS, Arguments, names_of, schema

# What each action needs to be possible at all.
LEAST: dict[str, dict[str, Any]] = {
    "inpaint": {"region": {"boxes": [{"start": 1.0, "end": 2.0}]}},
    "outpaint": {"right": 2.5},
}


@pytest.mark.parametrize("action", PAINTS)
def test_arguments_survive_json(action: str) -> None:
    arguments = Arguments.of(action, {"prompt": "train horn", "seed": 7, **LEAST.get(action, {})})
    assert Arguments.of(action, json.loads(json.dumps(arguments.to_dict()))) == arguments


@pytest.mark.parametrize("action", PAINTS)
def test_the_schema_has_what_the_action_knows(action: str) -> None:
    properties = schema(action)["properties"]
    assert list(properties) == names_of(action)
    assert all(about["description"] for about in properties.values())
    json.dumps(properties, allow_nan=False)


@pytest.mark.parametrize(
    ("action", "values", "says"),
    [
        ("inpaint", {}, "Nothing is marked"),
        ("inpaint", {"region": {"boxes": []}}, "Nothing is marked"),
        ("inpaint", {"region": "1:2"}, "region must be an object"),
        ("outpaint", {"left": 0.0}, "give seconds"),
        ("outpaint", {"left": -1.0}, "left must be from 0 to 300"),
        ("outpaint", {"left": math.nan, "right": 1.0}, "left must be a number"),
        ("vary", {"strength": 0}, "strength must be from 0.01 to 1"),
        ("vary", {"strength": True}, "strength must be a number"),
        ("vary", {"seconds": 2.0}, "vary does not know seconds"),
        ("vary", {"steps": 12.5}, "steps must be a whole number"),
        ("vary", {"steps": 10**9}, "steps must be from 1 to 1000"),
        ("vary", {"count": 33}, "count must be from 1 to 32"),
        ("vary", {"prompt": "a" * 10_001}, "10,001 characters"),
        ("vary", {"prompt": ["a"]}, "prompt must be text"),
        ("vary", {"styles": "loud"}, "styles must be a list"),
        ("vary", {"seed": 2**32}, "seed must be from"),
        ("vary", {"format": "mp3"}, "no spectrogram format"),
        ("loop", {"fill": "grey"}, "fill must be one of"),
        ("dance", {}, "no action 'dance'"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(action: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(SonopaintError, match=says) as caught:
        Arguments.of(action, values)
    assert "\n" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@cache
def anything(action: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names_of(action)), _JSON, max_size=4)


@given(st.sampled_from(PAINTS), st.data())
def test_any_json_is_taken_or_refused(action: str, data: st.DataObject) -> None:
    values = data.draw(anything(action))
    try:
        arguments = Arguments.of(action, {**LEAST.get(action, {}), **values})
    except SonopaintError as error:
        assert 10 < len(str(error)) < 400
        return
    arguments.settings(3)


def test_defaults_are_those_of_every_door() -> None:
    """The tab's fields and the API's schema start where the command line and Studio do."""
    vary, outpaint = Arguments.of("vary", {}), Arguments.of("outpaint", {})
    assert vary.strength == schema("vary")["properties"]["strength"]["default"] == VARY_STRENGTH
    assert (outpaint.left, outpaint.right) == (0, EXTEND_S)
    assert schema("outpaint")["properties"]["right"]["default"] == EXTEND_S
    assert Arguments.of("outpaint", {"left": 2.0}).right == 0, "who names one side means that one"
    assert Arguments.of("loop", {}).seam == SEAM_S and Arguments.of("interpolate", {}).clips == CLIPS
    inpaint = Arguments.of("inpaint", LEAST["inpaint"])
    assert (inpaint.feather, inpaint.strength) == (FEATHER_S, 1)
    assert (inpaint.steps, inpaint.cfg_scale) == (SD_DEFAULTS["steps"], SD_DEFAULTS["guidance_scale"])


@pytest.mark.parametrize(
    ("action", "values", "tab", "api"),
    [
        ("vary", {"steps": 0}, "“Steps” must be from 1 to 1000, not 0.", "steps must be from"),
        (
            "vary",
            {"cfg_scale": 99.0},
            "“CFG scale” must be from 1 to 30, not 99.0.",
            "cfg_scale must be from",
        ),
        ("inpaint", {"feather": -1}, "“Soft edge (s)” must be from 0 to 10, not -1.", "feather must be from"),
        (
            "outpaint",
            {"left": 0},
            "Nothing would be added: give seconds for “Seconds before” or",
            "for left or",
        ),
    ],
)
def test_each_door_names_the_field(action: str, values: dict[str, Any], tab: str, api: str) -> None:
    from sonopaint_webui import names

    with pytest.raises(SonopaintError) as caught:
        Arguments.of(action, values)
    assert names.said(caught.value).startswith(tab)
    assert api in names.answered(caught.value)


def test_errors_from_below_have_the_doors_names() -> None:
    from sonopaint_webui import names

    with pytest.raises(SonopaintError) as caught:
        PaintSettings(guidance_scale=200)
    assert names.said(caught.value) == "“CFG scale” must be from 0 to 100, not 200."
    assert names.answered(caught.value) == "cfg_scale must be from 0 to 100, not 200."


def test_random_seeds_are_kept() -> None:
    one, other = (Arguments.of("interpolate", {}).seeded() for _ in range(2))
    assert one.seed >= 0 and one.to_seed >= 0 and one != other
    assert one.seeded() == one
