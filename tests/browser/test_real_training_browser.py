"""A subject and a LoRA learnt by the real trainers, by clicks alone, on Sonopaint Mini as it ships."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT_MS = 900_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Studio in a process of its own, with folders of its own."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("own")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        f"SONOPAINT_{name.upper()}": str(folder / name) for name in ("models", "library", "runs", "datasets")
    }
    command = [sys.executable, "-m", "sonopaint_studio", "--no-browser", "--port", str(port)]
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=log, stderr=log)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(url, timeout=5)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, (folder / "log.txt").read_text()
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def bells(folder: Path, count: int) -> list[Path]:
    """Strokes of one bell: partials that are no multiples, each stroke of its own length and strength."""
    rate, random = 32_000, np.random.default_rng(3)
    t = np.arange(3 * rate) / rate
    paths = []
    for number in range(count):
        partials = ((1, 1.0, 2.5), (2.76, 0.6, 4), (5.4, 0.35, 7), (8.9, 0.2, 11))
        pitch, length = 620 * random.uniform(0.9, 1.1), random.uniform(0.5, 2)
        tone = sum(
            gain
            * random.uniform(0.3, 1.3)
            * np.exp(-decay * t / length)
            * np.sin(2 * np.pi * pitch * ratio * t)
            for ratio, gain, decay in partials
        )
        tone += random.uniform(0.02, 0.2) * np.exp(-30 * t) * random.standard_normal(len(t))
        paths.append(folder / f"bell {number}.wav")
        soundfile.write(paths[-1], 0.4 * tone, rate)
    return paths


def says(page: Any, prefix: str, words: str) -> None:
    page.wait_for_function(f"document.querySelector('#{prefix}-status').innerText.includes('{words}')")


def stopped_and_gone_on(page: Any, prefix: str) -> None:
    """Stop a run in its first steps, go on with it, and see it end."""
    says(page, prefix, "Training: step")
    page.click(f"#{prefix}-stop")
    says(page, prefix, "Stopped; everything is saved")
    assert page.locator(f"#{prefix}-status .sp-error").count() == 0
    page.click(f"#{prefix}-resume")
    says(page, prefix, "Training: step")
    says(page, prefix, "Finished")


def heard(page: Any, cards: int, folder: Path) -> None:
    """The new results are sounds of a second, not silence."""
    page.fill("#seconds input", "1")
    page.click("#generate-go")
    page.wait_for_function(f"document.querySelectorAll('#results .sp-card').length === {cards}")
    with page.expect_download() as waiting:
        page.locator("#results .sp-card").first.get_by_role("link", name="WAV", exact=True).click()
    waiting.value.save_as(folder / "heard.wav")
    samples, rate = soundfile.read(folder / "heard.wav")
    assert len(samples) == pytest.approx(rate, abs=2) and np.sqrt(np.mean(np.square(samples))) > 0.01


def test_a_subject_and_a_lora_by_clicks(address: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.get_by_role("tab", name="Subject").click()
    page.set_input_files("#subject-drop input[multiple]", bells(tmp_path, 5))
    page.wait_for_function("document.querySelectorAll('#subject-clips li').length === 5")
    page.fill("#subject-class textarea, #subject-class input", "bell")
    page.click("#subject-more button")
    page.fill("#subject-steps input", "20")
    page.click("#subject-go")
    stopped_and_gone_on(page, "subject")
    page.click("#subject-variations")
    page.wait_for_function("document.querySelector('#prompt textarea').value.includes('bell')")
    page.wait_for_selector("#generate-go:visible")
    heard(page, 4, tmp_path)

    sounds = tmp_path / "eight"
    sounds.mkdir()
    bells(sounds, 8)
    page.get_by_role("tab", name="Train").click()
    page.fill("#train-dataset input", str(sounds))
    page.locator("#train-dataset input").press("Enter")
    page.fill("#train-trigger textarea, #train-trigger input", "zorblat")
    page.fill("#train-steps input", "12")
    page.click("#train-more button")
    assert page.input_value("#train-preserve textarea, #train-preserve input") == ""  # what suits the model
    page.fill("#train-preserve textarea, #train-preserve input", "0")
    page.click("#train-go")
    stopped_and_gone_on(page, "train")
    page.wait_for_selector("#train-curves svg")
    page.click("#train-add")
    page.wait_for_function("document.querySelector('#train-told').innerText.includes('Added zorblat')")
    page.click("#loras button")
    page.get_by_label("LoRA 1").click()
    page.get_by_role("option", name="zorblat").click()
    page.get_by_role("tab", name="Generate").click()
    page.fill("#prompt textarea", "zorblat, a bell")
    page.fill("#batch input[type=number]", "1")
    heard(page, 5, tmp_path)
