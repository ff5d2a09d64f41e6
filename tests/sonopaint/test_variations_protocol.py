"""What is asked of variations, and that a candidate depends on its seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.variations.mel import MelVariator
from sonopaint.variations.protocol import Ask, Variator


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 0}, "count must be a whole number from 1 to 200, not 0"),
        ({"count": 500}, "not 500"),
        ({"strength": 0.0}, "would only copy the reference"),
        ({"strength": 1.2}, "not 1.2"),
        ({"strength": float("nan")}, "not nan"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_an_ask_that_makes_no_sense_is_one_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SonopaintError, match=said):
        Ask("footsteps", **wrong)


def test_a_seed_gives_the_same_candidate_whatever_else_is_asked(
    tiny: Any, make_clip: Callable[..., Clip]
) -> None:
    variator, reference = MelVariator(tiny), make_clip(0.5, 32_000, 2)
    assert isinstance(variator, Variator)
    ask = Ask("a dog barking", strength=1.0)
    told: list[float] = []
    several = list(
        variator.candidates(reference, ask, [5, 6], lambda step, total, _: told.append(step / total))
    )
    (alone,) = variator.candidates(reference, ask, [6])
    assert [one.seed for one in several] == [5, 6]
    assert torch.equal(several[1].clip.waveform, alone.clip.waveform)
    assert not torch.equal(several[0].clip.waveform, alone.clip.waveform)
    assert alone.clip.waveform.shape == reference.waveform.shape
    assert min(told) >= 0 and max(told) <= 1


def test_seeds_that_are_painted_together_are_what_each_is_alone(tiny: Any) -> None:
    from sonopaint.painters.diffusers_painter import DiffusersPainter
    from sonopaint.tasks.generation import blank_canvas
    from sonopaint.tasks.settings import PaintSettings

    painter, settings = DiffusersPainter(tiny), PaintSettings("a train horn", steps=2)
    canvas = blank_canvas(tiny.format, 64, 64 * tiny.format.hop_length)
    assert painter.together(canvas) == 4
    for sampler in ("dpmpp_2m", "lcm"):  # without and with noise of its own on the way
        wanted = replace(settings, sampler=sampler)
        several = painter.paint_seeds(canvas, "a train horn", wanted, [7, 8, 9])
        for seed, picture in zip([7, 8, 9], several, strict=True):
            alone = painter.paint(canvas, "a train horn", replace(wanted, seed=seed))
            apart = np.abs(picture.pixels.astype(int) - alone.pixels.astype(int))
            assert apart.max() <= 1, "rounding only"
        assert (several[0].pixels != several[1].pixels).any()
