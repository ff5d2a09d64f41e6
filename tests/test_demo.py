"""docs/make_demo.py and what it made in docs/demo: the documents' masks, lengths and words, all in step."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from PIL import Image

from sonoconvert.pictures.format import get_format

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "docs/demo"
MINI = get_format("sonopaint-mini")
LENGTHS = {"left": 7.62, "right": 10.12, "over": 10.12}  # all others last as long as the forest


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_demo", ROOT / "docs/make_demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_demo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured() -> dict:
    return json.loads((DEMO / "measurements.json").read_text(encoding="utf-8"))


def mask(demo: ModuleType, name: str) -> np.ndarray:
    step = next(step for step in demo.STORY if step.name == name)
    return step.region.mask(MINI, 320) > 0


def test_the_masks_are_the_documents(demo: ModuleType) -> None:
    half, centre, corner, irregular = (mask(demo, name) for name in ("half", "centre", "corner", "irregular"))
    assert half[:, 160:].all() and not half[:, :160].any()
    for axis in (0, 1):  # all around the centre something stays
        reached = np.flatnonzero(centre.any(axis=axis))
        assert reached[0] > 0 and reached[-1] < centre.shape[1 - axis] - 1
    assert centre[64, 160]
    assert corner[0, -1] and not corner[-1, -1] and not corner[0, 0]
    rows = np.flatnonzero(corner.any(axis=1))
    assert MINI.hz(rows[-1]) <= 2200 < MINI.hz(rows[-1] + 1)
    boxed = np.outer(irregular.any(axis=1), irregular.any(axis=0))
    assert 0.2 < irregular.mean() / boxed.mean() < 0.8  # not a rectangle
    with Image.open(DEMO / "irregular-mask.png") as saved:
        assert np.array_equal(np.asarray(saved.convert("L")) / 255.0, demo.irregular())


def test_the_story_is_told_in_order(demo: ModuleType) -> None:
    told = [(step.source, step.prompt, step.left, step.right) for step in demo.STORY]
    assert told[:4] == [("forest", "train horn", 0.0, 0.0)] * 4
    assert told[4:6] == [("forest", "train horn", 2.5, 0.0), ("left", "dog bark", 0.0, 2.5)]
    (box,) = demo.STORY[6].region.boxes
    assert demo.STORY[6].source == "right" and 2.5 <= box.start_s < box.end_s <= 7.62


def test_what_was_made_is_there_and_was_measured(demo: ModuleType, measured: dict) -> None:
    assert "studio" in measured
    assert soundfile.info(DEMO / "forest.flac").duration == pytest.approx(5.12)
    for host in measured.keys() - {demo.STAMP}:
        assert list(measured[host]["steps"]) == [step.name for step in demo.STORY]
        for step in demo.STORY:
            found = measured[host]["steps"][step.name]
            lasts = LENGTHS.get(step.name, 5.12)
            sound = soundfile.info(DEMO / host / f"{step.name}.ogg")
            assert sound.duration == pytest.approx(lasts) == found["seconds"]
            assert found["changed_outside"] == 0 < found["samples_outside"]
            assert (found["prompt"], found["kind"]) == (step.prompt, step.kind)
            assert (DEMO / host / f"{step.name}.png").stat().st_size < 200_000


def test_studio_hears_each_word(demo: ModuleType, measured: dict) -> None:
    for step in demo.STORY:
        found = measured["studio"]["steps"][step.name]
        assert next(iter(found["heard"])) == step.kind and found["chance"] > (found["chance_before"] or 0)


def test_the_page_says_what_was_measured(demo: ModuleType, measured: dict) -> None:
    text = (DEMO / "README.md").read_text(encoding="utf-8")
    assert text == demo.page(measured), "run: python docs/make_demo.py --page"
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 14 and all((DEMO / link).exists() for link in links)
