"""What the weights made is of the present weights: pictures, thumbnails, demo sounds, tables."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def artefacts() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "docs"))
    import artefacts

    yield artefacts
    sys.path.remove(str(ROOT / "docs"))
    sys.modules.pop("artefacts", None)


def test_every_artefact_is_of_the_present_weights(artefacts: Any) -> None:
    old = [path.relative_to(ROOT).as_posix() for one in artefacts.ALL for path in artefacts.old(one)]
    assert not old, f"run python docs/make_all.py: not of the present weights are {', '.join(old)}"


def test_every_thumbnail_and_comfyui_picture_is_listed(artefacts: Any) -> None:
    listed = {path for one in artefacts.ALL for path in ROOT.glob(one.files)}
    made = {*ROOT.glob("docs/images/comfyui-*.png"), *ROOT.glob("example_workflows/*.jpg")}
    others = {"Repaint with Stable Audio 3.jpg", "Continue with ACE-Step.jpg"}  # drawn from recordings alone
    assert {path.name for path in made - listed} <= others


@pytest.mark.parametrize(
    "name",
    [
        "docs/images/mini.png",
        "example_workflows/Seamless loop.jpg",
        "docs/demo/studio/half.ogg",
        "docs/demo/forest.flac",
        "docs/demo/measurements.json",
        "docs/demo/README.md",
    ],
)
def test_a_stamp_is_carried_and_replaced(artefacts: Any, tmp_path: Path, name: str) -> None:
    copy = tmp_path / Path(name).name
    shutil.copyfile(ROOT / name, copy)
    for text in ("mini 1234567890", "mini abc, inpaint none"):
        artefacts.stamp(copy, text)
        assert artefacts.stamped(copy) == text
    if copy.suffix in (".png", ".ogg", ".flac"):
        import numpy as np
        import soundfile
        from PIL import Image

        def content(path: Path) -> Any:
            return np.asarray(Image.open(path)) if path.suffix == ".png" else soundfile.read(path)[0]

        np.testing.assert_array_equal(content(copy), content(ROOT / name))
