"""Take the pictures of Studio for the README: python docs/make_screenshots.py (needs Chromium).

Starts a Studio of its own, makes sounds from words, repaints a part of one, matches an engine, and writes
docs/images/studio-{generate,edit,library,match}-{light,dark}.png; studio-generate.png and so on are the light
ones. `--subject RUN` takes studio-subject.png alone: the page Subject with a finished run of
`sonotrain subject`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
ENGINE = ROOT / "extensions/comfyui/sonopaint_comfyui/examples/engine.ogg"
PROMPTS = ("someone whistling a tune", "an ambulance siren", "a church bell ringing", "an owl hooting")
PATIENCE_MS = 600_000


def generate(page: Any, seed: int) -> None:
    """A page of sounds."""
    page.uncheck("#generate-random input")
    for prompt in reversed(PROMPTS):
        cards = page.locator("#results .sp-card").count()
        page.fill("#generate-seed input", str(seed))
        page.fill("#prompt textarea", prompt)
        page.click("#generate-go")
        page.wait_for_function(f"document.querySelectorAll('#results .sp-card').length === {cards + 1}")
    page.wait_for_timeout(1500)


def edit(page: Any, seed: int) -> None:
    """The newest sound with a box and a stroke, before and after."""
    page.get_by_role("button", name="Send to Edit").first.click()
    page.wait_for_selector(".sp-editor.filled")
    page.wait_for_timeout(800)
    place = page.locator("#editor .sg-canvas").bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return place["x"] + x * place["width"], place["y"] + y * place["height"]

    page.mouse.move(*at(0.45, 0.2))
    page.mouse.down()
    page.mouse.move(*at(0.72, 0.8), steps=8)
    page.mouse.up()
    page.uncheck("#edit-random input")
    page.fill("#edit-seed input", str(seed))
    page.fill("#edit-prompt textarea", "a train horn")
    page.click("#edit-go")
    page.wait_for_selector("#after .sp-card")
    page.wait_for_timeout(1500)


def library(page: Any, seed: int) -> None:
    """What was made, with a favourite, and the queue."""
    page.get_by_role("tab", name="Library").click()
    page.wait_for_selector("#library .sp-card")
    page.locator("#library .sp-star").nth(1).click()
    page.click(".sp-queue-button")
    page.wait_for_timeout(2500)


def match(page: Any, seed: int) -> None:
    """An engine and its match, with the first knob turned two steps up."""
    page.keyboard.press("Escape")  # closes the queue
    page.get_by_role("tab", name="Match").click()
    page.set_input_files("#match-drop input[type=file]", ENGINE)
    page.wait_for_function("document.querySelector('#match-status').innerText.includes('Press Match')")
    page.click("#match-go")
    page.wait_for_selector("#match-cards .sp-compare")
    for _ in range(2):
        page.locator("#match-knobs .sp-step").nth(1).click()
        page.wait_for_timeout(2000)


def subject(page: Any, out: Path) -> None:
    """A finished run."""
    page.get_by_role("tab", name="Subject").click()
    page.wait_for_selector("#subject-previews img")
    page.wait_for_timeout(1500)
    page.screenshot(path=out / "studio-subject.png")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a name or a path (default: the shipped one)")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--subject", type=Path, metavar="RUN", help="a finished run of sonotrain subject")
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.subject:  # the page shows the run as it is called from the folder above
        run = args.subject.resolve()
        os.environ |= {"SONOPAINT_RUNS": run.parent.name, "SONOPAINT_MODELS": tempfile.mkdtemp()}
        os.chdir(run.parent.parent)

    os.environ["SONOPAINT_LIBRARY"] = tempfile.mkdtemp(prefix="sonopaint-library-")

    from playwright.sync_api import sync_playwright

    from sonopaint.models.info import find_model
    from sonopaint_studio.app import build_app, free_port, launch
    from sonopaint_studio.context import Context
    from sonopaint_studio.model_store import ModelStore

    model = find_model(args.model or "mini")
    context = Context(store=ModelStore(extra=model), model=str(model))
    address = launch(build_app(context), port=free_port("127.0.0.1", 7980), block=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.wait_for_selector("#results .sp-chip")
        if args.subject:
            subject(page, args.out)
        acts = (("generate", generate), ("edit", edit), ("library", library), ("match", match))
        for name, act in () if args.subject else acts:
            act(page, args.seed)
            for look in ("light", "dark"):
                page.emulate_media(color_scheme=look)
                page.wait_for_timeout(600)
                page.screenshot(path=args.out / f"studio-{name}-{look}.png")
            page.emulate_media(color_scheme="light")
            shutil.copyfile(args.out / f"studio-{name}-light.png", args.out / f"studio-{name}.png")
        browser.close()
    context.close()
    print(f"Wrote the pictures to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
