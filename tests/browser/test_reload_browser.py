"""A page that is loaded again, left and come back to: its address, its fields, its sounds and its jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

STEPS = "3"


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Sounds are painted once this is set; until then a job is at its first step, and can be stopped."""
    from sonopaint.tasks import generation

    gate, paint = threading.Event(), generation.generate

    def generate(*given: Any, progress: Any, **more: Any) -> Any:
        while not gate.wait(0.05):
            progress(1, 100, "Painting")
        return paint(*given, progress=progress, **more)

    monkeypatch.setattr(generation, "generate", generate)
    yield gate
    gate.set()


def start_job(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#seconds input", "1")
    page.click("#generate-quality button")
    steps = page.locator("#generate-steps input[type=number]")
    steps.fill(STEPS)
    steps.press("Tab")
    page.click("#generate-go")
    page.wait_for_selector("#generate-status .sp-progress")


def test_who_stays_when_asked_gets_what_is_made(open_studio: Any, go_on: threading.Event) -> None:
    page = open_studio()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    start_job(page, "who stays")
    page.wait_for_function("window.Sonopaint.working > 0")
    with page.expect_event("domcontentloaded"):  # Gradio, which has cut its connection, begins anew
        page.evaluate("setTimeout(() => location.reload())")
    assert asked == ["beforeunload"]
    go_on.set()
    page.wait_for_selector("#results .sp-card")
    assert page.locator("#results .sp-card strong").first.inner_text() == "who stays"


def test_a_job_is_found_again_after_reload_and_back(open_studio: Any, go_on: threading.Event) -> None:
    page = open_studio()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    start_job(page, "a job that stays")
    page.wait_for_function("window.Sonopaint.working > 0")
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector("#generate-status .sp-progress, #results .sp-card")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a job that stays'")
    page.click("#generate-quality button")
    assert page.locator("#generate-steps input[type=number]").input_value() == STEPS
    page.goto("about:blank")
    go_on.set()
    page.go_back()
    page.wait_for_selector("#results .sp-card")
    assert page.locator("#results .sp-card strong").first.inner_text() == "a job that stays"
    page.wait_for_function("window.Sonopaint.working === 0")
    asked.clear()
    page.reload()  # nothing runs: nobody asks
    page.wait_for_selector("#results .sp-card")
    assert asked == []


def test_the_queue_shows_moves_and_cancels(used_page: Any, go_on: threading.Event) -> None:
    page = used_page
    page.get_by_role("tab", name="Generate").click()
    start_job(page, "the first")
    for prompt in ("the second", "the third"):
        page.fill("#prompt textarea", prompt)
        page.click("#generate-go")
    page.click(".sp-queue-button")
    rows = page.locator(".sp-queue-list ol").first.locator("li")
    page.wait_for_function("document.querySelectorAll('.sp-job-waits').length === 2")
    assert rows.locator("a").all_inner_texts() == ["the first", "the second", "the third"]
    page.get_by_role("button", name="Earlier: the third").click()
    page.wait_for_function("document.querySelectorAll('.sp-job a')[1].textContent === 'the third'")
    page.get_by_role("button", name="Cancel: the second").click()
    page.get_by_role("button", name="Cancel: the first").click()
    page.wait_for_function("document.querySelectorAll('.sp-job-stopped').length === 2")
    assert "memory" in page.locator(".sp-queue-list footer").inner_text()
    page.get_by_role("button", name="Cancel: the third").click()
    page.wait_for_function("document.querySelectorAll('.sp-job-stopped').length === 3")
    page.click(".sp-queue-button")


def test_what_was_made_is_in_the_library_after_a_restart(
    used_page: Any, open_sound: Any, studio_again: Any, open_studio: Any, chirp: Path
) -> None:
    page = used_page
    open_sound(page, chirp)
    page.locator("#action label", has_text="Vary").click()
    page.fill("#edit-prompt textarea", "an unmistakable zither")
    page.click("#edit-go")
    page.wait_for_selector("#after .sp-card")

    page = open_studio(f"{studio_again()}#library")
    page.wait_for_selector("#library .sp-card")
    page.locator("#library-search").locator("textarea, input").press_sequentially("zith", delay=50)
    page.wait_for_function("document.querySelectorAll('#library .sp-card').length === 1")
    card = page.locator("#library .sp-card")
    assert card.locator("strong").inner_text() == "Varied · an unmistakable zither"
    card.locator(".sp-star").click()
    page.locator("#library-favourites input").check()
    page.wait_for_selector("#library .sp-star[aria-pressed=true]")
    card.get_by_role("button", name="Delete").click()
    page.wait_for_selector("#library .sp-card", state="detached")
    page.click("#library-undo")
    page.wait_for_selector("#library .sp-card")
    card.locator(".sp-places").select_option("again")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'an unmistakable zither'")
    page.wait_for_url("**/#generate")
    page.go_back()
    card.locator(".sp-places").select_option("send")
    page.wait_for_selector(".sp-editor.filled")
    assert page.locator(".sp-source strong").inner_text().endswith("an unmistakable zither")


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


def test_a_full_disk_is_said_and_nothing_is_lost(used_page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    from sonopaint_studio import sounds
    from sonopaint_studio.disk import FULL_DISK

    page, real = used_page, sounds.save_view

    def full(picture: Any, path: Path, peak: Any) -> None:
        if path.is_relative_to(os.environ["SONOPAINT_LIBRARY"]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(picture, path, peak)

    monkeypatch.setattr(sounds, "save_view", full)
    page.get_by_role("tab", name="Generate").click()
    page.fill("#prompt textarea", "a sound without room")
    page.fill("#seconds input", "1")
    page.click("#generate-go")
    page.wait_for_selector("#results .sp-warning")
    assert page.locator("#results .sp-warning").inner_text().endswith(FULL_DISK)
    page.wait_for_function("document.querySelector('#results audio').duration > 0.9")
    monkeypatch.undo()
    page.fill("#prompt textarea", "a sound with room")
    page.click("#generate-go")
    page.wait_for_function(
        "document.querySelector('#results .sp-card strong').textContent === 'a sound with room'"
    )
    assert page.locator("#results .sp-warning").count() == 1


def test_buttons_keep_their_words_when_the_page_has_loaded(open_studio: Any) -> None:
    """On a page where nothing was begun, Gradio sends nothing to show."""
    page = open_studio()
    page.wait_for_timeout(3000)
    for tab in ("Train", "Convert", "Dataset"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        nameless = page.evaluate(
            """[...document.querySelectorAll("button")].filter((one) => one.offsetParent
                && !one.innerText.trim() && !one.ariaLabel && !one.title).map((one) => one.id)"""
        )
        assert nameless == []
    assert page.locator("#train-estimate").text_content().strip() == "How long, how much memory?"
