"""Every page of Studio, filled, in three widths, light and dark: sizes, overlaps, and what axe-core finds."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.browser
LOOK = Path(__file__).with_name("look.js").read_text("utf-8")
WIDTHS = {1280: 800, 800: 900, 400: 800}


@pytest.fixture
def filled(
    open_studio: Callable[..., Any], chirp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, list[str]]:
    """A tab whose pages hold sounds, takes, clips and models; and the names of its pages."""
    monkeypatch.setenv("SONOPAINT_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.setenv("SONOPAINT_RUNS", str(tmp_path / "runs"))
    bells = tmp_path / "bells"
    bells.mkdir()
    for index in range(5):
        noise = np.random.default_rng(index).standard_normal(8000).clip(-3, 3)
        soundfile.write(bells / f"a bell with a rather long name {index}.wav", 0.2 * noise, 16_000)
    page = open_studio(reduced_motion="reduce")
    pages = page.get_by_role("tab").all_inner_texts()
    page.fill("#prompt textarea", "a didgeridoo in a cave, a dog barking and all else that takes its place")
    page.fill("#seconds input", "1")
    page.click("#generate-go")
    page.wait_for_selector("#results .sp-card")

    page.get_by_role("tab", name="Edit").click()
    page.set_input_files("#editor input[type=file]", chirp)
    page.wait_for_selector(".sp-editor.filled")
    page.get_by_role("button", name="Type a box").click()
    page.fill("#edit-takes input[type=number]", "2")
    page.click("#edit-go")
    page.wait_for_function("document.querySelectorAll('#after .sp-card').length === 2")

    page.get_by_role("tab", name="Convert").click()
    page.set_input_files("#convert-drop input[multiple]", chirp)
    page.wait_for_selector("#convert-results a")
    page.get_by_role("tab", name="Dataset").click()
    page.get_by_label("Folder with sounds").fill(str(bells))
    page.click("#dataset-go")
    page.wait_for_selector(".sp-clip")
    page.get_by_role("tab", name="Subject").click()
    page.set_input_files("#subject-drop input[multiple]", sorted(bells.glob("*.wav")))
    page.wait_for_function("document.querySelectorAll('#subject-clips li').length === 5")
    return page, pages


def cards_are_whole(page: Any) -> None:
    """Two rules of one name once put the cards into a box of 132 px, and hid Subject's fifth clip."""
    last = page.locator("#subject-clips li").last.bounding_box()
    whole = page.locator("#subject-clips").bounding_box()
    assert last["y"] + last["height"] <= whole["y"] + whole["height"] + 1
    page.get_by_role("tab", name="Dataset").click()
    page.wait_for_timeout(300)
    for clip in page.locator(".sp-clip").all():
        box, field = clip.bounding_box(), clip.locator("textarea").bounding_box()
        assert box["height"] > 190 and field["y"] + field["height"] <= box["y"] + box["height"]


@pytest.mark.slow
def test_every_page_in_every_width_light_and_dark(filled: tuple[Any, list[str]]) -> None:
    page, pages = filled
    cards_are_whole(page)
    axe = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
    page.evaluate(axe)
    wrong: list[str] = []
    for name in pages:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.get_by_role("tab", name=name).click()
        for look in ("light", "dark"):
            page.emulate_media(color_scheme=look)
            for width, height in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(250)  # observers of sizes draw anew
                wrong += [f"{name}, {width} px, {look}: {what}" for what in page.evaluate(LOOK)]
            page.set_viewport_size({"width": 1280, "height": 800})
            found = page.evaluate("axe.run().then(({ violations }) => violations)")
            wrong += [
                f"{name}, {look}, axe: {one['id']}: {node['target']}"
                for one in found
                for node in one["nodes"]
            ]
    assert not wrong, "\n" + "\n".join(wrong)
