"""Take the pictures of the WebUI's guide (needs Chromium and a running AUTOMATIC1111 or Forge).

python docs/make_webui_pictures.py http://127.0.0.1:7860 --name webui     (Forge's are called forge)

A sound that Mini makes in Generate, where the host can load Mini (added if it isn't there), and an example
sound with a typed and a drawn box in Inpaint, for which any checkpoint will do. They become
docs/images/NAME-generate.png and NAME-inpaint.png.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
SOUND = ROOT / "extensions/comfyui/sonopaint_comfyui/examples/horse_hooves.ogg"
PATIENCE_MS = 300_000


def open_tab(page: Any, title: str) -> None:
    page.locator("#tabs > .tab-nav > button", has_text="Sonopaint").first.click()
    page.locator("#sonopaint_tabs > .tab-nav > button", has_text=title).first.click()


def generate(page: Any) -> None:
    open_tab(page, "Generate")
    page.wait_for_timeout(5000)  # what the chosen checkpoint is comes after the page
    if page.locator("#sonopaint_add_mini").is_visible():
        page.click("#sonopaint_add_mini")
    page.locator("#sonopaint_about summary").first.wait_for()
    page.locator("#sonopaint_generate_prompt textarea").fill("a dog barking")
    page.locator("#sonopaint_generate_seed input").fill("1")
    page.click("#sonopaint_generate_go")
    page.wait_for_selector("#sonopaint_generate_made .sonopaint-result .sg-canvas")


def inpaint(page: Any) -> None:
    open_tab(page, "Inpaint")
    page.set_input_files("#sonopaint_inpaint_source input[type=file]", SOUND)
    page.wait_for_selector("#sonopaint_inpaint_view .sg-canvas")
    page.locator("#sonopaint_inpaint_prompt textarea").fill("train horn")
    for label, value in (("from s", "1"), ("to s", "1.5"), ("from Hz", "500"), ("to Hz", "4000")):
        page.fill(f"#sonopaint_inpaint_view input[aria-label='Box {label}']", value)
    page.click("#sonopaint_inpaint_view .sonopaint-add")
    box = page.locator("#sonopaint_inpaint_view .sg-canvas").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--name", default="webui")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        views = {"generate": generate, "inpaint": inpaint}
        if options.name == "forge":  # which loads Stable Diffusion's own sizes only
            del views["generate"]
        for name, prepare in views.items():
            page = browser.new_page(viewport={"width": 1400, "height": 1100})
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{options.url}/?__theme=light")
            page.wait_for_selector("[data-furnished]", state="attached")
            prepare(page)
            page.wait_for_timeout(3000)
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                few = picture.convert("RGB").quantize(192, dither=Image.Dither.NONE)
            few.save(IMAGES / f"{options.name}-{name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
