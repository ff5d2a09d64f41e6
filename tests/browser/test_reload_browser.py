"""A page that is loaded again, left and come back to: its address, its fields, its sounds and its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SLOW = "100"  # steps: the tiny model paints for some seconds


def start_slow_job(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#seconds input", "6")
    page.click("#generate-quality button")
    steps = page.locator("#generate-steps input[type=number]")
    steps.fill(SLOW)
    steps.press("Tab")
    page.click("#generate-go")
    page.wait_for_selector("#generate-status .sp-progress")


def test_a_job_is_found_again_after_reload_and_back(open_studio: Any) -> None:
    page = open_studio()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    start_slow_job(page, "a job that stays")
    page.wait_for_function("window.Sonopaint.working > 0")
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector("#generate-status .sp-progress")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a job that stays'")
    assert page.locator("#generate-steps input[type=number]").input_value() == SLOW
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector("#generate-status .sp-progress, #results .sp-card")
    page.wait_for_selector("#results .sp-card")
    assert page.locator("#results .sp-card strong").first.inner_text() == "a job that stays"
    page.wait_for_function("window.Sonopaint.working === 0")
    page.reload()  # nothing runs: nobody asks
    page.wait_for_selector("#results .sp-card")
    assert asked == ["beforeunload"] * 2


def test_pages_have_addresses(open_studio: Any, studio: str, chirp: Path) -> None:
    page = open_studio()
    assert page.url.endswith("#generate")
    page.get_by_role("tab", name="Edit").click()
    page.wait_for_url("**/#edit")
    page.set_input_files("#editor input[type=file]", chirp)
    page.wait_for_selector(".sp-editor.filled")
    page.get_by_role("tab", name="Models").click()
    page.wait_for_url("**/#models")
    page.go_back()
    page.wait_for_selector("#editor", state="visible")
    page.reload()
    page.wait_for_selector(".sp-editor.filled")  # the sound is still there, on the page of the address
    assert page.locator(".sp-source strong").inner_text() == "chirp.wav"
    page.goto(f"{studio}#convert")
    page.wait_for_selector("#convert-drop", state="visible")
