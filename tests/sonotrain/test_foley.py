"""The foley corpus: every kind sounds, differs, obeys its traits and its captions."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonotrain.data.foley import (
    BASE_KINDS,
    HELD_OUT,
    KINDS,
    NUM_SAMPLES,
    SAMPLE_RATE,
    Kind,
    batch,
    corpus,
    sung,
    synthesise,
)
from sonotrain.data.foley.draw import Draw
from sonotrain.data.foley.phrases import pair, single

NAMED_BY_THE_SPEC = (
    "bird_song dog_bark cheering acoustic_guitar snare_drum train_horn keyboard_typing forest_ambience "
    "hammer horse_hooves rain footsteps siren gunshot engine wind"
).split()


def centroid_hz(waveforms: torch.Tensor) -> torch.Tensor:
    """Power-weighted mean frequency of each clip."""
    power = torch.fft.rfft(waveforms).abs().square()
    frequencies = torch.fft.rfftfreq(waveforms.shape[-1], 1 / SAMPLE_RATE)
    return (power * frequencies).sum(-1) / power.sum(-1)


def test_there_are_enough_kinds_and_all_that_the_spec_names() -> None:
    assert len(BASE_KINDS) >= 40
    assert set(NAMED_BY_THE_SPEC) <= set(BASE_KINDS)
    assert set(BASE_KINDS) | set(HELD_OUT) == set(KINDS) and not set(BASE_KINDS) & set(HELD_OUT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_audible_finite_and_varied(kind: str) -> None:
    clips, _ = synthesise(kind, 3, torch.Generator().manual_seed(5))
    assert clips.shape == (3, NUM_SAMPLES) and clips.dtype == torch.float32
    assert torch.isfinite(clips).all()
    assert torch.allclose(clips.abs().amax(1), torch.ones(3), atol=1e-4)
    assert (clips.square().mean(1).sqrt() > 0.01).all(), "almost silent"
    normal = clips / clips.norm(dim=1, keepdim=True)
    assert (normal @ normal.T).fill_diagonal_(0).abs().max() < 0.9, "two clips are alike"


class MetaDraw(Draw):
    """Random numbers on the meta device, which has no generators."""

    def rand(self, *shape: int) -> torch.Tensor:
        return torch.rand(self.n, *shape, device=self.device)

    def noise(self, samples: int = NUM_SAMPLES) -> torch.Tensor:
        return torch.randn(self.n, samples, device=self.device)


def test_every_kind_is_made_on_the_device_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device refuses CPU tensors as a GPU does, so a machine without one can tell."""
    monkeypatch.setattr(corpus, "Draw", MetaDraw)
    monkeypatch.setattr(corpus, "trait_ends", lambda values: ["" for _ in range(len(values))])
    for kind in KINDS:
        clips, _ = synthesise(kind, 2, torch.Generator(), "meta")
        assert clips.device.type == "meta" and clips.shape == (2, NUM_SAMPLES), kind


def test_the_seed_decides_everything() -> None:
    one, two, other = batch(6, 3), batch(6, 3), batch(6, 4)
    assert torch.equal(one.waveforms, two.waveforms) and one.phrasings == two.phrasings
    assert not torch.equal(one.waveforms, other.waveforms)


@pytest.mark.parametrize("kind", ["train_horn", "dog_bark", "bird_song", "flute", "laser"])
def test_clips_called_low_are_lower_than_clips_called_high(kind: str) -> None:
    clips, attributes = synthesise(kind, 32, torch.Generator().manual_seed(1))
    pitch = centroid_hz(clips)
    low = pitch[[i for i, a in enumerate(attributes) if "pitch-low" in a]]
    high = pitch[[i for i, a in enumerate(attributes) if "pitch-high" in a]]
    assert low.median() < high.median()


def test_distant_clips_are_duller_than_close_ones() -> None:
    clips = batch(80, 2, ["keyboard_typing"], relations=[("single", 1.0)])
    near = [i for i, a in enumerate(clips.attributes) if "distant" not in a]
    far = [i for i, a in enumerate(clips.attributes) if "distant" in a]
    pitch = centroid_hz(clips.waveforms)
    assert pitch[far].median() < 0.6 * pitch[near].median()


def test_a_sequence_keeps_the_order_of_its_caption() -> None:
    """A kick drum (low) and a bird (high): the half that a caption names first sounds first."""
    clips = batch(8, 1, ["kick_drum", "bird_song"], relations=[("sequence", 1.0)])
    first, second = clips.waveforms[:, : int(1.9 * SAMPLE_RATE)], clips.waveforms[:, int(3.1 * SAMPLE_RATE) :]
    for kinds, early, late in zip(clips.kinds, centroid_hz(first), centroid_hz(second), strict=True):
        if kinds == ("kick_drum", "bird_song"):
            assert early < 1000 < late
        elif kinds == ("bird_song", "kick_drum"):
            assert late < 1000 < early
    for said, kinds in zip(clips.captions, clips.kinds, strict=True):
        drum, bird = "drum", "bird"
        names = (drum, bird) if kinds[0] == "kick_drum" else (bird, drum)
        assert said.index(names[0]) < said.index(names[1])


def test_captions_say_the_attributes() -> None:
    rng = random.Random(0)
    said = {single(KINDS["train_horn"], ("distant", "pitch-low"), rng) for _ in range(40)}
    assert "a distant, low train horn" in said
    assert all("distan" in s and ("low" in s or "deep" in s) for s in said)
    assert "a dog barks, then a siren passes" in {
        pair(KINDS["dog_bark"], KINDS["siren"], "sequence", rng) for _ in range(60)
    }
    assert len(batch(1, 0, captions=4).phrasings[0]) == 4


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="'unicorn' is not a kind"):
        batch(1, 0, ["unicorn"])


def test_held_and_bent_like_a_hum() -> None:
    """Sounds as long as a breath, whose loudness and pitch are a hum's; the same from the same seed."""
    clips = sung(12, 5)
    assert clips.waveforms.shape == (12, NUM_SAMPLES) and torch.isfinite(clips.waveforms).all()
    assert torch.equal(clips.waveforms, sung(12, 5).waveforms)
    bent = 0
    for wave, (kind,), pitch in zip(clips.waveforms, clips.kinds, clips.pitch, strict=True):
        own = measure(Clip(wave[None], SAMPLE_RATE), ("loudness", "pitch"), 62.5, quick=True).values
        heard = own["loudness"] > own["loudness"].max() - 25
        assert heard.mean() > 0.4, f"{kind} ends early"
        voiced = own["pitch"][heard & (own["pitch"] > 0)]
        bent += (
            kind != "siren" and len(voiced) > 100 and np.ptp(np.log2(np.percentile(voiced, [10, 90]))) > 0.15
        )
        assert pitch.isnan().all() or kind == "car_horn"
    assert bent >= 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.hertz], ids=lambda kind: kind.name)
def test_kinds_lie_where_their_table_says(kind: Kind) -> None:
    clips, _ = synthesise(kind.name, 8, torch.Generator().manual_seed(3))
    middles = []
    for clip in clips[:, : 3 * SAMPLE_RATE]:
        if kind.name == "train_horn":  # a chord, which has no pitch: its lowest horn
            power = torch.fft.rfft(clip).abs().square()[: 3 * 2000]  # up to 2 kHz
            middles.append(float((power > power.max() / 30).nonzero()[0]) / 3)
            continue
        pitch = measure(Clip(clip[None], SAMPLE_RATE), ("pitch",), quick=True).values["pitch"]
        middles += [float(np.median(pitch[pitch > 0]))] if (pitch > 0).any() else []
    assert kind.hertz is not None and kind.hertz[0] <= np.median(middles) <= kind.hertz[1]
