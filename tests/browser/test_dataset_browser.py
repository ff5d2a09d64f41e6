"""The Dataset page in a real Chromium: from a folder of sounds to edited captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.browser


def test_a_folder_becomes_clips_whose_captions_are_edited(
    open_studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPAINT_DATASETS", str(tmp_path / "datasets"))
    folder = tmp_path / "bells"
    folder.mkdir()
    for index in range(14):
        noise = np.random.default_rng(index).standard_normal(8000).clip(-3, 3)
        soundfile.write(folder / f"bell {index:02d}.wav", 0.2 * noise, 16_000)
    page = open_studio(color_scheme="dark")
    page.get_by_role("tab", name="Dataset").click()
    page.get_by_label("Folder with sounds").fill(str(folder))
    page.get_by_label("Trigger word").fill("zorb")
    page.get_by_label("Trigger word").press("Control+Enter")
    page.wait_for_selector(".sp-clip")
    assert page.locator(".sp-clip").count() == 12
    assert "Page 1 of 2 · 14 clips" in page.locator(".sp-pager").first.inner_text()

    audio = "document.querySelector('.sp-clip audio')"
    page.get_by_role("button", name="Play", exact=True).first.click()
    page.wait_for_function(f"{audio}.currentTime > 0.05")

    # Enter saves and goes on to the next caption; Escape takes back what was typed.
    first, second = page.locator(".sp-clip textarea").nth(0), page.locator(".sp-clip textarea").nth(1)
    key = page.locator(".sp-clip").first.get_attribute("data-key")
    assert first.input_value() == "zorb, bell"
    first.fill("zorb, a bell far away")
    first.press("Enter")
    page.wait_for_function("document.querySelector('#dataset-status').innerText.includes('Saved')")
    assert second.evaluate("element => element === document.activeElement")
    second.press_sequentially("nonsense")
    second.press("Escape")
    assert second.input_value() == "zorb, bell"

    split, name = key.split("/")
    dataset = tmp_path / "datasets" / "bells"
    lines = (dataset / split / "metadata.jsonl").read_text("utf-8").splitlines()
    texts = {line["file_name"]: line["text"] for line in map(json.loads, lines)}
    assert texts.pop(name) == "zorb, a bell far away" and set(texts.values()) == {"zorb, bell"}

    page.get_by_role("button", name="Next").first.click()
    page.wait_for_function("document.querySelectorAll('.sp-clip').length === 2")
    page.get_by_label("Search").fill("far away")
    page.get_by_label("Search").press("Enter")
    page.wait_for_function("document.querySelectorAll('.sp-clip').length === 1")

    page.get_by_role("button", name="Report").click()
    report = page.frame_locator("dialog iframe")
    assert report.locator("h1").inner_text() == "bells"
    ground = report.locator("body").evaluate("element => getComputedStyle(element).backgroundColor")
    assert ground == "rgb(18, 17, 24)"  # dark, as the page around it
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
