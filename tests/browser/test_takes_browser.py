"""Edit in a real Chromium: takes that are compared with their source, the player, sounds from a phone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.browser
BAR = "window.Sonopaint.comparison"


def recording(path: Path) -> Path:
    """A second of AAC, as phones record."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44_100, layout="mono")
        tone = (0.3 * np.sin(np.arange(44_100) / 9)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 44_100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return path


def test_four_takes_are_compared_and_one_is_kept(open_studio: Any, chirp: Path, tmp_path: Path) -> None:
    page = open_studio()
    page.get_by_role("tab", name="Edit").click()
    page.set_input_files("#editor input[type=file]", chirp)
    page.wait_for_selector(".sp-editor.filled")
    page.get_by_role("button", name="Type a box").click()  # 0.8 to 1.2 s
    page.fill("#edit-prompt textarea", "a train horn")
    page.fill("#edit-takes input[type=number]", "4")
    page.click("#edit-go")
    page.wait_for_function("document.querySelectorAll('#after .sp-card').length === 4")
    seeds = page.locator("#after .sp-card-head").all_inner_texts()
    assert len(set(seeds)) == 4

    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_function(f"{BAR}.nodes && window.Sonopaint.editor.now > 0.56")
    looped = page.evaluate(f"{BAR}.looped")
    assert looped["from"] == pytest.approx(0.55, abs=0.01) and looped["to"] == pytest.approx(1.45, abs=0.01)
    matched, gains = page.evaluate(f"{BAR}.matched"), page.evaluate(f"{BAR}.gains()")
    assert len(matched) == 5 and min(matched) < max(matched) == 1  # the softest stays, the others come down
    assert [gain > 0 for gain in gains] == [False, True, False, False, False]
    page.get_by_role("button", name="Take 3", exact=True).click()
    page.keyboard.press("b")
    assert [gain > 0 for gain in page.evaluate(f"{BAR}.gains()")] == [True, False, False, False, False]
    page.keyboard.press("b")
    assert page.evaluate(f"{BAR}.chosen") == 3
    page.get_by_label("Equally loud").uncheck()
    assert page.evaluate(f"{BAR}.gains()")[3] == 1
    page.get_by_role("button", name="Stop comparing").click()
    assert page.evaluate("window.Sonopaint.editor.played") is None

    page.locator("#after .sp-card").nth(2).get_by_role("button", name="Go on with this").click()
    page.wait_for_function("document.querySelector('.sp-source strong').textContent.startsWith('Repainted')")
    with page.expect_download() as waiting:
        page.locator("#editor").get_by_role("link", name="MP3", exact=True).click()
    waiting.value.save_as(tmp_path / "kept.mp3")
    kept = soundfile.SoundFile(tmp_path / "kept.mp3")
    assert kept.frames == soundfile.info(chirp).frames
    settings = json.loads(kept.comment)
    assert settings["prompt"] == "a train horn" and f"seed {settings['seed']}" in seeds[2]


def test_the_player(used_page: Any, open_sound: Any, chirp: Path) -> None:
    page = used_page
    open_sound(page, chirp)
    editor = "window.Sonopaint.editor"
    page.wait_for_function(f"{editor}.picture && {editor}.audio.readyState > 0")
    page.locator("#editor .sg-frame").focus()
    for key, now in (("End", 2), ("ArrowLeft", 1.5), ("Shift+ArrowRight", 1.55), ("Home", 0)):
        page.keyboard.press(key)
        assert page.evaluate(f"{editor}.now") == pytest.approx(now, abs=0.01)
    page.get_by_role("button", name="Type a box").click()
    page.locator("#editor").get_by_role("button", name="Loop", exact=True).click()
    page.locator("#editor").get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(f"!{editor}.audio.paused && {editor}.now > 0.8")
    page.wait_for_function(f"{editor}.level.db > -12")  # the chirp's peak is −8 dBFS
    page.wait_for_function(
        f"window.highest = Math.max(window.highest ?? 0, {editor}.now), window.highest > 1.1"
    )
    page.wait_for_function(f"{editor}.now < 1")  # round again
    assert page.evaluate("window.highest") < 1.5
    page.keyboard.press("Space")
    page.locator("#editor").get_by_role("button", name="Loop", exact=True).click()

    # A line through the middle of the plot is another frequency on each axis; marks stay at theirs.
    middle = f"{editor}.hz({editor}.row({editor}.plot.y + {editor}.plot.height / 2))"
    found, marked = {}, page.evaluate("window.Sonopaint.region()")
    for axis in ("log", "linear", "mel"):
        page.get_by_label("Axis of frequencies").select_option(axis)
        found[axis] = page.evaluate(middle)
        assert page.evaluate("window.Sonopaint.region()") == marked
    assert found["log"] < found["mel"] < found["linear"] == pytest.approx(8000, rel=0.05)

    url = page.evaluate(
        """() => { const data = new DataTransfer(), head = document.querySelector('#editor .sp-links a');
        head.dispatchEvent(new DragEvent('dragstart', { dataTransfer: data, bubbles: true }));
        return data.getData('DownloadURL'); }"""
    )
    assert url.startswith("audio/wav:chirp.wav:http")


def test_what_phones_record_is_opened(used_page: Any, open_sound: Any, tmp_path: Path) -> None:
    page = used_page
    open_sound(page, recording(tmp_path / "New Recording 7.m4a"))
    assert page.locator(".sp-source strong").inner_text() == "New Recording 7.m4a"
    assert page.evaluate("window.Sonopaint.editor.data.duration") == pytest.approx(1, abs=0.06)
    (tmp_path / "New Recording 8.m4a").write_bytes(b"\0\0\0\x20ftypM4A nothing more")
    page.set_input_files("#editor input[type=file]", tmp_path / "New Recording 8.m4a")
    page.wait_for_selector("#edit-status .sp-error")
    said = page.locator("#edit-status").inner_text()
    assert said.count("New Recording 8.m4a") == 1 and str(tmp_path) not in said and "uploads" not in said


def test_the_first_minute(open_studio: Any) -> None:
    """An empty page plays and edits what ships with it; a tip that was closed stays away."""
    page = open_studio()
    demo = page.locator(".sp-demos .sp-tile").first
    words = demo.locator(".sp-chip").inner_text()
    page.get_by_role("button", name=f"Play: {words}").first.click()
    page.wait_for_selector(".sp-demos .playing")
    page.get_by_role("button", name="What Mini knows").click()
    page.locator("dialog").get_by_role("button", name="an owl hooting", exact=True).click()
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'an owl hooting'")
    page.get_by_role("button", name="Close this tip").first.click()
    demo.get_by_role("button", name=f"Edit: {words}").click()
    page.wait_for_selector(".sp-editor.filled")
    assert page.locator(".sp-source strong").inner_text() == words
    assert page.evaluate("window.Sonopaint.editor.data.duration") == pytest.approx(5.12, abs=0.02)
    page.reload()
    page.wait_for_selector("#edit-tip .sp-tip:visible, #generate-tip", state="attached")
    assert not page.locator("#generate-tip .sp-tip").is_visible()
