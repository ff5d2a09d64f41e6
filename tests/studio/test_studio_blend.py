"""The page Blend: sounds by level, swapped, taken from elsewhere, blended and compared with their sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.files.clip import Clip, read_clip
from sonopaint.blend import blending
from sonopaint_studio.blend_tab import BlendTab

RATE = 32_000


class Adder:
    """In place of a model: the sum of the sources, each with its weight, and what it was asked."""

    asked: list[dict[str, Any]] = []

    @classmethod
    def load(cls) -> Adder:
        return cls()

    def blend(self, sources: Any, *, seconds: Any, seed: int, count: int, progress: Any) -> Sequence[Any]:
        self.asked.append({"sources": sources, "seconds": seconds, "seed": seed, "count": count})
        waves = [one.weight * one.clip.waveform[:, :RATE] for one in sources.values()]
        made = []
        for number in range(count):
            progress((number + 1) / count)
            facts = {"task": "blend", "seed": seed + number}
            wave = torch.stack(waves).sum(0) / len(waves)
            made.append(blending.Blend(Clip(wave, RATE, facts), facts, ("The fine is the first source's.",)))
        return made


@pytest.fixture
def page(context: Any, monkeypatch: pytest.MonkeyPatch) -> BlendTab:
    monkeypatch.setattr(blending, "Blender", Adder)
    monkeypatch.setattr(Adder, "asked", [])
    return BlendTab(context)


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, Path]:
    """A second of three tones."""
    t = np.arange(RATE) / RATE
    for name, hertz in (("door", 110), ("rattle", 440), ("gravel", 1760)):
        soundfile.write(tmp_path / f"{name}.wav", 0.4 * np.sin(2 * np.pi * hertz * t), RATE)
    return {path.stem: path for path in sorted(tmp_path.glob("*.wav"))}


def dropped(upload: Any, path: Path) -> Any:
    """What the drop zone sends."""
    one = upload(path.name, path)
    return SimpleNamespace(files=[{"path": one.path, "name": one.name}])


def titles(cards: Any) -> list[str]:
    return [card["title"] for card in cards["cards"]]


def test_three_sounds_are_blended_swapped_and_kept(
    page: BlendTab, context: Any, tab: Any, upload: Any, sounds: dict[str, Path]
) -> None:
    for level, name in (("fine", "gravel"), ("coarse", "door"), ("mid", "rattle")):
        *_, (status, sources, results) = page.opened(level, tab(), dropped(upload, sounds[name]))
        assert f"{name} is the {level}." in status and results["compare"] is None
    assert titles(sources) == ["Coarse: door", "Mid: rattle", "Fine: gravel"]

    *_, (status, _, _, _, results) = page.make(tab(), 1.0, 0.5, 0.0, None, 2, 7, False)
    assert "Done in" in status and "The fine is the first source" in status  # what the blender said
    asked = Adder.asked[-1]
    assert {level: one.weight for level, one in asked["sources"].items()} == {
        "coarse": 1.0, "mid": 0.5, "fine": 0.0
    }  # fmt: skip
    assert (asked["seed"], asked["count"], asked["seconds"]) == (7, 2, None)
    assert titles(results) == ["Blend 8", "Blend 7"] and all(card["kept"] for card in results["cards"])
    assert results["compare"]["label"] == "Coarse" and results["compare"]["before"]["title"] == "door"
    assert [label for label, _ in results["compare"]["others"]] == ["Mid", "Fine"]
    kept = read_clip(results["cards"][0]["audio"])
    assert kept.settings["sources"] == {"coarse": "door", "mid": "rattle", "fine": "gravel"}
    assert kept.settings["seed"] == 8
    assert context.library.search("gravel", kind="blend").total == 2

    _, sources, results = page.swap("coarse", "fine", tab())
    assert titles(sources) == ["Coarse: gravel", "Mid: rattle", "Fine: door"]
    assert results["compare"]["before"]["title"] == "gravel"
    _, sources, _ = page.remove(tab(), SimpleNamespace(key=sources["cards"][1]["key"]))
    assert titles(sources) == ["Coarse: gravel", "Fine: door"]
    _, sources, _ = page.swap("mid", "fine", tab())
    assert titles(sources) == ["Coarse: gravel", "Mid: door"]
    list(page.make(tab(), 1.0, 1.0, 0.3, 0.5, 1, 1, True))  # an empty place is the first's, with its weight
    asked = Adder.asked[-1]["sources"]
    assert asked["fine"].clip is asked["coarse"].clip and asked["fine"].weight == 0.3
    assert Adder.asked[-1]["seconds"] == 0.5
    # A result goes where there is room; a page that is loaded again has all of it.
    selected, status, sources, results = page.take(tab(), SimpleNamespace(key=results["cards"][0]["key"]))
    assert selected["selected"] == "blend" and titles(sources)[2].startswith("Fine: Blend")
    *_, (_, _, _, again, made) = page.resume(tab())
    assert titles(again) == titles(sources) and titles(made) == titles(results)


def test_what_can_not_be_is_said(page: BlendTab, tab: Any, upload: Any, tmp_path: Path) -> None:
    *_, last = page.make(tab(), 1.0, 1.0, 1.0, None, 1, 1, False)
    assert "Drop the sounds" in last[0]
    (tmp_path / "letter.wav").write_text("Dear reader")
    *_, (status, *_) = page.opened("mid", tab(), dropped(upload, tmp_path / "letter.wav"))
    assert "sp-error" in status and "letter.wav" in status and str(tmp_path) not in status
    gone, status, *_ = page.take(tab(), SimpleNamespace(key="nothing"))
    assert "no longer there" in status
    assert page.dice()[1] is False and page.dice()[0] != page.dice()[0]


def test_without_weights_the_page_says_so(
    context: Any, tab: Any, upload: Any, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonoconvert.errors import SonopaintError

    def missing() -> Any:
        raise SonopaintError("The model for blending is missing; clone the repository again.")

    monkeypatch.setattr(blending.Blender, "load", missing)
    page = BlendTab(context)
    list(page.opened("coarse", tab(), dropped(upload, sounds["door"])))
    *_, last = page.make(tab(), 1.0, 1.0, 1.0, None, 1, 1, False)
    assert "clone the repository again" in last[0] and "sp-error" in last[0]
