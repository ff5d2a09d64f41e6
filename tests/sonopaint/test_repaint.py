"""Repainting with the shipped Mini, and what is done where a painter paints nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.edits.canvas import Canvas
from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.picture import Picture
from sonopaint.knowledge import Knowledge
from sonopaint.models.folders import shipped_folder
from sonopaint.models.info import event_lead
from sonopaint.models.loading import load_model
from sonopaint.models.students import with_student
from sonopaint.painters.protocol import Painter
from sonopaint.tasks import PaintSettings, extend, inpaint, likeness

RATE = 32_000
BOX = Region((Box(2.0, 3.0),))


def tune(seconds: float = 5.0) -> Clip:
    """Plucked notes over a little noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.001 * np.random.default_rng(1).standard_normal(len(time))
    for start in np.arange(0, seconds, 0.4):
        since = time - start
        pitch = 220 * 2 ** (round(start / 0.4) % 5 * 3 / 12)
        sound += 0.2 * np.where(since > 0, np.exp(-5 * since.clip(0)) * np.sin(2 * np.pi * pitch * since), 0)
    return Clip(torch.from_numpy(sound).float()[None], RATE)


def loudest_db(sound: np.ndarray) -> float:
    size = RATE // 20
    return 10 * float(np.log10(np.convolve(sound.astype(float) ** 2, np.ones(size) / size, "valid").max()))


@pytest.fixture(scope="module")
def student() -> Any:
    name, loras = with_student("mini")
    return load_model(name, device="cpu", loras=loras)


def heard_as(clip: Clip, start_s: float, stop_s: float) -> list[str]:
    """What the shipped classifier makes of a part, at the start of silence: the three most probable kinds."""
    from sonotrain.trainers.mini.sound_classifier import load_classifier

    whole = torch.zeros(1, round(5.12 * RATE))
    part = clip.waveform[:1, round(start_s * RATE) : round(stop_s * RATE)]
    whole[:, : part.shape[1]] = part
    return [name for name, _ in load_classifier()[0].classify(Clip(whole, RATE))[:3]]


def test_mini_says_that_its_pictures_begin_with_the_event() -> None:
    fmt = get_format("sonopaint-mini")
    assert event_lead(shipped_folder() / "mini", fmt) == 24
    assert event_lead(shipped_folder() / "nowhere", fmt) is None


@pytest.mark.parametrize(
    ("prompt", "kind"), [("a dog barking", "dog_bark"), ("glass breaking", "glass_break")]
)
def test_short_events_are_heard_in_the_middle_of_a_tune(student: Any, prompt: str, kind: str) -> None:
    """In one step, at three seeds: never silent, not at full scale, and the right kind at two of three."""
    source, right = tune(), 0
    for seed in range(3):
        (result,) = inpaint(student, source, BOX, PaintSettings(prompt, seed=seed))
        sound = result.clip.waveform[0].numpy()
        assert loudest_db(sound[2 * RATE : 3 * RATE]) > loudest_db(source.waveform[0].numpy()) - 10
        assert np.abs(sound).max() < 0.98
        right += kind in heard_as(result.clip, 2.0, 3.0)
        outside = np.r_[: round(1.95 * RATE), round(3.05 * RATE) : len(sound)]
        np.testing.assert_array_equal(sound[outside], source.waveform[0].numpy()[outside])
    assert right >= 2


def test_the_many_step_mini_paints_events_too() -> None:
    model = load_model("mini", device="cpu")
    (result,) = inpaint(model, tune(), BOX, PaintSettings("a dog barking", seed=1, steps=8))
    assert "dog_bark" in heard_as(result.clip, 2.0, 3.0) and "notes" not in result.settings


def test_the_sea_goes_on_as_loud_as_it_was(student: Any) -> None:
    noise = np.random.default_rng(3).standard_normal(4 * RATE)
    spectrum = np.fft.rfft(noise) / np.sqrt(np.arange(1, 2 * RATE + 2))
    sea = np.fft.irfft(np.where(np.arange(2 * RATE + 1) > 240, spectrum, 0), 4 * RATE)  # from 60 Hz on
    sea = Clip(torch.from_numpy(0.02 * sea / sea.std()).float()[None], RATE)
    for seed in range(3):
        (result,) = extend(student, sea, 0.0, 2.0, PaintSettings("waves breaking on a beach", seed=seed))
        new = result.clip.waveform[0, 4 * RATE + 3200 :]
        assert abs(20 * np.log10(float(new.std()) / 0.02)) < 3


class SilentAtFirst:
    """A painter that paints nothing at seed 5 (and with `always` at no seed), else a burst."""

    format: SpectrogramFormat = get_format("sonopaint-mini")

    def __init__(self, *, always: bool = False) -> None:
        self.always, self.seeds = always, []

    def paint(self, canvas: Canvas, prompt: str, settings: PaintSettings, progress: Any = None) -> Picture:
        self.seeds.append(settings.seed)
        level = 3 if self.always or settings.seed == 5 else 230
        pixels = np.where(canvas.mask[::-1, :, None] > 0, level, canvas.picture.pixels).astype(np.uint8)
        return dataclasses.replace(canvas.picture, pixels=pixels)

    def paint_between(self, canvas: Canvas, a: Any, b: Any, t: float, progress: Any = None) -> Picture:
        raise NotImplementedError

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        return settings.resolved({})

    def describe(self) -> dict[str, Any]:
        return {"model": "silent", "model_hash": "", "loras": []}


def test_silence_is_painted_once_more_and_said() -> None:
    painter = SilentAtFirst()
    assert isinstance(painter, Painter)
    (result,) = inpaint(painter, tune(), BOX, PaintSettings("a bell", seed=5))
    assert painter.seeds == [5, 1005] and result.settings["seed"] == 1005
    assert result.settings["notes"] == ["Seed 5 painted nothing; this is seed 1005."]
    (again,) = inpaint(painter, tune(), BOX, PaintSettings("a bell", seed=1005))
    assert torch.equal(again.clip.waveform, result.clip.waveform) and "notes" not in again.settings
    batch = inpaint(painter, tune(), BOX, PaintSettings("a bell", seed=4), batch=2)
    assert [one.settings["seed"] for one in batch] == [4, 1005]


def test_what_stays_silent_is_said_and_silence_that_was_asked_for_is_not() -> None:
    painter = SilentAtFirst(always=True)
    (result,) = inpaint(painter, tune(), BOX, PaintSettings("a bell", seed=5))
    assert painter.seeds == [5, 1005] and "next to nothing" in result.settings["notes"][0]
    for prompt in ("", "silence", "Stille", "nothing at all"):
        painter.seeds.clear()
        (result,) = inpaint(painter, tune(), BOX, PaintSettings(prompt, seed=5))
        assert painter.seeds == [5] and "notes" not in result.settings


class Unlike(SilentAtFirst):
    """Paints high sounds at seed 5 (and with `always` at all), low ones at others; a bell is low."""

    knowledge = Knowledge({"bell": ("a bell",), "bird": ("a bird",)}, frozenset({"a"}), {}, {})

    def paint(self, canvas: Canvas, prompt: str, settings: PaintSettings, progress: Any = None) -> Picture:
        self.seeds.append(settings.seed)
        high = self.always or settings.seed == 5
        rows = np.arange(128)[:, None, None]
        there = (canvas.mask[::-1, :, None] > 0) & ((rows < 64) == high)
        pixels = np.where(there, 230, np.where(canvas.mask[::-1, :, None] > 0, 0, canvas.picture.pixels))
        return dataclasses.replace(canvas.picture, pixels=pixels.astype(np.uint8))


class _LowIsABell:
    kinds = ("x", "y", "z", "bird", "bell")

    def __call__(self, levels: torch.Tensor) -> torch.Tensor:
        low = bool(levels[:, :64].mean() > levels[:, 64:].mean())
        return torch.tensor([[3.0, 2.0, 1.0, 0.0, 9.0 if low else -9.0]])


def test_what_is_heard_as_something_else_is_painted_once_more_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(likeness, "_judge", _LowIsABell)
    painter = Unlike()
    (result,) = inpaint(painter, tune(), BOX, PaintSettings("a bell", seed=5))
    assert painter.seeds == [5, 1005] and result.settings["seed"] == 1005
    assert result.settings["notes"] == ["Seed 5 did not sound like “bell”; this is seed 1005."]
    (result,) = inpaint(Unlike(always=True), tune(), BOX, PaintSettings("a bell", seed=5))
    assert result.settings["seed"] == 5
    assert result.settings["notes"][0].startswith("Neither seed 5 nor 1005 sounds much like “bell”")
    for prompt in ("a bird and a bell", "something else"):  # no one kind: nobody can say
        painter.seeds.clear()
        (result,) = inpaint(painter, tune(), BOX, PaintSettings(prompt, seed=5))
        assert painter.seeds == [5] and "notes" not in result.settings
