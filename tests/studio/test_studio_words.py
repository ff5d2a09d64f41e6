"""What pages say: file names, times, whose file an error is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoconvert.errors import SonopaintError
from sonopaint_studio.jobs import Running, status_html
from sonopaint_studio.sounds import file_stem, named


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("Eine Tür, die knarrt!", "eine-tür-die-knarrt"),
        ("a_dog  barking?", "a-dog-barking"),
        ("犬が吠える", "犬が吠える"),
        ("…", "sound"),
    ],
)
def test_files_keep_the_letters_of_their_title(title: str, stem: str) -> None:
    assert file_stem(title) == stem


def test_an_error_names_the_file_as_its_owner_does() -> None:
    path = Path("/tmp/up loads/0001/New Recording 7.m4a")
    error = SonopaintError(f"{path} can't be read; is it a sound?")
    assert named(error, "New Recording 7.m4a", path) == "New Recording 7.m4a can't be read; is it a sound?"
    assert named(SonopaintError("/tmp/x/clip.wav is empty."), r"a\1.wav") == r"a\1.wav is empty."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(7.26, "7.3 s"), (59.4, "59 s"), (150, "2 min 30 s"), (1500, "25 min"), (188_098, "2 days 4 h"),
     (7500, "2 h 5 min")],
)  # fmt: skip
def test_times_are_said_in_units_that_fit(seconds: float, said: str) -> None:
    assert f"<span>{said} left</span>" in status_html(Running("Training", 0.1, seconds))
