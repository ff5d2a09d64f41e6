"""Errors carry the settings that they speak of; every door says them in its own words."""

from __future__ import annotations

import pickle

import pytest

from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError, flag, setting


def test_a_sentence_in_the_words_of_a_door() -> None:
    error = SonopaintError(f"{setting('max_windows')} is -1; see {setting('out')}, not {{braces}} or %s.")
    assert error.settings == ("max_windows", "out")
    assert str(error) == "max_windows is -1; see out, not {braces} or %s."
    assert error.told(flag) == "--max-windows is -1; see --out, not {braces} or %s."
    words = {"max_windows": "“Clips of one recording”", "out": "the name"}
    assert error.told(words.__getitem__).startswith("“Clips of one recording” is -1; see the name,")


def test_a_sentence_without_settings_is_the_same_everywhere() -> None:
    error = SonopaintError("There is no file a--b.wav.")
    assert error.settings == () and str(error) == error.told(flag) == "There is no file a--b.wav."


def test_settings_survive_worker_processes_and_other_sentences() -> None:
    error = pickle.loads(pickle.dumps(SonopaintError(f"{setting('seam')} is 0.")))  # noqa: S301
    assert error.settings == ("seam",) and error.told(flag) == "--seam is 0."
    assert str(SonopaintError(f"a.wav: {error}")) == "a.wav: seam is 0."


def test_a_region_says_which_setting() -> None:
    with pytest.raises(SonopaintError) as caught:
        Region(feather_s=-1.0)
    assert caught.value.settings == ("feather",)
    assert caught.value.told(flag) == "--feather must be 0 s or more, not -1.0 s."
