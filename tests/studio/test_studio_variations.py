"""The page Variations: a sound is dropped, varied, compared; one is rejected and another made."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from sonopaint_studio.variations_tab import VariationsTab, in_words


def bar(context: Any) -> tuple[Any, ...]:
    return (str(context.store.models()[0].path), "", "", "", 1.0, 1.0, 1.0)


def dropped(upload: Any, path: Path) -> Any:
    """What the drop zone sends."""
    one = upload(path.name, path)
    return SimpleNamespace(files=[{"path": one.path, "name": one.name}])


def test_a_sound_is_varied_and_one_is_replaced(context: Any, tab: Any, upload: Any, chirp: Path) -> None:
    samples, rate = soundfile.read(chirp)
    soundfile.write(chirp, samples[: rate // 2], rate, subtype="PCM_16")
    page = VariationsTab(context)
    *_, (status, kind, *_) = page.opened(tab(), dropped(upload, chirp))
    assert "sounds like" in status and "sp-error" not in status
    *_, last = page.make(
        tab(), *bar(context), "a chirp", 2, 0.5, ["length", "loudness"], False, 3, False, "", True
    )
    status, seed, _, cards, link, _ = last
    assert "2 of 2 candidates; diversity" in status and ".zip" in link
    assert cards["compare"]["before"]["title"] == "chirp" and cards["actions"] == [["reject", "Reject"]]
    first = [card["key"] for card in cards["cards"]]
    assert len(first) == 2
    heard, its_rate = soundfile.read(cards["cards"][0]["downloads"]["WAV"])
    assert heard.shape == (rate // 2, 2) and its_rate == rate and np.abs(heard).max() > 0
    with zipfile.ZipFile(context.sessions.of(tab()).variations.link.split("file=")[1].split('"')[0]) as file:
        assert file.namelist() == ["a-chirp-3.wav", "a-chirp-4.wav"]

    *_, last = page.reject(tab(), SimpleNamespace(key=first[0]))
    second = [card["key"] for card in last[3]["cards"]]
    assert len(second) == 2 and first[0] not in second and first[1] in second
    assert [one[3] for one in page.resume(tab())][-1]["cards"] == last[3]["cards"]


@pytest.mark.parametrize(("kind", "said"), [("  ", "Say what the sound is"), ("a chirp", "Drop the sound")])
def test_what_is_missing_is_said(
    context: Any, tab: Any, kind: str, said: str, upload: Any, chirp: Path
) -> None:
    page = VariationsTab(context)
    if kind == "  ":
        list(page.opened(tab(), dropped(upload, chirp)))
    *_, last = page.make(tab(), *bar(context), kind, 2, 0.5, [], True, None, True, "", True)
    assert said in last[0] and "sp-error" in last[0]


def test_a_silent_sound_is_one_sentence(context: Any, tab: Any, upload: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000), 32_000)
    *_, last = VariationsTab(context).opened(tab(), dropped(upload, tmp_path / "quiet.wav"))
    assert "silent" in last[0] and "sp-error" in last[0]
    assert in_words(0.2) != in_words(0.6) != in_words(1.0)
