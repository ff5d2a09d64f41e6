"""The widgets in a real browser, on a page of a few lines instead of ComfyUI's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><meta charset="utf-8"><body style="margin:0;background:#222;color:#ddd">
<div id="place" style="width:600px;height:400px;transform-origin:0 0;transform:scale(SCALE)"></div>
<script type="module">
  import { loadShared } from "/web/widgets/shared.js";
  import { LookWidget, RegionWidget } from "/shared/region_widget.js";
  import { soundsWidget } from "/web/widgets/sounds.js";
  import { workflowOfWav } from "/web/widgets/wav.js";
  await loadShared("/shared/", (place) => place);
  const changes = [];
  const widget = new RegionWidget(() => changes.push(widget.value));
  document.getElementById("place").append(widget.root);
  const SoundsWidget = soundsWidget(LookWidget);
  Object.assign(window, { widget, changes, workflowOfWav, SoundsWidget, outer: [] });
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, (e) => outer.push(e.type));
  window.ready = true;
</script>"""


@pytest.fixture(scope="module")
def site(pack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder with the page, the widgets, a sound and its view, served on this machine."""
    import sonoconvert
    import sonopaint_comfyui
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import Clip, write_clip
    from sonoconvert.pictures.view import view_of
    from sonopaint_comfyui.files import save_sound

    folder = tmp_path_factory.mktemp("site")
    (folder / "web").symlink_to(Path(sonopaint_comfyui.__file__).parent / "web", target_is_directory=True)
    (folder / "shared").symlink_to(Path(sonoconvert.__file__).parent / "web", target_is_directory=True)
    for name, scale in (("plain", "1"), ("zoomed", "1.5")):
        (folder / f"{name}.html").write_text(PAGE.replace("SCALE", scale), encoding="utf-8")
    clip = Clip(0.3 * torch.sin(torch.arange(64_000) / 12)[None], 32_000)
    write_clip(clip, folder / "sound.wav")
    save_sound(
        clip, folder / "kept.wav", "PCM_16", {"1": {"inputs": {}}}, {"workflow": {"nodes": [{"id": "Ü"}]}}
    )
    view = {**view_of(encode(clip, "sonopaint-mini")), "audio": "/sound.wav"}
    (folder / "view.json").write_text(json.dumps(view))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def opened(site: str, page: Any) -> Iterator[Any]:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_page(name: str = "plain") -> Any:
        page.goto(f"{site}/{name}.html")
        page.wait_for_function("window.ready")
        page.evaluate("async () => widget.show(await (await fetch('/view.json')).json())")
        page.wait_for_function("widget.view.picture")
        return page

    yield open_page
    assert complaints == []


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    place = page.locator(".sg-canvas").bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return place["x"] + point[0] * place["width"], place["y"] + point[1] * place["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=6)
    page.mouse.up()


def value(page: Any) -> dict[str, Any]:
    return json.loads(page.evaluate("widget.value") or "{}")


@pytest.mark.parametrize("name", ["plain", "zoomed"])
def test_boxes_lie_where_the_mouse_was(opened: Any, name: str) -> None:
    page = opened(name)
    drag(page, (0.3, 0.2), (0.6, 0.7))
    [box] = value(page)["boxes"]
    # The plot begins 44 pixels from the left and ends 10 from the right of a canvas of 600.
    assert box["start"] == pytest.approx((0.3 * 600 - 44) / 546 * 2, abs=0.02)
    assert box["end"] == pytest.approx((0.6 * 600 - 44) / 546 * 2, abs=0.02)
    assert page.evaluate("changes.length") > 0


def test_marks_are_read_by_the_server_and_come_back(opened: Any) -> None:
    from sonoconvert.pictures.drawing import read_drawing

    page = opened()
    drag(page, (0.3, 0.2), (0.6, 0.7))
    page.click("[aria-label^=Brush]")
    drag(page, (0.7, 0.5), (0.8, 0.5))
    text = page.evaluate("widget.value")
    region = read_drawing(text)
    assert region.brush is not None and 0.05 < float((region.brush >= 0.5).mean()) < 0.5
    page.evaluate("(text) => { widget.value = ''; widget.value = text; }", text)
    assert page.evaluate("widget.value") == text
    page.evaluate("async () => widget.show(await (await fetch('/view.json')).json())")
    assert value(page)["marks"] == json.loads(text)["marks"]
    page.click("[aria-label^=Clear]")
    assert page.evaluate("widget.value") == ""
    page.keyboard.press("Control+z")
    assert len(value(page)["marks"]) == 2


def test_keys_and_the_mouse_stay_inside(opened: Any) -> None:
    page = opened()
    drag(page, (0.3, 0.2), (0.6, 0.7))
    page.keyboard.press("Delete")
    assert value(page) == {} and page.evaluate("outer") == []


def test_the_sound_plays_with_a_moving_cursor(opened: Any) -> None:
    page = opened()
    page.click("[aria-label=Play]")
    page.wait_for_function("widget.view.audio.currentTime > 0.2")
    assert page.locator(".sg-cursor").evaluate("c => c.style.display") == "block"
    page.click("[aria-label=Pause]")
    assert page.evaluate("widget.view.audio.paused")


def test_every_sound_of_a_batch_is_seen_and_heard(opened: Any) -> None:
    page = opened()
    page.evaluate(
        """async () => {
            const view = await (await fetch("/view.json")).json();
            window.sounds = new SoundsWidget();
            document.getElementById("place").replaceChildren(sounds.root);
            const named = (name) => ({ ...view, audio: "/sound.wav?" + name });
            sounds.showAll([named(1), named(2), { audio: "/sound.wav" }, named(3)]);
        }"""
    )
    page.wait_for_function("sounds.rows.length === 3 && sounds.rows.every((row) => row.view.picture)")
    assert page.locator(".sonopaint-sound").count() == 4
    assert page.locator(".sonopaint-sound > audio[controls]").count() == 1  # too long for a picture
    page.locator(".sonopaint-sound [aria-label=Play]").nth(1).click()
    page.wait_for_function("sounds.rows[1].view.audio.currentTime > 0.1")
    page.locator(".sonopaint-sound [aria-label=Play]").first.click()
    page.wait_for_function("!sounds.rows[0].view.audio.paused && sounds.rows[1].view.audio.paused")
    page.evaluate("() => sounds.showAll([])")
    assert page.locator(".sonopaint-sound").count() == 0


def test_a_workflow_is_found_in_a_wav(opened: Any) -> None:
    page = opened()
    read = """async (name) => {
        const bytes = await (await fetch(name)).arrayBuffer();
        return workflowOfWav(new File([bytes], name));
    }"""
    assert page.evaluate(read, "/kept.wav") == {
        "prompt": {"1": {"inputs": {}}},
        "workflow": {"nodes": [{"id": "Ü"}]},
    }
    assert page.evaluate(read, "/sound.wav") is None
    assert page.evaluate(read, "/view.json") is None
