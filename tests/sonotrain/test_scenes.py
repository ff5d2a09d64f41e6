"""Scenes: before and after differ in the box alone, and something is heard in it."""

from __future__ import annotations

import torch

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
