"""Blend in a real Chromium: three sounds are dropped, swapped, blended, heard, compared with sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.files.clip import Clip

pytestmark = pytest.mark.browser
RATE = 32_000
BAR = "window.Sonopaint.comparison"
SOURCES, CARDS = "#blend-sources .sp-card", "#blends .sp-card"


class Adder:
    """In place of the model: the sum of the sources, a second long."""

    @classmethod
    def load(cls) -> Adder:
        return cls()

    def blend(self, sources: Any, *, seed: int, count: int, progress: Any, **_: Any) -> Sequence[Any]:
        from sonopaint.blend.blending import Blend

        wave = torch.stack([one.weight * one.clip.waveform[:, :RATE] for one in sources.values()]).mean(0)
        progress(1.0)
        facts = [{"task": "blend", "seed": seed + number} for number in range(count)]
        return [Blend(Clip(wave, RATE, one), one) for one in facts]


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, Path]:
    t = np.arange(RATE) / RATE
    for name, hertz in (("door", 110), ("rattle", 440), ("gravel", 1760)):
        soundfile.write(tmp_path / f"{name}.wav", 0.4 * np.sin(2 * np.pi * hertz * t), RATE)
    return {path.stem: path for path in tmp_path.glob("*.wav")}


def test_three_sounds_are_dropped_blended_and_heard(
    open_studio: Any, sounds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonopaint.blend.blending.Blender", Adder)
    page = open_studio(color_scheme="light")
    page.get_by_role("tab", name="Blend").click()
    assert page.locator("#blend-coarse .sp-record").is_visible()
    for number, (level, name) in enumerate((("coarse", "door"), ("mid", "rattle"), ("fine", "gravel")), 1):
        page.set_input_files(f"#blend-{level} input[type=file]:not([webkitdirectory])", sounds[name])
        page.wait_for_function(f"document.querySelectorAll('{SOURCES}').length === {number}")
    assert page.locator(f"{SOURCES} strong").all_inner_texts() == [
        "Coarse: door",
        "Mid: rattle",
        "Fine: gravel",
    ]
    page.get_by_role("button", name="Swap coarse and mid").click()
    page.wait_for_function(f"document.querySelector('{SOURCES} strong').textContent === 'Coarse: rattle'")

    page.get_by_role("button", name="Dice").click()
    page.wait_for_function("document.querySelector('#blend-seed input').value !== ''")
    page.click("#blend-go")
    page.wait_for_function(f"document.querySelectorAll('{CARDS}').length === 2")
    seed = page.input_value("#blend-seed input")
    assert seed in page.locator(CARDS).last.inner_text()

    # A result is heard; the bar switches between it and every source.
    page.locator(CARDS).first.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(f"document.querySelector('{CARDS} audio').currentTime > 0")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_function(f"{BAR}.nodes")
    labels = page.locator("#blends .sp-choices button").all_inner_texts()
    assert labels == ["Coarse", "Take 1", "Take 2", "Mid", "Fine"]
    page.get_by_role("button", name="Fine", exact=True).click()
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [False] * 4 + [True]
    page.get_by_role("button", name="Stop comparing").click()
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 800), ("dark", 400)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.wait_for_timeout(300)
        page.screenshot(path=str(tmp_path / f"blend-{scheme}-{width}.png"), full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})

    # One goes on as a source, from here and from the library.
    page.locator(SOURCES).last.get_by_role("button", name="Take out").click()
    page.wait_for_function(f"document.querySelectorAll('{SOURCES}').length === 2")
    page.get_by_role("tab", name="Library").click()
    page.locator("#library .sp-places").first.select_option("blend")
    page.wait_for_function(f"document.querySelectorAll('{SOURCES}').length === 3")
    assert page.locator(f"{SOURCES} strong").last.inner_text().startswith("Fine: Blended")
