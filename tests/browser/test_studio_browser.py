"""Studio in a real Chromium: from words to a playable file, and a recording repainted with the mouse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.browser


def download(page: Any, card: str, kind: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(card).first.get_by_role("link", name=kind, exact=True).click()
    target = folder / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target


def drag(page: Any, left: float, top: float, right: float, bottom: float) -> None:
    """Drag over the editor's picture; places are parts of the canvas."""
    box = page.locator("#editor .sg-canvas").bounding_box()
    page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + right * box["width"], box["y"] + bottom * box["height"], steps=4)
    page.mouse.up()


def region(page: Any) -> dict[str, Any]:
    marked: dict[str, Any] = json.loads(page.evaluate("window.Sonopaint.region()"))
    return marked


def test_generate_to_a_playable_file(open_studio: Any, tmp_path: Path) -> None:
    page = open_studio()
    page.get_by_role("button", name="a dog barking", exact=True).first.click()  # an idea fills the prompt
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a dog barking'")
    page.fill("#seconds input", "1")
    page.locator("#prompt textarea").press("Control+Enter")
    page.wait_for_selector("#results .sp-card")
    audio = "document.querySelector('#results audio')"
    page.wait_for_function(f"{audio}.duration > 0.9 && {audio}.duration < 1.1")
    page.get_by_role("button", name="Play", exact=True).first.click()
    page.wait_for_function(f"{audio}.currentTime > 0.05")
    for kind in ("WAV", "FLAC"):
        samples, rate = soundfile.read(download(page, "#results .sp-card", kind, tmp_path))
        assert rate == 32_000 and len(samples) == 32_000 and np.abs(samples).max() > 0.5
    picture = download(page, "#results .sp-card", "PNG", tmp_path)
    assert picture.name.startswith("a-dog-barking-")

    page.fill("#prompt textarea", "something else")  # the file brings its settings back
    transfer = page.evaluate_handle(
        """([bytes, name]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'})); return data; }""",
        [list(picture.read_bytes()), picture.name],
    )
    page.dispatch_event("#results .sp-cards", "drop", {"dataTransfer": transfer})
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a dog barking'")
    page.get_by_role("button", name="Send to Edit").click()
    page.wait_for_selector(".sp-editor.filled")
    assert page.locator(".sp-source strong").inner_text() == "a dog barking"


def test_repaint_a_recording_with_the_mouse(
    used_page: Any, open_sound: Any, chirp: Path, tmp_path: Path
) -> None:
    page = used_page
    open_sound(page, chirp)
    page.locator("#action label", has_text="Repaint").click()
    drag(page, 0.4, 0.3, 0.6, 0.7)
    box = region(page)["boxes"][0]
    assert 0.6 < box["start"] < box["end"] < 1.3 and 200 < box["low"] < box["high"] < 16_000
    page.fill("#edit-prompt textarea", "a train horn")
    page.locator("#edit-prompt textarea").press("Control+Enter")
    page.wait_for_selector("#after .sp-card")
    after, rate = soundfile.read(download(page, "#after .sp-card", "WAV", tmp_path), dtype="int16")
    before, _ = soundfile.read(chirp, dtype="int16")
    assert after.shape == before.shape and rate == 44_100
    start, end = int((box["start"] - 0.05) * rate), int((box["end"] + 0.05) * rate) + 1
    assert np.array_equal(after[:start], before[:start]) and np.array_equal(after[end:], before[end:])
    assert not np.array_equal(after[start:end], before[start:end])

    page.locator("#editor .sg-frame").focus()
    page.keyboard.press("Control+z")
    page.wait_for_selector("#after .sp-card", state="detached")
    page.keyboard.press("Control+Shift+z")
    page.wait_for_selector("#after .sp-card")
    page.get_by_role("button", name="Go on with this").click()
    page.wait_for_function("document.querySelector('.sp-source strong').textContent.startsWith('Repainted')")


def test_a_span_of_time_is_dragged_along_the_waveform(used_page: Any, open_sound: Any, chirp: Path) -> None:
    page = used_page
    open_sound(page, chirp)
    drag(page, 0.5, 0.97, 0.501, 0.97)  # no drag: plays from there
    assert region(page)["boxes"] == []
    drag(page, 0.3, 0.9, 0.4, 0.9)  # in the waveform
    drag(page, 0.6, 0.005, 0.7, 0.5)  # begun above the picture
    first, second = region(page)["boxes"]
    assert 0.4 < first["start"] < first["end"] < 0.9 and second["start"] > first["end"]
    for box in (first, second):
        assert box["low"] is None and box["high"] is None  # all frequencies
    page.get_by_role("button", name="Eraser").click()
    drag(page, 0.3, 0.9, 0.4, 0.9)  # other tools mark no spans
    assert len(region(page)["boxes"]) == 2


def test_marks_are_drawn_typed_undone_and_erased(used_page: Any, open_sound: Any, chirp: Path) -> None:
    page = used_page
    open_sound(page, chirp)
    drag(page, 0.2, 0.2, 0.4, 0.5)
    page.get_by_label("Box end in seconds").fill("1.5")
    page.get_by_label("Box end in seconds").press("Enter")
    page.get_by_label("Box low in hertz").fill("")
    page.get_by_label("Box low in hertz").press("Enter")
    box = region(page)["boxes"][0]
    assert box["end"] == pytest.approx(1.5) and box["low"] is None
    drag(page, 0.4, 0.6, 0.45, 0.6)  # inside the box: moves it
    moved = region(page)["boxes"]
    assert len(moved) == 1 and moved[0]["start"] > box["start"] + 0.05
    page.get_by_role("button", name="Undo").click()
    assert region(page)["boxes"][0]["start"] == pytest.approx(box["start"])
    page.get_by_role("button", name="Brush").click()
    drag(page, 0.6, 0.3, 0.8, 0.4)
    marked = region(page)
    assert marked["boxes"] == [] and marked["brush"].startswith("data:image/png;base64,")
    page.get_by_role("button", name="Eraser").click()
    drag(page, 0.6, 0.3, 0.8, 0.4)
    assert len(region(page)["brush"]) != len(marked["brush"])
    page.get_by_role("button", name="Clear the marks").click()
    assert region(page) == {"boxes": [], "brush": ""}


def test_only_outputs_are_served(used_page: Any, open_sound: Any, chirp: Path, tmp_path: Path) -> None:
    page = used_page
    open_sound(page, chirp)
    served = page.evaluate("document.querySelector('#editor audio').src")
    assert page.request.get(served).status == 200
    address, path = served.split("gradio_api/file=")
    uploads = path.split("/outputs/")[0] + "/uploads"
    copies = [p for p in Path(uploads.replace("%20", " ")).rglob("chirp.wav")]
    assert copies
    for forbidden in (copies[0], chirp, Path("/etc/passwd"), Path(f"{Path(path).parent}/../../../x")):
        assert page.request.get(f"{address}gradio_api/file={forbidden}").status == 403


def test_bad_input_is_answered_with_a_sentence(open_studio: Any, tmp_path: Path) -> None:
    page = open_studio()
    page.click("#generate-go")
    page.wait_for_selector("#generate-status .sp-error")
    assert "prompt is empty" in page.locator("#generate-status").inner_text()
    (tmp_path / "notes.wav").write_bytes(b"this is no sound " * 9)
    page.get_by_role("tab", name="Edit").click()
    page.set_input_files("#editor input[type=file]", tmp_path / "notes.wav")
    page.wait_for_selector("#edit-status .sp-error")
    assert "notes.wav" in page.locator("#edit-status").inner_text()
    page.click("#edit-go")
    page.wait_for_function("document.querySelector('#edit-status').innerText.includes('no sound yet')")


def test_two_tabs_at_once(used_page: Any, open_studio: Any) -> None:
    used_page.get_by_role("tab", name="Generate").click()
    pages, titles = [used_page, open_studio()], "#results .sp-card strong"
    before = [page.locator(titles).all_inner_texts() for page in pages]
    for number, page in enumerate(pages):
        page.fill("#prompt textarea", f"sound number {number}")
        page.fill("#seconds input", "1")
        page.click("#generate-go")
    for number, page in enumerate(pages):
        one = f"sound number {number}"
        page.wait_for_function(f"document.querySelector('{titles}')?.textContent === '{one}'")
        assert page.locator(titles).all_inner_texts() == [one, *before[number]]


def test_light_and_dark(open_studio: Any) -> None:
    page = open_studio(color_scheme="dark")
    dark = "document.body.classList.contains('dark')"
    assert page.evaluate(dark)
    page.click("#theme-switch")
    assert not page.evaluate(dark)
    page.reload()
    page.wait_for_selector("#results .sp-chip")
    assert not page.evaluate(dark)


def test_convert_and_models_pages(used_page: Any, chirp: Path, tmp_path: Path) -> None:
    page = used_page
    page.get_by_role("tab", name="Convert").click()
    page.set_input_files("#convert-drop input[multiple]", chirp)
    page.wait_for_selector("#convert-results a")
    with page.expect_download() as waiting:
        page.locator("#convert-results a").click()
    assert Path(waiting.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector(".sp-model")
    assert "sonopaint-mini" in page.locator("#models").inner_text()
    (tmp_path / "bad.ckpt").write_bytes(b"\x80\x02")
    page.set_input_files("#model-drop input[multiple]", tmp_path / "bad.ckpt")
    page.wait_for_selector("#models-status .sp-error")
    assert "pickle" in page.locator("#models-status").inner_text()
