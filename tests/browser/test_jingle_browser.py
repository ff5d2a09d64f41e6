"""The roll of Jingle in a real browser: drawn, moved, typed, removed; with a mouse and with keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser
NOTES = "#jingle-notes textarea"


def test_notes_are_drawn_moved_typed_and_removed(open_studio: Callable[..., Any]) -> None:
    page = open_studio(reduced_motion="reduce")
    page.get_by_role("tab", name="Jingle").click()
    notes = page.locator("#jingle-roll .note")
    notes.first.wait_for()
    field = page.locator(NOTES)
    assert notes.count() == 6 and field.input_value().startswith("C4:0.5:0.7 E4")

    # A text of one's own stands on the roll.
    field.fill("C4:0.5:0.5")  # as when it is pasted
    page.wait_for_function("document.querySelector('#jingle-roll .note')?.ariaLabel.endsWith('50 %')")
    assert (
        notes.count() == 1
        and notes.first.get_attribute("aria-label") == "C4 at 0 s, 0.5 s long, velocity 50 %"
    )

    # A drag adds one: from 1 s on, 5 semitones below the top, for half a second.
    box = page.locator("#jingle-roll svg").bounding_box()
    x, y = box["x"] + 34 + 110 * 1.01, box["y"] + 5.5 * 14
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 55, y, steps=4)
    page.mouse.up()
    assert field.input_value() == "C4:0.5:0.50 -:0.5 G4:0.5:0.50"

    # With keys: up a semitone, later, louder; then it is removed. The field has it at once.
    notes.nth(1).focus()
    for key in ("ArrowUp", "ArrowRight", "+"):
        page.keyboard.press(key)
    assert field.input_value() == "C4:0.5:0.50 -:0.625 G#4:0.5:0.60"
    page.keyboard.press("Delete")
    assert field.input_value() == "C4:0.5:0.50"

    # The bar below a note is how hard it is played.
    bar = page.locator("#jingle-roll .velocity").first.bounding_box()
    page.mouse.move(bar["x"] + 10, bar["y"] + bar["height"] - 2)
    page.mouse.down()
    page.mouse.move(bar["x"] + 10, bar["y"] + bar["height"] - 52, steps=3)
    page.mouse.up()
    assert field.input_value() == "C4:0.5:1.00"

    # What can't be read is said, and the roll stays.
    field.press("End")
    field.press_sequentially(" Q9")
    page.wait_for_selector("#jingle-told .sp-error:has-text(\"'Q9' is no note\")")  # after that of 'Q'
    assert notes.count() == 1


def test_nothing_drawn_is_lost_while_answers_wait(used_page: Any, slow_answers: Callable[[Any], Any]) -> None:
    page = used_page
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("tab", name="Jingle").click()
    notes, field = page.locator("#jingle-roll .note"), page.locator(NOTES)
    notes.first.wait_for()
    field.fill("C4:0.5:0.7 E4:0.5:0.7 G4:0.5:0.8 C5:1:1 -:0.25 B4:0.25:0.5 G4:1:0.6")
    page.wait_for_function("document.querySelector('#jingle-roll .note')?.ariaLabel.startsWith('C4 at 0 s')")
    page.wait_for_function("document.querySelectorAll('#jingle-roll .note').length === 6")
    drawn = "F4:0.5:0.70 E4:0.5:0.70 G4:0.5:0.80 C5:1:1.00 -:0.25 B4:0.25:0.50 G4:1:0.60"
    with slow_answers(page):
        field.fill("D3:1:0.3")  # what is drawn before this is answered stands
        notes.first.focus()
        for _ in range(5):
            page.keyboard.press("ArrowUp")
        assert field.input_value() == drawn
        page.wait_for_timeout(1500)
        assert notes.count() == 6 and notes.first.get_attribute("aria-label").startswith("F4 at 0 s")
        assert field.input_value() == drawn

        # Play reads what is drawn.
        page.keyboard.press("ArrowDown")
        page.click("#jingle-go")
        page.wait_for_function("document.querySelector('#jingles').textContent.includes('E4:0.5:0.70 E4')")
    field.fill("D3:1:0.3")
    page.wait_for_function("document.querySelectorAll('#jingle-roll .note').length === 1")
    page.emulate_media(reduced_motion="no-preference")
