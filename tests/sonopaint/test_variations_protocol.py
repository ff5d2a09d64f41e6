"""What is asked of variations, and that a candidate depends on its seed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
