"""Scenes: before and after differ in the box alone, something is heard in it, and Mini learns from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from sonotrain.data.corpus import synthesise
from sonotrain.data.foley.scenes import CELL, frame_levels, scenes


def test_outside_the_span_a_scene_is_the_same_before_and_after() -> None:
    made = scenes(8, seed=4)
    for i, (first, last) in enumerate(made.spans):
        assert 0 <= first < last <= 40
        outside = torch.ones(made.before.shape[1], dtype=torch.bool)
        outside[first * CELL : last * CELL] = False
        assert torch.equal(made.before[i, outside], made.after[i, outside])
        if made.own[i]:
            assert torch.equal(made.before[i], made.after[i])


def test_what_is_painted_is_heard() -> None:
    made = scenes(24, seed=5)
    for i, (first, last) in enumerate(made.spans):
        inside = frame_levels(made.after[i, first * CELL : last * CELL])
        assert inside.max() > frame_levels(made.after[i]).max() - 25
        assert len(made.events.phrasings[i]) > 1


def test_scenes_hang_on_the_seed_alone_and_pictures_differ_in_the_box_alone() -> None:
    tensors, records = synthesise(6, 9, "scenes")
    again, _ = synthesise(6, 9, "scenes")
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert len(records) == 6
    for before, after, box in zip(
        tensors["before"], tensors["levels"], tensors["boxes"].tolist(), strict=True
    ):
        low, high, first, last = (8 * edge for edge in box)
        changed = before != after
        changed[low:high, first:last] = False
        assert not changed.any()


def test_an_adapter_sees_what_is_kept_and_the_model_stays_as_it_is(
    tmp_path: Path, whole: Callable[[str], Path], mini_folder: Path, tiny_mini: None
) -> None:
    from sonoconvert.edits.canvas import inpaint_canvas
    from sonoconvert.edits.region import Box, Region
    from sonoconvert.files.clip import Clip
    from sonopaint.models.inpaint import sees_kept
    from sonopaint.models.loading import load_model
    from sonopaint.painters.diffusers_painter import DiffusersPainter
    from sonopaint.tasks.settings import PaintSettings

    run = whole("inpaint")
    adapter = load_file(run / "inpaint.safetensors")
    assert adapter["kept"].shape[1] == 5 and adapter["kept"].float().abs().max() > 0
    shutil.copytree(mini_folder, tmp_path / "mini")
    shutil.copy(run / "inpaint.safetensors", tmp_path / "mini")

    model = load_model(tmp_path / "mini", device="cpu")
    assert sees_kept(model.unet)
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    time = torch.arange(163_840) / 32_000
    painted = []
    for pitch in (300, 3000):  # another sound beside the box changes what is painted in it
        clip = Clip(0.5 * torch.sin(2 * np.pi * pitch * time)[None], 32_000)
        canvas = inpaint_canvas(clip, Region((Box(2.2, 3.2, 0.0, 16_000.0),)), model.format)
        picture = DiffusersPainter(model).paint(canvas, "a rain", PaintSettings(seed=1, steps=2))
        assert np.array_equal(picture.pixels[:, :120], canvas.picture.pixels[:, :120])
        painted.append(picture.pixels[:, 160:180])
    assert not np.array_equal(*painted)
    assert all(torch.equal(value, before[name]) for name, value in model.unet.state_dict().items())
