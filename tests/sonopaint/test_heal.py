"""Healing: each classic on what it is best at, what stays, what is found, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.cli import main
from sonopaint.heal import heal as heal_module
from sonopaint.heal import whole as whole_module
from sonopaint.heal.copying import copied
from sonopaint.heal.declip import ceiling_of, declipped
from sonopaint.heal.detect import find
from sonopaint.heal.files import heal_file
from sonopaint.heal.heal import METHODS, HealSettings, heal
from sonopaint.heal.linear import interpolated, joined, predicted, sampled
from sonopaint.heal.marks import Mark, marks_of, merged
from sonopaint.heal.whole import declip, extend_band
from sonopaint.models.bridge import Bridge
from sonopaint.models.bridge_network import BridgeNetwork

RATE = 16_000
SPEECH = Path(__file__).parent.parent / "fixtures" / "speech.flac"


@pytest.fixture(autouse=True)
def small_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge of these tests is small and has learnt nothing."""
    torch.manual_seed(0)
    bridge = Bridge([BridgeNetwork((8, 8, 8), 1)])
    monkeypatch.setattr(heal_module, "load", lambda: bridge)
    monkeypatch.setattr(whole_module, "load", lambda: None)  # bands are copied up


def chord(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * t + hertz) / 6 for hertz in (220, 331, 495, 1234))
    return tones + 1e-4 * np.random.default_rng(0).standard_normal(len(t))


def noise(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))


def clip_of(*rows: np.ndarray, rate: int = RATE) -> Clip:
    return Clip(torch.from_numpy(np.stack(rows).astype(np.float32)), rate)


def error_db(made: np.ndarray, true: np.ndarray) -> float:
    return float(10 * np.log10(np.sum((made - true) ** 2) / np.sum(true**2)))


@pytest.mark.parametrize("milliseconds", [2, 10, 30])
def test_tones_are_interpolated_through_a_gap(milliseconds: int) -> None:
    sound, start, count = chord(), 12_000, milliseconds * RATE // 1000
    sides = sound[:start], sound[start + count :], count
    true = sound[start : start + count]
    assert error_db(interpolated(*sides), true) < -40
    assert error_db(predicted(*sides), true) < -40


def test_noise_goes_on_as_loud_and_as_coloured_as_it_was() -> None:
    """Where a prediction dies away, the process does not: level and lows stay."""
    from scipy.signal import lfilter

    sound = lfilter([1], [1, -0.9], noise(4))
    start, count = 20_000, 16_000
    sides = sound[:start], sound[start + count :], count
    made = sampled(*sides, RATE, np.random.default_rng(3))
    assert abs(20 * np.log10(made.std() / sound.std())) < 1.5
    power = np.abs(np.fft.rfft(made)) ** 2
    low = power[: len(power) // 8].sum() / power.sum()
    true = np.abs(np.fft.rfft(sound)) ** 2
    assert abs(low - true[: len(true) // 8].sum() / true.sum()) < 0.05
    assert predicted(*sides)[count // 3 : -count // 3].std() < 0.1 * sound.std()


def test_the_level_goes_from_one_side_to_the_other_along_decibels() -> None:
    sound = noise(3) * np.repeat([1.0, 0.01], [24_000, 24_000])
    made = sampled(sound[:20_000], sound[28_000:], 8000, RATE, np.random.default_rng(0))
    levels = [20 * np.log10(part.std() / 0.1) for part in np.split(made, 4)]
    assert np.allclose(levels, [-5, -15, -25, -35], atol=2.5)


def test_what_repeats_is_copied_where_it_fits() -> None:
    beat = np.concatenate([noise(0.25) * np.exp(-np.arange(4000) / 400), chord(0.25)])
    sound = np.tile(beat, 6)
    made, fit = copied(sound, 17_000, 20_000, RATE)
    assert made is not None and fit > 0.99
    assert error_db(made, sound[17_000:20_000]) < -40
    broken = np.ones(len(sound), bool)
    broken[16_000:21_000] = False
    assert copied(sound, 17_000, 20_000, RATE, broken=broken) == (None, 0.0)


def test_no_seam_jumps() -> None:
    sound = chord()
    made = joined(sound[:8000], sound[9000:], np.zeros(1000), RATE)
    assert abs(made[0] - sound[8000]) < 0.05 and abs(made[-1] - sound[8999]) < 0.05
    assert np.abs(made[200:-200]).max() == 0


@pytest.mark.parametrize("decibels", [-6, -12])
def test_clipped_peaks_come_back(decibels: int) -> None:
    sound = chord()
    ceiling = np.abs(sound).max() * 10 ** (decibels / 20)
    clipped = np.clip(sound, -ceiling, ceiling)
    found = ceiling_of(clipped)
    assert found == pytest.approx(ceiling, rel=2e-3)
    made = declipped(clipped, found)
    held = np.abs(clipped) < found
    assert np.array_equal(made[held], clipped[held])
    assert (np.abs(made[~held]) >= 0.999 * found).all()
    assert error_db(made, sound) < error_db(clipped, sound) - 15
    assert ceiling_of(sound) is None and ceiling_of(noise()) is None


@pytest.mark.parametrize("method", METHODS)
def test_outside_the_marks_not_one_sample_changes(method: str) -> None:
    clip = clip_of(chord() + noise(), noise())
    marks = [Mark(5000, 6600), Mark(20_000, 23_000, 1000, 4000), Mark(29_000, 29_100, channels=(1,))]
    healed = heal(clip, marks, HealSettings(method, seed=3, steps=2)).clip.waveform
    changed = healed != clip.waveform
    kept = torch.ones_like(changed)
    kept[:, 5000:6600] = kept[:, 20_000:23_000] = kept[1, 29_000:29_100] = False
    assert not changed[kept].any() and torch.isfinite(healed).all()
    assert changed[:, 5000:6600].float().mean() > 0.9


@pytest.mark.parametrize("method", ["bridge", "continue"])
def test_a_seed_gives_the_same_take_and_another_seed_another(method: str) -> None:
    clip, marks = clip_of(noise()), [Mark(10_000, 14_000)]
    takes = [heal(clip, marks, HealSettings(method, seed, 2)).clip.waveform for seed in (1, 1, 2)]
    assert torch.equal(takes[0], takes[1]) and not torch.equal(takes[0], takes[2])


def test_a_band_is_healed_and_what_is_above_and_below_it_stays_nearly() -> None:
    """A whistle over a chord: it goes, and the chord beside it keeps its level."""
    sound, t = chord(), np.arange(2 * RATE) / RATE
    whistle = np.where((t > 0.8) & (t < 1.1), 0.3 * np.sin(2 * np.pi * 3000 * t), 0)
    mark = Mark(round(0.78 * RATE), round(1.12 * RATE), 2500, 3500)
    made = heal(clip_of(sound + whistle), [mark], HealSettings("continue")).clip.waveform[0].numpy()
    part = slice(round(0.85 * RATE), round(1.05 * RATE))
    assert error_db(made[part], sound[part]) < -25


def test_a_broken_channel_is_taken_from_the_other() -> None:
    left = chord() + noise()
    right = 0.5 * np.roll(left, 3)
    broken = right.copy()
    broken[12_000:16_000] = 0
    for marks in ([Mark(12_000, 16_000)], [Mark(12_000, 16_000, channels=(1,))]):
        healed = heal(clip_of(left, broken), marks)
        made = healed.clip.waveform.numpy()
        assert error_db(made[1, 12_000:16_000], right[12_000:16_000]) < -30
        assert healed.done[0][1] == "other channel" or len(marks) == 1
    assert np.array_equal(made[0], left.astype(np.float32))


def test_clicks_and_dropouts_are_found_and_healed() -> None:
    sound, rng = chord(4) + 0.01 * noise(4), np.random.default_rng(4)
    damaged = sound.copy()
    places = [7000, 15_000, 30_011, 41_000, 52_345]
    for place in places:
        damaged[place : place + int(rng.integers(1, 20))] += 0.4
    damaged[60_000:60_500] = 0
    clip = clip_of(damaged)
    found = find(clip)
    assert [mark.why for mark in found] == ["click"] * 5 + ["dropout"]
    for mark, place in zip(found, [*places, 60_000], strict=True):
        assert place - 8 <= mark.start <= place < mark.stop
    made = heal(clip, found).clip.waveform[0].numpy()
    assert error_db(made, sound) < -30
    assert find(clip_of(sound)) == []


def test_clicks_in_loud_vowels_are_found() -> None:
    """Less than half as loud as the voice's own peaks, among its pulses."""
    clip = read_clip(SPEECH)
    sound, rate = clip.waveform[0].double().numpy(), clip.sample_rate
    level = np.sqrt(np.convolve(sound**2, np.ones(rate // 50) * 50 / rate, "same"))
    loud = np.flatnonzero(level > 0.6 * level.max())
    places = [int(loud[len(loud) * part // 8]) for part in range(1, 8)]
    places = [place for number, place in enumerate(places) if place - places[number - 1] > 1500 or not number]
    assert len(places) >= 4
    clicked = sound.copy()
    for number, place in enumerate(places):
        peak = np.abs(sound[place - rate // 100 : place + rate // 100]).max()
        clicked[place : place + 3] += np.array([0.4, -0.4, 0.2]) * peak * (-1) ** number
    found = find(clip_of(clicked, rate=rate))
    hit = [any(mark.start - 4 <= place < mark.stop + 4 for mark in found) for place in places]
    assert sum(hit) >= len(places) - 1 and len(found) <= len(places) + 1


def test_speech_that_is_whole_is_left_alone() -> None:
    assert find(read_clip(SPEECH)) == []


def test_takes_of_regions_and_brushes() -> None:
    clip = clip_of(chord())
    boxes = Region((Box(0.5, 0.7), Box(1.0, 1.2, 200, 4000)))
    assert [(m.start, m.stop, m.low_hz, m.high_hz) for m in marks_of(boxes, clip)] == [
        (8000, 11_200, None, None),
        (16_000, 19_200, 200, 4000),
    ]
    brush = np.zeros((40, 100))
    brush[:, 20:30] = brush[10:20, 60:70] = 1
    whole, patch = marks_of(Region(brush=brush), clip)
    assert abs(whole.start - 6400) < 500 and abs(whole.stop - 9600) < 500 and whole.low_hz is None
    assert abs(patch.start - 19_200) < 500 and patch.low_hz is not None
    assert merged([Mark(0, 10), Mark(5, 20), Mark(25, 30)], RATE) == [Mark(0, 30)]


def test_a_band_is_added_above_a_cut_off() -> None:
    from scipy.signal import firwin, lfilter

    sound = noise(3, 32_000)
    dull = lfilter(firwin(255, 4000, fs=32_000), 1, sound)
    made = extend_band(clip_of(dull, rate=32_000), 4200, HealSettings(steps=1)).clip
    power = np.abs(np.fft.rfft(made.waveform[0].numpy())) ** 2
    hertz = np.fft.rfftfreq(made.num_samples, 1 / 32_000)
    true = np.abs(np.fft.rfft(dull)) ** 2
    low = hertz < 3900
    assert power[low].sum() == pytest.approx(true[low].sum(), rel=0.02)
    assert power[(hertz > 5000) & (hertz < 8000)].sum() > 0.1 * power[low].sum()


def test_a_telephone_s_rate_makes_room_first() -> None:
    made = extend_band(clip_of(noise(1, 8000), rate=8000), 3400, HealSettings(steps=1))
    assert made.clip.sample_rate == 32_000 and "no room" in made.notes[0]
    eight = heal(clip_of(chord(2, 8000), rate=8000), [Mark(8000, 8800)], HealSettings("bridge", steps=1))
    assert eight.clip.sample_rate == 8000


def test_bad_input_is_told() -> None:
    clip = clip_of(chord())
    with pytest.raises(SonopaintError, match="Nothing is marked"):
        heal(clip, [])
    with pytest.raises(SonopaintError, match="The whole clip is marked"):
        heal(clip, [Mark(0, 20_000), Mark(19_000, 40_000)])
    with pytest.raises(SonopaintError, match="lies outside the clip"):
        marks_of(Region((Box(5.0, 6.0),)), clip)
    with pytest.raises(SonopaintError, match="must be one of auto"):
        HealSettings("magic")
    with pytest.raises(SonopaintError, match="Nothing is clipped"):
        declip(clip)
    with pytest.raises(SonopaintError, match="bandwidth must be"):
        extend_band(clip, 30_000)


def test_silence_around_a_mark_stays_silence_and_is_told() -> None:
    sound = np.zeros(2 * RATE)
    sound[16_000:16_800] = 0.5
    healed = heal(clip_of(sound), [Mark(16_000, 16_800)])
    assert float(healed.clip.waveform.abs().max()) == 0 and "silence" in healed.notes[0]


def test_a_mark_longer_than_the_bridge_is_told() -> None:
    healed = heal(clip_of(noise(6)), [Mark(30_000, 60_000)], HealSettings("bridge"))
    assert healed.done[0][1] in ("continue", "copy") and "longer than the bridge" in healed.notes[0]
    assert float(healed.clip.waveform[0, 30_000:60_000].std()) == pytest.approx(0.1, rel=0.2)


def test_within_one_mark_the_bar_moves_and_cancel_stops() -> None:
    clip, told = clip_of(chord() + noise(), noise()), list[float]()
    heal(clip, [Mark(12_000, 16_000)], HealSettings("auto"), progress=told.append)
    assert told == sorted(told) and told[0] == 0 and told[-1] == 1 and len(set(told)) > 8
    seen = 0

    def stop(share: float) -> None:
        nonlocal seen
        seen += 1
        if share > 0.2:
            raise Cancelled

    for method in ("auto", "bridge"):
        seen = 0
        with pytest.raises(Cancelled):
            heal(clip, [Mark(12_000, 16_000)], HealSettings(method), progress=stop)
        assert seen < len(told)


@pytest.mark.parametrize("start", [0, 28_000])
def test_marks_at_the_ends_are_healed_from_one_side(start: int) -> None:
    for method in METHODS:
        healed = heal(clip_of(chord() + noise()), [Mark(start, start + 4000)], HealSettings(method, steps=1))
        assert torch.isfinite(healed.clip.waveform).all()


def test_a_long_file_is_healed_in_parts_without_seams(tmp_path: Path) -> None:
    """50 s of 24 bits: the parts' marks are those of the whole, and the rest goes back to the bit."""
    import soundfile

    sound = np.tile(chord(2) + 0.01 * noise(2), 25) * 0.5
    integers = (sound * 2**23).astype(np.int32) << 8
    places = [30_000, 20 * RATE - 4, 20 * RATE + 9000, 40 * RATE, 49 * RATE]
    for place in places:
        integers[place : place + 9] += 1 << 29
    source, target = tmp_path / "long.wav", tmp_path / "healed.wav"
    soundfile.write(source, integers, RATE, subtype="PCM_24")
    done, _ = heal_file(source, target)
    assert [min(abs(mark.start - place) for place in places) < 20 for mark, _ in done] == [True] * 5
    made, subtype = soundfile.read(target, dtype="int32")[0], soundfile.info(target).subtype
    inside = np.zeros(len(made), bool)
    for mark, _ in done:
        inside[mark.start : mark.stop] = True
    assert subtype == "PCM_24" and np.array_equal(made[~inside], integers[~inside])
    assert error_db(made / 2.0**31, sound) < -30
    with pytest.raises(Cancelled):
        heal_file(source, tmp_path / "stopped.wav", progress=_stop)
    assert not (tmp_path / "stopped.wav").exists()


def _stop(share: float) -> None:
    if share > 0.3:
        raise Cancelled


def test_the_command_line_heals_lists_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = chord()
    sound[10_000:10_010] += 0.5
    source = tmp_path / "clicks.wav"
    write_clip(clip_of(sound), source)
    assert main(["heal", str(source), "--list"]) == 0
    assert "click" in capsys.readouterr().out
    out = tmp_path / "out.wav"
    assert main(["heal", str(source), "--auto", "--takes", "2", "--seed", "5", "-o", str(out)]) == 0
    healed = read_clip(tmp_path / "out-2.wav")
    assert healed.settings["task"] == "heal" and healed.settings["seed"] == 6
    assert main(["heal", str(source), "--region", "0.2:0.3", "--seed", "1", "-o", str(out)]) == 0
    assert (
        main(["heal", str(source), "--bandwidth", "4000", "--seed", "1", "-o", str(tmp_path / "b.wav")]) == 0
    )
    for wrong, said in (
        ([], "Say what to heal"),
        (["--region", "9:10"], "outside the clip"),
        (["--auto", "--region", "0.1:0.2"], "either --auto or regions"),
        (["--region", "0.1:0.2", "--method", "magic"], "--method must be one of"),
    ):
        assert main(["heal", str(source), *wrong, "-o", str(tmp_path / "w.wav")]) == 2
        assert said in capsys.readouterr().err
