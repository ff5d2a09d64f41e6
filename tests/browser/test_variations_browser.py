"""Variations in a real Chromium: Studio's page, and the page of a soundbank that plays it offline."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BAR = "window.Sonopaint.comparison"
CARDS = "#variations .sp-card"


@pytest.fixture
def bark(tmp_path: Path) -> Path:
    """Half a second that falls in pitch, 16 bits at 44.1 kHz."""
    rate = 44_100
    t = np.arange(rate // 2) / rate
    tone = sum(np.sin(2 * np.pi * k * (300 * t - 120 * t**2)) / k for k in range(1, 6)) * np.exp(-8 * t)
    soundfile.write(tmp_path / "bark.wav", 0.3 * tone, rate, subtype="PCM_16")
    return tmp_path / "bark.wav"


def test_a_sound_is_varied_compared_rejected_and_saved(open_studio: Any, bark: Path, tmp_path: Path) -> None:
    page = open_studio()
    page.get_by_role("tab", name="Variations").click()
    page.set_input_files("#variations-drop input[type=file]", bark)
    page.wait_for_function("document.querySelector('#variations-status').textContent.includes('sounds like')")
    page.fill("#variations-kind input, #variations-kind textarea", "a dog barking")
    page.fill("#variations-count input[type=number]", "3")
    page.uncheck("#variations-choose input")  # a model with random weights paints no dog
    page.click("#variations-go")
    page.wait_for_function(f"document.querySelectorAll('{CARDS}').length === 3")
    page.wait_for_function("document.querySelector('#variations-status').textContent.includes('diversity')")
    assert page.locator(CARDS).first.inner_text().count("likeness") == 1

    # A and B on one key, equally loud; nothing of Edit's is touched.
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_function(f"{BAR}.nodes")
    assert page.get_by_label("Equally loud").is_checked()
    assert page.evaluate(f"{BAR}.looped.to") == pytest.approx(0.5, abs=0.01)
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [False, True, False, False]
    page.get_by_role("button", name="Take 3", exact=True).click()
    page.keyboard.press("b")
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [True, False, False, False]
    page.keyboard.press("b")
    assert page.evaluate(f"{BAR}.chosen") == 3
    page.get_by_role("button", name="Stop comparing").click()

    before = page.evaluate(f"[...document.querySelectorAll('{CARDS}')].map((card) => card.dataset.key)")
    page.locator(CARDS).first.get_by_role("button", name="Reject").click()
    page.wait_for_function(f"!document.querySelector('{CARDS}[data-key=\"{before[0]}\"]')")
    page.wait_for_function(f"document.querySelectorAll('{CARDS}').length === 3")
    after = page.evaluate(f"[...document.querySelectorAll('{CARDS}')].map((card) => card.dataset.key)")
    assert set(before[1:]) < set(after)
    titles = page.locator(f"{CARDS} strong").all_inner_texts()
    assert sorted(titles) == ["Variation 2", "Variation 3", "Variation 4"]
    page.wait_for_function("document.querySelector('#variations-go').disabled !== true")
    page.screenshot(path=str(tmp_path / "variations.png"), full_page=True)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Save all as ZIP").click()
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        names = file.namelist()
        assert len(names) == 3 and all(name.endswith(".wav") for name in names)
        file.extractall(tmp_path / "all")
    for name in names:
        samples, rate = soundfile.read(tmp_path / "all" / name)
        assert rate == 44_100 and len(samples) == 22_050 and np.abs(samples).max() > 0


class Pitched:
    """A back-end that needs no model: the reference, each seed a little higher and with other noise."""

    name = "pitched"

    def candidates(
        self, reference: Any, ask: Any, seeds: Sequence[int], progress: Any = None
    ) -> Iterator[Any]:
        from sonoconvert.files.clip import Clip
        from sonopaint.variations.protocol import Candidate

        for seed in seeds:
            noise = torch.randn(reference.waveform.shape, generator=torch.Generator().manual_seed(seed))
            wave = reference.waveform + 0.02 * noise * reference.waveform.abs().amax()
            other = Clip(wave, round(reference.sample_rate * (1 + seed / 60)))
            yield Candidate(other.resampled(reference.sample_rate), seed)

    def describe(self) -> dict[str, Any]:
        return {"variator": self.name}


def test_the_page_of_a_soundbank_plays_it_offline(browser: Any, bark: Path, tmp_path: Path) -> None:
    from sonoconvert.files.clip import read_clip
    from sonopaint.variations.deliver import deliver
    from sonopaint.variations.make import Maker
    from sonopaint.variations.protocol import Ask

    maker = Maker(Pitched(), read_clip(bark), Ask("dog <b>bark", 4, seed=1), choose=False)
    deliver(maker, maker.make(), tmp_path / "bank", name="bark")
    context = browser.new_context(viewport={"width": 900, "height": 700})
    page = context.new_page()
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "blob:")) or told.append(request.url))
    page.goto((tmp_path / "bank" / "index.html").as_uri())
    assert page.title() == "dog <b>bark × 4" and page.locator("li").count() == 5
    assert "chosen from 4 candidates" in page.inner_text("#figures")
    page.evaluate("audio.muted = true")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("audio.currentTime > 0.05 && audio.src.endsWith('bark_01.wav')")
    page.keyboard.press("r")
    page.wait_for_function("audio.currentTime > 0.05 && audio.src.endsWith('reference.wav')")
    page.keyboard.press("4")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    assert page.inner_text("#rejected") == "Replace them with: sonopaint variations --again FOLDER --reject 2"
    assert page.locator("li").nth(1).inner_text().count("★") == 4
    page.screenshot(path=str(tmp_path / "bank.png"), full_page=True)
    page.reload()
    assert page.locator("li.out").count() == 1, "what was marked is still there"
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
    assert told == []


def test_three_coughs_are_marked_and_healed(open_studio: Any, coughs: Any, tmp_path: Path) -> None:
    page = open_studio()
    page.get_by_role("tab", name="Edit").click()
    page.set_input_files("#editor input[type=file]", coughs.path)
    page.wait_for_selector(".sp-editor.filled")
    page.check("#action input[value=Heal]")
    page.wait_for_selector("#heal-find")
    boxes = [{"start": start, "end": stop} for start, stop in coughs.spans]
    page.evaluate("(boxes) => window.Sonopaint.mark(JSON.stringify(boxes))", boxes)
    page.wait_for_function("JSON.parse(window.Sonopaint.region()).boxes.length === 3")
    page.screenshot(path=str(tmp_path / "coughs.png"), full_page=True)
    page.click("#edit-go")
    page.wait_for_selector("#after .sp-card")
    page.screenshot(path=str(tmp_path / "healed.png"), full_page=True)
    with page.expect_download() as waiting:
        page.locator("#after .sp-card").first.get_by_role("link", name="WAV", exact=True).click()
    waiting.value.save_as(tmp_path / "healed.wav")
    healed, rate = soundfile.read(tmp_path / "healed.wav", dtype="float32")
    assert rate == coughs.rate and len(healed) == len(coughs.samples)
    inside = np.zeros(len(healed), bool)
    for start, stop in coughs.spans:
        here = slice(round(start * rate), round(stop * rate))
        inside[here] = True
        assert np.std(healed[here]) < 0.5 * np.std(coughs.samples[here]), "no cough is left"
        assert np.std(healed[here]) > 0.1 * np.std(coughs.clean)
    np.testing.assert_array_equal(healed[~inside], coughs.samples[~inside])
