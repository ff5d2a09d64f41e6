"""Take the pictures of ComfyUI's guide and the workflows' thumbnails (needs Chromium and a running ComfyUI).

python docs/make_comfyui_pictures.py --url http://127.0.0.1:8188 [WORKFLOW …]

Each example workflow is opened on ComfyUI's page and run; its plot becomes the thumbnail that the template
browser shows, and four pages and the region editor become docs/images/comfyui-*.png.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfyui_examples import OTHER_MODELS, WORKFLOWS
from PIL import Image

from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.drawing import read_drawing
from sonoconvert.pictures.plot import plot_spectrogram

ROOT = Path(__file__).resolve().parent.parent
IMAGES, EXAMPLES = ROOT / "docs/images", ROOT / "example_workflows"
SOUNDS = ROOT / "extensions/comfyui/sonopaint_comfyui/examples"
SHOWN = {
    "Generate a sound": "generate",
    "Inpaint a box": "inpaint",
    "Draw the loudness": "curves",
    "Interpolate A to B": "interpolate",
    "One-step subject": "one-step",
}
SIZE, LANCZOS = (640, 240), Image.Resampling.LANCZOS
PATIENCE_MS = 600_000


def opened(page: Any, name: str) -> Any:
    """The page with a workflow on it."""
    workflow = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    page.evaluate(
        "async ([w, name]) => { await window.app.loadGraphData(w, true, true, name); }", [workflow, name]
    )
    page.wait_for_timeout(1500)
    return page


def run(page: Any, name: str) -> None:
    """Open a workflow, run it and wait for the end."""
    opened(page, name).evaluate(
        """async () => {
            const done = new Promise((resolve) => {
                window.app.api.addEventListener("execution_success", resolve, { once: true });
            });
            await window.app.queuePrompt(0);
            await done;
        }"""
    )
    page.wait_for_timeout(3000)


def plot(page: Any) -> Image.Image:
    """The pictures in the workflow's Preview Image, side by side."""
    addresses = page.evaluate(
        """() => {
            const node = window.app.graph._nodes.find((n) => n.comfyClass === "PreviewImage");
            return window.app.nodeOutputs[node.id].images.map(
                (place) => location.origin + window.app.api.apiURL("/view?" + new URLSearchParams(place)));
        }"""
    )
    whole = Image.new("RGB", SIZE)
    width = SIZE[0] // len(addresses)
    for index, address in enumerate(addresses):
        with Image.open(io.BytesIO(page.request.get(address).body())) as image:
            whole.paste(image.convert("RGB").resize((width, SIZE[1]), LANCZOS), (index * width, 0))
    return whole


def region_of(name: str) -> Image.Image:
    """For a workflow of a model that is not here: its recording, and where it is to be painted."""
    nodes, _ = WORKFLOWS[name]
    clip = read_clip(SOUNDS / f"{nodes['recording'][1]['sound']}.ogg")
    if "longer" in nodes:
        added = round(nodes["longer"][1]["right"] * clip.sample_rate)
        region = Region((Box(clip.duration_s),))
        clip = replace(clip, waveform=torch.nn.functional.pad(clip.waveform, (0, added)))
    else:
        region = read_drawing(nodes["region"][1]["drawing"])
    return plot_spectrogram(clip, size=SIZE, region=region, dark=True)


def save(png: bytes, name: str) -> None:
    """A screenshot with 256 colours: a third of the size, and nobody sees the difference."""
    with Image.open(io.BytesIO(png)) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)


def frame(page: Any, margin: int = 40) -> None:
    """Show all nodes, large enough that their widgets can be read."""
    page.evaluate(
        """(margin) => {
            const nodes = window.app.graph._nodes;
            const left = Math.min(...nodes.map((n) => n.pos[0]));
            const top = Math.min(...nodes.map((n) => n.pos[1] - 30));
            const right = Math.max(...nodes.map((n) => n.pos[0] + n.size[0]));
            const bottom = Math.max(...nodes.map((n) => n.pos[1] + n.size[1]));
            const ds = window.app.canvas.ds;
            const width = innerWidth - 80 - 2 * margin, height = innerHeight - 80 - 2 * margin;
            ds.scale = Math.min(width / (right - left), height / (bottom - top), 1);
            ds.offset = [70 / ds.scale + margin - left, 60 / ds.scale + margin - top];
            window.app.canvas.setDirty(true, true);
        }""",
        margin,
    )
    page.wait_for_timeout(1500)


def draw(page: Any) -> None:
    """A box and a stroke in the region editor."""
    page.evaluate(
        """() => {
            const node = window.app.graph._nodes.find((n) => n.comfyClass === "SonopaintRegion");
            window.app.canvas.ds.scale = 1.4;
            window.app.canvas.ds.offset = [120 - node.pos[0], 130 - node.pos[1]];
            window.app.canvas.setDirty(true, true);
        }"""
    )
    page.wait_for_timeout(1500)
    place = page.get_by_role("img", name="Spectrogram to draw a region").bounding_box()

    def drag(*points: tuple[float, float]) -> None:
        page.mouse.move(*at(points[0]))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*at(point), steps=6)
        page.mouse.up()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return place["x"] + point[0] * place["width"], place["y"] + point[1] * place["height"]

    page.click(".sonopaint-widget [aria-label^=Brush]")
    drag((0.62, 0.3), (0.7, 0.24), (0.78, 0.32), (0.86, 0.22), (0.9, 0.3))
    page.click(".sonopaint-widget [aria-label^=Box]")
    page.wait_for_timeout(800)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("workflows", nargs="*", help="names of workflows; all without")
    options = parser.parse_args()
    names = options.workflows or sorted(path.stem for path in EXAMPLES.glob("*.json"))
    for name in set(names) & set(OTHER_MODELS):
        region_of(name).save(EXAMPLES / f"{name}.jpg", quality=85)
    names = [name for name in names if name not in OTHER_MODELS]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 2400, "height": 1150})
        page.set_default_timeout(PATIENCE_MS)
        hidden = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}
        page.request.post(f"{options.url}/settings", data=json.dumps(hidden))
        page.goto(options.url)
        page.wait_for_function("window.app?.graph")
        page.wait_for_timeout(3000)
        for name in names:
            run(page, name)
            plot(page).save(EXAMPLES / f"{name}.jpg", quality=85)
            if name in SHOWN:
                frame(page)
                save(page.screenshot(), f"comfyui-{SHOWN[name]}")
            if name == "Inpaint a box":
                page.set_viewport_size({"width": 1100, "height": 1150})
                draw(page)
                part = {"x": 150, "y": 130, "width": 740, "height": 920}
                save(page.screenshot(clip=part), "comfyui-region")
                page.set_viewport_size({"width": 2400, "height": 1150})
        browser.close()


if __name__ == "__main__":
    main()
