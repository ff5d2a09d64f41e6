"""Match in a real Chromium: a recording is dropped, its knobs are turned and heard, it goes on to Edit."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonopaint.match import matching
from sonopaint.match.synths import get_synth

pytestmark = pytest.mark.browser
BAR = "window.Sonopaint.comparison"
CARDS = "#match-cards .sp-card"
PITCH = "#match-knobs .sp-knob:first-child input"
PLAYED = """() => { window.played = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { window.played.push(this.src); return play.call(this); }; }"""


@pytest.fixture
def thud(tmp_path: Path) -> Path:
    """A kick drum in stereo, 16 bits at 44.1 kHz, after half a second of hardly anything."""
    synth = get_synth("kick")
    theta = synth.theta_of({"pitch": 60, "decay": 0.4})[None]
    hit = 0.6 * synth.render(theta, rate=44_100)[0].numpy()
    sound = np.concatenate([np.zeros(22_050), hit])
    sound = sound + 1e-4 * np.random.default_rng(3).standard_normal(len(sound))
    soundfile.write(tmp_path / "thud.wav", sound[:, None] * [1.0, 0.8], 44_100, subtype="PCM_16")
    return tmp_path / "thud.wav"


def test_a_sound_is_matched_turned_compared_and_sent_on(
    open_studio: Any, slow_answers: Any, thud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "match", partial(matching.match, count=1))
    page = open_studio(color_scheme="light")
    page.evaluate(PLAYED)
    page.get_by_role("tab", name="Match").click()
    assert page.locator("#match-drop .sp-record").is_visible()
    page.set_input_files("#match-drop input[type=file]:not([webkitdirectory])", thud)
    page.wait_for_selector("#match-original .sp-card")
    page.click("#match-synth input")
    page.get_by_role("option", name="Kick drum").click()
    page.click("#match-go")
    page.wait_for_function("document.querySelectorAll('#match-knobs .sp-knob').length === 6")
    page.wait_for_function("document.querySelector('#match-status').textContent.includes(' away, ')")
    assert page.locator(CARDS).count() == 1
    said = page.locator("#match-knobs .sp-knob").first.inner_text().split()
    assert said[0] == "pitch" and said[-1] == "Hz"

    def place() -> float:
        return float(page.eval_on_selector(PITCH, "(slider) => slider.valueAsNumber"))

    def hear(number: int) -> str:
        """The sound that was played as that many were."""
        page.wait_for_function(f"window.played.length === {number}")
        return str(page.evaluate("window.played.at(-1)"))

    # A step by key, by button and by hand: each is heard at once.
    marked = place()
    page.focus(PITCH)
    page.keyboard.press("ArrowRight")
    one = hear(1)
    step = place() - marked
    assert 0.001 < step < 0.05
    page.get_by_role("button", name="pitch: a step up").click()
    assert hear(2) != one
    assert " away, " in page.inner_text("#match-status")  # how good the match is stays in sight
    assert place() == pytest.approx(marked + 2 * step, abs=1e-5)
    box = page.locator("#match-knobs .sp-knob").nth(3).locator("input").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    hear(3)
    assert int(page.get_attribute("#match-knobs .sp-knobs", "data-ms")) > 0
    page.wait_for_function(f"document.querySelectorAll('{CARDS}').length === 1")

    # Space: the original and the match in turn, in step.
    page.keyboard.press(" ")
    page.wait_for_function(f"{BAR}.nodes")
    assert page.locator("#match-cards .sp-choices button").all_inner_texts() == ["Original", "Match"]
    looped = page.evaluate(f"{BAR}.looped")  # from the hit on, on the original's clock
    assert looped["from"] == pytest.approx(0.5, abs=0.03) and looped["to"] == pytest.approx(2.55, abs=0.05)
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [False, True]
    page.keyboard.press(" ")
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [True, False]
    page.keyboard.press(" ")
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [False, True]
    page.get_by_role("button", name="Stop comparing").click()
    _look(page, tmp_path, "match")

    # Turned faster than answered: no step is lost, and the sheet has the last one.
    stood = place()
    with slow_answers(page, 2000):  # where keys come slowly, too
        page.focus(PITCH)
        for _ in range(4):
            page.keyboard.press("ArrowUp")
            page.wait_for_timeout(300)
        assert place() == pytest.approx(stood + 4 * step, abs=1e-5)
        hear(4)
        page.wait_for_timeout(1000)
        assert place() == pytest.approx(stood + 4 * step, abs=1e-5) and hear(4)

    page.get_by_role("button", name="Parameters").click()
    page.wait_for_selector("#match-saved a[download$='.json']")
    page.get_by_role("button", name="Twenty like this").click()
    page.wait_for_function(f"document.querySelectorAll('{CARDS}').length === 21")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Save all as ZIP").click()
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        assert len({file.read(name) for name in file.namelist()}) == 20
    _look(page, tmp_path, "twenty")

    page.get_by_role("button", name="Back to the match").click()
    page.wait_for_function(f"Math.abs(document.querySelector('{PITCH}').valueAsNumber - {marked}) < 1e-5")
    page.reload()  # what is turned then is no earlier turn
    page.wait_for_function("document.querySelectorAll('#match-knobs .sp-knob').length === 6")
    page.get_by_role("button", name="pitch: a step up").click()
    page.wait_for_timeout(2000)
    page.reload()
    page.wait_for_function(
        f"Math.abs(document.querySelector('{PITCH}')?.valueAsNumber - {marked + step}) < 1e-5"
    )
    page.locator(CARDS).first.get_by_role("button", name="Edit").click()
    page.wait_for_selector(".sp-editor.filled")
    assert page.get_by_role("tab", name="Edit").get_attribute("aria-selected") == "true"


def _look(page: Any, folder: Path, name: str) -> None:
    """Pictures at two widths, and nothing beyond the window's side."""
    for width, scheme in ((1280, "light"), (400, "dark")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        page.screenshot(path=str(folder / f"{name}-{width}.png"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.set_viewport_size({"width": 1280, "height": 800})
