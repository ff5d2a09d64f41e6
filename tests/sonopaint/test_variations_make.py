"""Making, judging and choosing, with back-ends that answer what the test says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.tasks.progress import Progress
from sonopaint.variations.judge import Judge, alignment, diversity, most_different
from sonopaint.variations.make import Maker
from sonopaint.variations.protocol import Ask, Candidate
from sonopaint.variations.reference import events, in_phase, part

RATE = 32_000


def bark(pitch: float = 300.0, seed: int = 0, seconds: float = 0.6) -> torch.Tensor:
    """Something like a bark: overtones that fall, and breath; [1, samples]."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    glide = pitch * (1 - 0.4 * time)
    phase = 2 * math.pi * torch.cumsum(glide / RATE, 0)
    body = sum(torch.sin(k * phase) / k**1.2 for k in range(1, 9))
    noise = 0.15 * torch.randn(len(time), generator=generator)
    return (0.2 * (body + noise) * torch.exp(-time / 0.12) * (1 - torch.exp(-time / 0.01)))[None].float()


class Says:
    """A back-end whose candidate of a seed is what the test says."""

    name = "says"

    def __init__(self, answers: dict[int, Any]) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        for seed in seeds:
            self.asked.append(seed)
            answer = self.answers.get(seed, bark(300 + 9 * seed, seed))
            if isinstance(answer, Exception):
                raise answer
            yield Candidate(Clip(answer, RATE), seed)

    def describe(self) -> dict[str, Any]:
        return {"variator": self.name}


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def test_bad_candidates_are_replaced_and_say_why(judge: Judge) -> None:
    reference = Clip(bark(), RATE)
    noise = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0)) * 0.2
    answers = {
        0: torch.zeros(1, 20_000),
        1: torch.full((1, 20_000), math.nan),
        2: bark(),
        3: noise,
        5: bark(300 + 9 * 4, 4),
    }
    maker = Maker(Says(answers), reference, Ask("dog bark", 3), judge=judge)
    chosen = maker.make()
    why = {one.seed: one.why for one in maker.made}
    assert why[0] == "silent" and why[1] == "not a number"
    assert why[2] == "a copy of the reference" and why[3] and why[5] == "a copy of seed 4"
    assert len(chosen) == 3 and not {one.seed for one in chosen} & {0, 1, 2, 3, 5}
    for one in chosen:
        assert one.figures["length_s"] == 0 and abs(one.figures["loudness_lu"]) < 0.1
        assert 0.5 < one.figures["likeness"] < 1
    assert maker.figures(chosen)["left_out"]["silent"] == 1 and not maker.notes(chosen)


def test_without_choosing_the_first_ones_are_what_there_is(judge: Judge) -> None:
    says = Says({1: bark()})
    maker = Maker(says, Clip(bark(), RATE), Ask("dog bark", 4, seed=1), choose=False, judge=judge)
    assert [one.seed for one in maker.make()] == says.asked == [1, 2, 3, 4]


def test_the_chosen_differ_more_and_are_no_farther_from_the_reference() -> None:
    """Three times the same four sounds: one of each is chosen."""
    generator = torch.Generator().manual_seed(1)

    def draw(count: int, size: float) -> torch.Tensor:
        return size * torch.nn.functional.normalize(torch.randn(count, 64, generator=generator), dim=1)

    reference = torch.nn.functional.normalize(draw(1, 1.0), dim=1)
    four = (reference + draw(4, 0.5)).repeat(3, 1) + draw(12, 0.05)
    features = torch.nn.functional.normalize(four, dim=1)
    index = most_different(features, reference, 4)
    assert sorted(one % 4 for one in index) == [0, 1, 2, 3]
    assert diversity(features[index]) > 1.15 * diversity(features)
    assert alignment(features[index], reference) >= alignment(features, reference) - 1e-6


def test_a_rejected_one_is_followed_by_another(judge: Judge) -> None:
    maker = Maker(Says({}), Clip(bark(), RATE), Ask("dog bark", 2), judge=judge)
    first = [one.seed for one in maker.make()]
    seen = {*first}
    for _ in range(4):
        gone = maker.chosen()[0].seed
        new = maker.reject(gone)
        assert new is not None and new.seed not in seen
        seen.add(new.seed)
        assert len(maker.chosen()) == 2 and gone not in {one.seed for one in maker.chosen()}


def test_what_is_finished_stays_when_something_fails(judge: Judge) -> None:
    broken: dict[int, Any] = {seed: SonopaintError("The program failed.") for seed in range(2, 99)}
    maker = Maker(Says(broken), Clip(bark(), RATE), Ask("dog bark", 6), judge=judge)
    chosen = maker.make()
    assert len(chosen) == len(maker.good()) > 0
    assert any("Only" in note and "of 6" in note for note in maker.notes(chosen))
    assert any("The program failed." in note for note in maker.notes(chosen))
    with pytest.raises(SonopaintError, match="The program failed"):
        Maker(Says({0: broken[2]}), Clip(bark(), RATE), Ask("dog bark"), judge=judge).make()
    maker = Maker(Says({3: Cancelled()}), Clip(bark(), RATE), Ask("dog bark", 6), judge=judge)
    with pytest.raises(Cancelled):
        maker.make()
    assert len(maker.made) == 3 and maker.choose_again()


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (torch.zeros(1, RATE), "silent"),
        (bark(seconds=0.02), "lasts 0.02 s"),
        (torch.rand(1, 600 * 8000) - 0.5, "lasts 150 s; say which part"),
    ],
)
def test_references_that_cannot_be_varied(clip: torch.Tensor, said: str, judge: Judge) -> None:
    with pytest.raises(SonopaintError, match=said):
        Maker(Says({}), Clip(clip, RATE), Ask("dog bark"), judge=judge)


def test_channels_that_cancel_come_back_as_they_were(judge: Judge) -> None:
    wave = bark()
    reference = Clip(torch.cat([wave, -wave]), RATE)
    turned, signs = in_phase(reference)
    assert signs[:, 0].tolist() in ([1, -1], [-1, 1])
    assert torch.equal(turned.waveform[0], turned.waveform[1])
    maker = Maker(Says({}), reference, Ask("dog bark", 1), judge=judge)
    (one,) = maker.make()
    assert torch.allclose(one.clip.waveform[0], -one.clip.waveform[1])


def test_events_are_found_and_cut_apart() -> None:
    pause = torch.zeros(1, RATE // 2)
    clip = Clip(torch.cat([pause, bark(), pause, bark(400), bark(350)], dim=1), RATE)
    found = events(clip)
    assert [start for start, _ in found] == pytest.approx([0, 1.6, 2.2], abs=0.03)
    assert found[-1][1] == clip.duration_s and found[0][1] == found[1][0]
    pieces = [part(clip, start, stop - start) for start, stop in found]
    assert sum(piece.num_samples for piece in pieces) == pytest.approx(clip.num_samples, abs=3)
    assert events(Clip(bark(), RATE)) == [(0.0, 0.6)]
    with pytest.raises(SonopaintError, match="no part of it from 9 s"):
        part(clip, 9.0)
