"""Each sub-tab of the tab Sonopaint, and Sound under txt2img, in a real browser on real hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.host, pytest.mark.browser]


@pytest.fixture
def tab(host: Any, open_tab: Any) -> Any:
    """The page of the host that all tests share."""
    return open_tab(host)


def outside(before: np.ndarray, after: np.ndarray, rate: int, start: float, end: float) -> bool:
    """Whether the samples are the same before `start` and after `end` seconds, one frame aside."""
    changed = np.flatnonzero((before != after).any(axis=1)) / rate
    return bool(len(changed)) and changed.min() > start - 0.3 and changed.max() < end + 0.3


def test_inpaint(tab: Any, clip: Path, read: Any) -> None:
    tab.open("Inpaint", "inpaint").load(clip)
    page = tab.page
    for label, value in (("from s", 1), ("to s", 1.5), ("from Hz", 500), ("to Hz", 4000)):
        page.fill(f"#sonopaint_inpaint_view input[aria-label='Box {label}']", str(value))
    page.click("#sonopaint_inpaint_view .sonopaint-add")
    canvas = page.locator("#sonopaint_inpaint_view .sg-canvas").bounding_box()
    across, up = canvas["x"], canvas["y"]
    page.mouse.move(across + canvas["width"] * 0.5, up + canvas["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(across + canvas["width"] * 0.6, up + canvas["height"] * 0.7, steps=5)
    page.mouse.up()
    tab.fill("prompt", "train horn")
    tab.quick()
    sounds = tab.go()
    (before, rate), (after, _) = read.sound(clip), read.sound(sounds[0])
    assert before.shape == after.shape and len(sounds) == 1
    assert outside(before, after, rate, 1.0, 3.2)
    untouched = (before == after).all(axis=1)[int(1.8 * rate) : int(2.0 * rate)]
    assert untouched.all(), "between the boxes"
    # Its result goes on to the next sub-tab.
    page.locator("#sonopaint_inpaint_made select").select_option("outpaint")
    page.wait_for_selector("#sonopaint_outpaint_view .sg-canvas", state="visible")


def test_outpaint_24_bits(tab: Any, tmp_path: Path, read: Any) -> None:
    clip, noise = tmp_path / "wind.flac", np.random.default_rng(1).standard_normal(3 * 32_000)
    soundfile.write(clip, 0.1 * noise, 32_000, subtype="PCM_24")
    tab.open("Outpaint", "outpaint").load(clip)
    tab.fill("left", 0.5)
    tab.fill("right", 1)
    tab.fill("right_prompt", "dog bark")
    tab.quick()
    (before, rate), (after, _) = read.sound(clip), read.sound(tab.go()[0])
    assert len(after) == len(before) + 1.5 * rate
    kept, edge = after[rate // 2 :][: len(before)], int(0.3 * rate)
    assert (kept == before)[edge:-edge].all()


def test_loop_variations_and_interpolation(tab: Any, clip: Path, read: Any) -> None:
    tab.open("Loop", "loop").load(clip)
    tab.quick()
    tab.fill("seam", 0.5)
    assert len(tab.go()) == 1
    tab.open("Variations", "vary").load(clip)
    tab.quick()
    tab.fill("seed", 3)
    tab.fill("count", 2)
    one, other = tab.go()
    assert one != other
    tab.open("Interpolate", "interpolate").quick()
    tab.fill("prompt", "train horn")
    tab.fill("to_prompt", "dog bark")
    tab.fill("clips", 2)
    tab.fill("seconds", 1)
    assert len(tab.go()) == 3, "the two ends and both joined"


def test_one_step_subject(tab: Any, read: Any) -> None:
    tab.open("One-step subject", "one_step")
    tab.page.click("#sonopaint_one_step_refresh")
    choice = tab.page.locator("#sonopaint_one_step_student input").first
    choice.click()
    choice.fill("student")
    choice.press("Enter")
    tab.fill("prompt", "horn")
    tab.fill("count", 2)
    tab.fill("seconds", 1)
    one, other = tab.go()
    assert read.sound(one)[0].shape == read.sound(other)[0].shape and one != other


def test_a_sound_becomes_a_picture_and_the_picture_a_sound(
    tab: Any, clip: Path, tmp_path: Path, read: Any
) -> None:
    tab.open("Audio → Image", "audio_to_image")
    tab.page.set_input_files("#sonopaint_audio_to_image_source input[type=file]", clip)
    tab.page.wait_for_selector(
        "#sonopaint_audio_to_image_source audio, #sonopaint_audio_to_image_source #waveform"
    )
    tab.go()
    picture = tmp_path / "forest.png"
    picture.write_bytes(tab.downloads("PNG")[0])
    tab.page.wait_for_selector("#sonopaint_audio_to_image_image img")
    tab.page.locator("#sonopaint_tab_audio_to_image button", has_text="img2img").first.click()
    tab.page.wait_for_selector("#img2img_image img, #img2img_image canvas", state="visible")

    tab.open("Image → Audio", "image_to_audio")
    tab.page.set_input_files("#sonopaint_image_to_audio_source input[type=file]", picture)
    tab.page.wait_for_selector(
        "#sonopaint_image_to_audio_source a, #sonopaint_image_to_audio_source .file-preview"
    )
    wave, rate = read.sound(tab.go()[0])
    assert np.argmax(np.abs(np.fft.rfft(wave[:, 0]))) * rate / len(wave) == pytest.approx(300, abs=10)


def test_nothing_marked_is_told_and_the_page_goes_on(tab: Any, clip: Path) -> None:
    tab.open("Inpaint", "inpaint").load(clip)
    tab.page.click("#sonopaint_inpaint_go")
    told = tab.page.locator("#sonopaint_inpaint_status .sonopaint-error")
    told.wait_for()
    assert "Nothing is marked" in told.inner_text()
    tab.open("Outpaint", "outpaint")
    tab.page.click("#sonopaint_outpaint_go")
    told = tab.page.locator("#sonopaint_outpaint_status .sonopaint-error")
    told.wait_for()
    assert "seconds" in told.inner_text() or "sound" in told.inner_text()


def test_what_the_host_can_not_paint_is_told(tab: Any) -> None:
    tab.open("Generate", "generate").quick()
    tab.fill("seconds", 1)
    tab.fill("prompt", "a horn <lora:nobody:1>")
    assert len(tab.go()) == 1
    told = tab.page.locator("#sonopaint_generate_status .sonopaint-warning")
    assert "nobody" in told.first.inner_text()
    tab.fill("prompt", "(horn:1.1.1)")
    tab.page.click("#sonopaint_generate_go")
    told = tab.page.locator("#sonopaint_generate_status .sonopaint-error")
    told.wait_for()
    assert "can't read the prompt" in told.inner_text()


def test_a_sound_follows_points_of_loudness(tab: Any, read: Any) -> None:
    """Whatever a checkpoint paints, its sound is loud where the fold-out says so."""
    tab.open("Generate", "generate").quick()
    tab.page.locator(f"{tab.id}_curves_fold > .label-wrap").click()
    tab.fill("seconds", 3)
    tab.fill("prompt", "a horn")
    tab.fill("loudness", "0:-50 1:-50 1.2:-12 1.8:-12 2:-50 3:-50")
    wave, rate = read.sound(tab.go()[0])
    first, middle, last = (
        20 * np.log10(np.sqrt(np.mean(wave[int(a * rate) : int(b * rate)] ** 2)) + 1e-9)
        for a, b in ((0.1, 0.8), (1.3, 1.7), (2.2, 2.9))
    )
    assert middle > first + 15 and middle > last + 15, (first, middle, last)


def test_sound_under_txt2img_and_back_from_png_info(tab: Any, host: Any, read: Any) -> None:
    page, sound = tab.page, "#script_txt2img_sonopaint_enabled"
    page.fill("#txt2img_prompt textarea", "train horn")
    page.click(f"{sound} > .label-wrap")
    page.click("#script_txt2img_sonopaint_size")
    width = page.locator("#txt2img_width input[type=number]")
    page.wait_for_function("(field) => field.value === '320'", arg=width.element_handle())
    for name, value in (("steps", 1), ("cfg_scale", 1)):
        page.locator(f"#txt2img_{name} input[type=number]").fill(str(value))
        page.locator(f"#txt2img_{name} input[type=number]").press("Tab")
    page.click("#txt2img_generate")
    link = page.locator("#sonopaint_sounds_txt2img .sonopaint-result a", has_text="WAV")
    link.wait_for()
    wave, rate = read.sound(page.request.get(link.get_attribute("href")).body())
    assert (len(wave), rate) == (320 * 512, 32_000)
    picture = max(host.base.rglob("txt2img-images/**/*.png"), key=lambda path: path.stat().st_mtime)
    assert picture.with_suffix(".wav").is_file()

    page.click(f"{sound} > .label-wrap")
    page.wait_for_selector(f"{sound} > .label-wrap:not(.open)")
    tab.top("PNG Info")
    page.set_input_files("#pnginfo_image input[type=file]", picture)
    page.locator("#tab_pnginfo").get_by_text("Sound format").first.wait_for()
    page.click("#tab_pnginfo #txt2img_tab")
    page.wait_for_selector(f"{sound} > .label-wrap.open")
    assert width.input_value() == "320"
