"""The lanes in a real Chromium: drawn, erased, undone, filled with a shape and with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def lanes(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.evaluate("window.Sonopaint.curves()") or '{"values": {}}')
    return found


def test_lanes_are_drawn_erased_and_filled(open_studio: Any, chirp: Path) -> None:
    page = open_studio()
    page.set_viewport_size({"width": 1280, "height": 1500})  # all lanes are in view
    page.fill("#seconds input", "2")
    page.click("#curves-box button")
    page.wait_for_selector("#curves .cl-canvas")

    def drag(x0: float, y0: float, x1: float, y1: float) -> None:
        box = page.locator("#curves .cl-canvas").bounding_box()
        at = lambda x, y: (box["x"] + 76 + x * (box["width"] - 84), box["y"] + y)  # noqa: E731
        page.mouse.move(*at(x0, y0))
        page.mouse.down()
        page.mouse.move(*at(x1, y1), steps=6)
        page.mouse.up()

    drag(0.02, 60, 0.98, 6)  # loudness rises
    loudness = lanes(page)["values"]["loudness"]
    assert len(loudness) == 125 and loudness[10] < loudness[60] < loudness[115]
    drag(0.0, 68 + 20, 0.5, 68 + 20)  # a steady pitch in the first half
    pitch = lanes(page)["values"]["pitch"]
    assert pitch[20] == pytest.approx(pitch[50]) and 100 < pitch[20] < 2093 and pitch[100] is None
    page.get_by_role("button", name="Erase: what is free is the model's choice").click()
    drag(0.2, 30, 0.4, 30)
    assert lanes(page)["values"]["loudness"][38] is None
    page.get_by_role("button", name="Undo (Ctrl+Z)").click()
    assert lanes(page)["values"]["loudness"][38] is not None
    page.select_option(".cl-shape", "swell")
    swell = lanes(page)["values"]["loudness"]
    assert swell.index(max(swell)) == pytest.approx(62, abs=1)
    page.set_input_files("#curves-drop input:not([webkitdirectory])", chirp)
    page.wait_for_function("JSON.parse(window.Sonopaint.curves() || '{}').values?.onsets !== undefined")
    assert len(lanes(page)["values"]["pitch"]) == pytest.approx(125, abs=2)
    assert float(page.input_value("#seconds input")) == pytest.approx(2, abs=0.02)
