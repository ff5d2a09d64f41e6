"""The widgets on ComfyUI's real page: draw, play, save, reload; and workflows out of dropped files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_MS = 120_000

pytestmark = [pytest.mark.host, pytest.mark.browser]


@pytest.fixture
def graph_page(comfyui: Any, browser: Any) -> Iterator[Any]:
    """ComfyUI's page without its welcome; at the end no error of ours may have been reported."""
    context = browser.new_context(viewport={"width": 1800, "height": 1100})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.request.post(
        f"{comfyui.url}/settings",
        data=json.dumps({"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}),
    )
    page.goto(comfyui.url)
    page.wait_for_function("window.app?.graph && window.LiteGraph")
    page.wait_for_timeout(3000)
    yield page
    context.close()
    assert not [text for text in complaints if "onopaint" in text]


def open_workflow(page: Any, workflow: dict[str, Any]) -> None:
    page.evaluate("async (w) => { await window.app.loadGraphData(w); }", workflow)
    page.wait_for_timeout(500)


def workflow(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"example_workflows/{name}.json").read_text())


def look_at(page: Any, kind: str, scale: float = 1.0) -> None:
    """Put the node of a kind into the middle of the page, zoomed."""
    page.evaluate(
        """([kind, scale]) => {
            const app = window.app, node = app.graph._nodes.find((n) => n.comfyClass === kind);
            app.canvas.ds.scale = scale;
            app.canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
            app.canvas.setDirty(true, true);
        }""",
        [kind, scale],
    )
    page.wait_for_timeout(800)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    place = page.locator(".sonopaint-widget .sg-canvas").bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return place["x"] + point[0] * place["width"], place["y"] + point[1] * place["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=8)
    page.mouse.up()


def drawing(page: Any) -> dict[str, Any]:
    text = page.evaluate(
        """() => window.app.graph._nodes.find((n) => n.comfyClass === "SonopaintRegion")
            .widgets.find((w) => w.name === "drawing").value"""
    )
    return json.loads(text or "{}")


def test_a_region_is_drawn_kept_and_painted(graph_page: Any, comfyui: Any) -> None:
    page = graph_page
    opened = workflow("Inpaint a box")
    open_workflow(page, opened)
    look_at(page, "SonopaintRegion", 1.3)  # zoomed, as people work
    # The example's spectrogram is there before anything has run.
    page.wait_for_selector(".sonopaint-widget.filled .sg-canvas")
    assert drawing(page)["boxes"] == [{"start": 1.5, "end": 3.5, "low": 200, "high": 6000}]
    page.click(".sonopaint-widget [aria-label^=Clear]")
    assert drawing(page) == {}

    drag(page, (0.4, 0.3), (0.6, 0.7))
    [box] = drawing(page)["boxes"]
    assert 1.5 < box["start"] < 2.1 and 2.8 < box["end"] < 3.4 and 0 < box["low"] < box["high"] < 16_000
    page.click(".sonopaint-widget [aria-label^=Brush]")
    drag(page, (0.7, 0.5), (0.8, 0.5))
    marked = drawing(page)
    assert marked["brush"].startswith("data:image/png;base64,") and len(marked["marks"]) == 2

    # Delete takes away a box, not the node around it.
    page.click(".sonopaint-widget [aria-label^=Box]")
    drag(page, (0.15, 0.2), (0.25, 0.5))
    assert len(drawing(page)["marks"]) == 3
    page.keyboard.press("Delete")
    assert len(drawing(page)["marks"]) == 2

    # Playing moves the cursor.
    page.click(".sonopaint-widget [aria-label=Play]")
    page.wait_for_function("document.querySelector('.sonopaint-widget audio').currentTime > 0.3")
    assert page.locator(".sonopaint-widget .sg-cursor").evaluate("c => c.style.display") == "block"
    page.click(".sonopaint-widget [aria-label=Pause]")

    # What is saved is what is drawn, and a reload brings the marks back.
    saved = page.evaluate("() => window.app.graph.serialize()")
    open_workflow(page, saved)
    look_at(page, "SonopaintRegion")
    page.wait_for_selector(".sonopaint-widget.filled .sg-canvas")
    assert drawing(page)["marks"] == marked["marks"]

    # The server reads what the page sends.
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    number, region = next((n, v) for n, v in prompt.items() if v["class_type"] == "SonopaintRegion")
    entry = comfyui.queue({k: v for k, v in prompt.items() if v["class_type"] != "MarkdownNote"})
    assert comfyui.files(entry)
    assert entry["outputs"][number]["sonopaint"][0]["duration"] == pytest.approx(5.12, abs=0.01)


def test_spectrograms_are_seen_and_heard_after_a_run(graph_page: Any) -> None:
    page = graph_page
    page.evaluate(
        """() => {
            const graph = window.app.graph;
            const add = (kind, x) => {
                const node = window.LiteGraph.createNode(kind);
                node.pos = [x, 0];
                graph.add(node);
                return node;
            };
            graph.clear();
            const sound = add("SonopaintExampleSound", 0), form = add("SonopaintFormat", 400);
            const look = add("SonopaintAudioToSpectrogram", 800), show = add("PreviewImage", 1300);
            sound.connect(0, look, 0); form.connect(0, look, 1); look.connect(0, show, 0);
        }"""
    )
    look_at(page, "SonopaintAudioToSpectrogram")
    page.evaluate("() => window.app.queuePrompt(0)")
    page.wait_for_selector(".sonopaint-widget.filled .sg-play")
    page.click(".sonopaint-widget .sg-play")
    page.wait_for_function("document.querySelector('.sonopaint-widget audio').currentTime > 0.2")


def test_spectrograms_are_seen_while_they_are_painted(graph_page: Any) -> None:
    page = graph_page
    open_workflow(page, workflow("Generate a sound"))
    seen = page.evaluate(
        """async () => {
            const { api, graph } = window.app, seen = [];
            const sampler = graph._nodes.find((n) => n.comfyClass === "KSampler");
            sampler.widgets.find((w) => w.name === "seed").value = 4321;  // nothing that is kept from before
            for (const kind of ["b_preview", "b_preview_with_metadata"]) {
                api.addEventListener(kind, ({ detail }) => seen.push(detail.blob ?? detail));
            }
            const done = new Promise((resolve) => {
                api.addEventListener("execution_success", resolve, { once: true });
            });
            await window.app.queuePrompt(0);
            await done;
            const pictures = await Promise.all(seen.map((blob) => createImageBitmap(blob)));
            return pictures.map((one) => [one.width, one.height]);
        }"""
    )
    assert len(seen) >= 5
    assert all(width > 2 * height for width, height in seen)  # the sound's own shape


@pytest.mark.parametrize("kind", ["WAV 16 bit", "WAV 24 bit", "WAV 32 bit float", "FLAC 24 bit", "OGG"])
def test_a_dropped_file_brings_its_workflow_back(graph_page: Any, comfyui: Any, kind: str) -> None:
    page = graph_page
    original = workflow("Generate a sound")
    prompt = comfyui.prompt_of(original)
    save = next(node for node in prompt.values() if node["class_type"] == "SonopaintSaveAudio")
    save["inputs"]["format"] = kind
    [path] = comfyui.files(comfyui.queue(prompt, {"workflow": original}))
    page.evaluate("() => window.app.graph.clear()")
    mime = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            const target = document.querySelector("#graph-canvas") ?? document.body;
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            for (const kind of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, options));
        }""",
        [data, path.name, mime],
    )
    page.wait_for_function(f"window.app.graph._nodes.length === {len(original['nodes'])}")
    kinds = page.evaluate("() => window.app.graph._nodes.map((n) => n.type).sort()")
    assert kinds == sorted(node["type"] for node in original["nodes"])
    text = page.evaluate(
        "() => window.app.graph._nodes.find((n) => n.comfyClass === 'CLIPTextEncode').widgets[0].value"
    )
    assert text == "an owl hooting"


def test_the_template_browser_shows_the_workflows(graph_page: Any, comfyui: Any) -> None:
    names = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    assert set(comfyui.get("/workflow_templates")["sonopaint"]) == names
    for name in names:
        for suffix in ("json", "jpg"):
            address = f"{comfyui.url}/api/workflow_templates/sonopaint/{name}.{suffix}"
            assert graph_page.request.get(address).ok, f"{name}.{suffix} is not served"


def test_no_node_covers_another_in_nodes_2(browser: Any, comfyui: Any) -> None:
    """ComfyUI's newer way of drawing: every example as it was laid out, its widgets inside its nodes."""
    page = browser.new_page(viewport={"width": 1800, "height": 1100})
    page.set_default_timeout(PATIENCE_MS)

    def draw_nodes_2(on: bool) -> None:
        wanted = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": on}
        page.request.post(f"{comfyui.url}/settings", data=json.dumps(wanted))

    draw_nodes_2(True)
    try:
        page.goto(comfyui.url)
        page.wait_for_function("window.app?.graph && window.LiteGraph?.vueNodesMode")
        page.wait_for_timeout(3000)
        for path in sorted((ROOT / "example_workflows").glob("*.json")):
            example = json.loads(path.read_text())
            open_workflow(page, example)
            page.keyboard.press(".")  # all of it in view
            count = f"document.querySelectorAll('[data-node-id]').length === {len(example['nodes'])}"
            page.wait_for_function(count)
            page.wait_for_timeout(1500)
            boxes, widgets = page.evaluate(
                """() => {
                    const edges = (element) => {
                        const b = element.getBoundingClientRect();
                        return [b.left, b.top, b.right, b.bottom];
                    };
                    const nodes = [...document.querySelectorAll("[data-node-id]")];
                    return [nodes.map(edges), nodes.flatMap((node) =>
                        [...node.querySelectorAll(".sonopaint-widget")].map((w) => [edges(node), edges(w)]))];
                }"""
            )
            for n, one in enumerate(boxes):
                for other in boxes[n + 1 :]:
                    across = min(one[2], other[2]) - max(one[0], other[0])
                    down = min(one[3], other[3]) - max(one[1], other[1])
                    assert across < 4 or down < 4, (path.stem, one, other)
            for node, widget in widgets:
                assert widget[0] > node[0] - 3 and widget[1] > node[1] - 3, path.stem
                assert widget[2] < node[2] + 3 and widget[3] < node[3] + 3, path.stem
    finally:
        draw_nodes_2(False)
        page.context.close()
