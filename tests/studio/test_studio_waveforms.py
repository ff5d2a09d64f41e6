"""Models that paint waveforms stand beside those of spectrograms on every page that paints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonopaint.painters.diffusers_waves import loading

KNOBS = (5, False, 8, 7.0, "dpmpp_2m")  # seed, new each time, steps, guidance, sampler


class Noise:
    """A waveform painter that paints noise."""

    sample_rate, channels, longest_s = 44_100, 2, 47.0

    def paint_wave(self, job: Any, prompt: str, settings: Any, progress: Any = None) -> torch.Tensor:
        if progress:
            progress(0, 1, "Painting")
        generator = torch.Generator().manual_seed(settings.seed)
        return 0.1 * torch.randn(self.channels, job.samples, generator=generator)

    def resolve(self, settings: Any) -> Any:
        return replace(settings, sampler=None)

    def describe(self) -> dict[str, Any]:
        return {"model": "stable-open"}


@pytest.fixture
def bar(context: Any, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """What stands in the model bar: a folder in diffusers' layout."""
    folder = models_folder / "stable-open"
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableAudioPipeline"}))
    monkeypatch.setattr(loading, "load_wave_painter", lambda *_, **__: Noise())
    return (str(folder), "", "", "", 1.0, 1.0, 1.0)


def sounds(outputs: tuple[Any, ...]) -> list[tuple[np.ndarray, int]]:
    """The sounds of the cards in a handler's outputs."""
    shown = next(one for one in outputs if isinstance(one, dict) and "cards" in one)
    return [soundfile.read(card["downloads"]["WAV"], always_2d=True) for card in shown["cards"]]


def test_it_is_listed_with_what_it_can(context: Any, bar: Any) -> None:
    from sonopaint_studio.models_tab import models_html

    assert [info.name for info in context.store.models()] == ["tiny", "stable-open"]
    page = models_html(context.store.models())
    assert "Stable Audio Open · up to 47.55 s · 44.1 kHz" in page
    assert context.store.defaults(bar[0])["steps"] == 100 and context.store.seconds(bar[0]) == 10


def test_it_generates_varies_and_repaints(context: Any, bar: Any, tab: Any, upload: Any, chirp: Path) -> None:
    from sonopaint_studio.edit_tab import EditTab
    from sonopaint_studio.generate_tab import GenerateTab
    from sonopaint_studio.variations_tab import VariationsTab

    *_, last = GenerateTab(context).generate(tab(), *bar, "a door", "", 1.5, 1, "full", -23, *KNOBS, "", True)
    ((made, rate),) = sounds(last)
    assert rate == 44_100 and made.shape == (66_150, 2) and np.abs(made).max() > 0.5

    page = VariationsTab(context)
    dropped = upload("chirp.wav", chirp)
    list(page.opened(tab(), SimpleNamespace(files=[{"path": dropped.path, "name": "chirp.wav"}])))
    *_, last = page.make(tab(), *bar, "a chirp", 2, 0.5, ["length"], False, 3, False, "", True)
    assert [(one.shape, rate) for one, rate in sounds(last)] == [((55_125, 2), 22_050)] * 2

    edit = EditTab(context)
    list(edit.opened(bar[0], tab(), upload("chirp.wav", chirp)))
    marks = json.dumps({"boxes": [{"start": 0.8, "end": 1.4, "low": None, "high": None}], "brush": ""})
    fields = (marks, 50, "The marks", 0.0, 0.0, 0.5, "match", "As it suits", 1, "a horn", "")
    *_, last = edit.run(tab(), *bar, "Repaint", *fields, *KNOBS, "", True)
    ((healed, rate),) = sounds(last)
    before, _ = soundfile.read(chirp, always_2d=True)
    first, stop = round(0.74 * rate), round(1.46 * rate)
    np.testing.assert_array_equal(healed[:first], before[:first])
    np.testing.assert_array_equal(healed[stop:], before[stop:])
    assert (healed[first:stop] != before[first:stop]).mean() > 0.5


def test_a_lora_on_it_is_one_sentence(context: Any, bar: Any, tab: Any) -> None:
    from sonoconvert.errors import SonopaintError

    with pytest.raises(SonopaintError, match="stable-open paints waveforms"):
        loading.open_model(bar[0], loras=[("x.safetensors", 1.0)])
