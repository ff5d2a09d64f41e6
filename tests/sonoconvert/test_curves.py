"""Curves: what is free stays free, rates, text, tables, MIDI, videos, and what is measured of sounds."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sonoconvert.curves.curves import Curves, chroma_and_octave, hertz_of, sketched
from sonoconvert.curves.fit import brighter_and_darker, louder_and_softer, semitones_apart
from sonoconvert.curves.measure import measure
from sonoconvert.curves.midi import midi_curves, read_midi
from sonoconvert.curves.onsets import onsets
from sonoconvert.curves.plot import plot_curves
from sonoconvert.curves.points import adsr, parse_points, preset
from sonoconvert.curves.pyin import pyin
from sonoconvert.curves.reading import curves_in, read_curves
from sonoconvert.curves.tables import read_csv, write_csv
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip

RATE = 32_000


@pytest.fixture(scope="module")
def glide() -> Clip:
    """A tone with overtones from 220 to 440 Hz over 2 s, 20 dB quieter in its second half, then silence."""
    t = torch.arange(2 * RATE) / RATE
    hertz = 220 * 2 ** (t / 2)
    phase = 2 * math.pi * torch.cumsum(hertz, 0) / RATE
    wave = sum(torch.sin(k * phase) / k for k in (1, 2, 3, 4)) * 0.2
    wave = torch.where(t < 1, wave, wave * 0.1)
    return Clip(torch.cat([wave, torch.zeros(RATE)])[None].float(), RATE)


@pytest.fixture(scope="module")
def measured(glide: Clip) -> Curves:
    return measure(glide)


def test_a_glide_is_measured_in_time_pitch_and_level(measured: Curves) -> None:
    assert measured.rate == 62.5 and measured.frames == 188
    pitch, loudness = measured.values["pitch"], measured.values["loudness"]
    times = np.arange(measured.frames) / 62.5
    inside = (times > 0.1) & (times < 1.9)
    cents = 1200 * np.log2(pitch[inside] / (220 * 2 ** (times[inside] / 2)))
    assert np.median(np.abs(cents)) < 15 and np.mean(np.abs(cents) < 50) > 0.95
    assert (pitch[times > 2.1] == 0).all()  # silence has no pitch; it is not a note, and not free
    assert loudness[30] - loudness[90] == pytest.approx(20, abs=0.5)
    rms = 0.2 * math.sqrt((1 + 1 / 4 + 1 / 9 + 1 / 16) / 2)
    assert loudness[30] == pytest.approx(20 * math.log10(rms), abs=0.3)
    assert np.isnan(measured.values["brightness"][-20:]).all()
    assert 300 < measured.values["brightness"][30] < 900


def test_pitch_and_onsets_equal_librosas(repository: Path) -> None:
    import librosa

    folder = repository / "extensions/comfyui/sonopaint_comfyui/examples"
    noise = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(4))
    steps = torch.tensor([220.0, 440, 330, 880, 110, 1500]).repeat_interleave(RATE // 2)  # semitones at once
    melody = 0.3 * torch.sin(2 * math.pi * steps.cumsum(0) / RATE)[None]
    clips = [Clip(wave, RATE) for wave in (torch.zeros(1, RATE), noise, melody)]
    for clip in [*clips, *(read_clip(folder / name).mono() for name in ("humming.ogg", "horse_hooves.ogg"))]:
        wave = clip.resampled(16_000).waveform[0].numpy()
        theirs, _, _ = librosa.pyin(
            wave, fmin=65.0, fmax=2093.0, sr=16_000, frame_length=1024, hop_length=256,
            resolution=0.2, fill_na=0.0,
        )  # fmt: skip
        ours = pyin(wave, 16_000, 65.0, 2093.0, 1024, 256)
        assert len(ours) == len(theirs) and np.mean(np.isclose(ours, theirs)) > 0.98  # they round to float32
        wave = clip.resampled(32_000).waveform[0].numpy()
        times = librosa.onset.onset_detect(y=wave, sr=32_000, hop_length=256, units="time")
        np.testing.assert_allclose(onsets(clip), times)


def test_the_quick_pitch_agrees_with_pyin(glide: Clip, measured: Curves) -> None:
    quick, slow = measure(glide, ("pitch",), quick=True).values["pitch"], measured.values["pitch"]
    both = (quick > 0) & (slow > 0)
    assert np.mean((quick > 0) == (slow > 0)) > 0.95
    assert np.median(np.abs(1200 * np.log2(quick[both] / slow[both]))) < 20


def test_clicks_are_onsets_where_they_are() -> None:
    wave = torch.zeros(2 * RATE)
    generator = torch.Generator().manual_seed(0)
    for second in (0.5, 1.0, 1.5):
        first = round(second * RATE)
        burst = torch.randn(3200, generator=generator) * torch.linspace(1, 0, 3200)
        wave[first : first + 3200] = 0.3 * burst
    curves = measure(Clip(wave[None], RATE), ("onsets", "pitch"))
    found = np.flatnonzero(curves.values["onsets"]) / 62.5
    assert len(found) == 3 and np.abs(found - [0.5, 1.0, 1.5]).max() < 0.05


def test_a_sound_without_pitch_says_so() -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    curves = measure(Clip(noise, RATE), ("pitch", "chroma"))
    assert np.mean(curves.values["pitch"] > 0) < 0.1
    silent = measure(Clip(torch.zeros(1, RATE), RATE))
    assert (silent.values["pitch"] == 0).all() and "No pitch" in silent.notes[0]
    with pytest.raises(SonopaintError, match="can't be measured"):
        measure(Clip(noise, RATE), ("velocity",))


def test_other_rates_keep_what_is_free_and_what_has_no_pitch() -> None:
    pitch = np.array([220, 220, 0, 0, 440, 440, np.nan, np.nan], np.float32)
    onsets = np.array([0, 1, 0, 0, 0, 0, 1, 0], np.float32)
    curves = Curves(8.0, {"pitch": pitch, "onsets": onsets})
    finer = curves.at(16.0, 20)
    assert set(np.unique(np.rint(finer.values["pitch"][:11]))) == {0.0, 220.0, 440.0}  # nothing in between
    assert np.isnan(finer.values["pitch"][13:]).all()  # free, and behind the end
    assert finer.values["onsets"][:16].sum() == 2  # a moment stays one moment
    coarser = curves.at(4.0, 4)
    assert np.rint(coarser.values["pitch"][:3]).tolist() == [220, 220, 440]  # half of it has a pitch
    assert coarser.values["onsets"].sum() == 2
    there_and_back = Curves(62.5, {"loudness": np.linspace(-60, 0, 320, dtype=np.float32)})
    assert np.abs(there_and_back.at(7.8125, 40).at(62.5, 320).values["loudness"][8:300]
                  - there_and_back.values["loudness"][8:300]).max() < 1.0  # fmt: skip


def test_points_are_straight_lines_between_and_free_where_said() -> None:
    loudness = parse_points("loudness", "0:-60 0.3:-12 2:-20 3:free", 5).values["loudness"]
    at = lambda second: float(loudness[round(second * 62.5)])  # noqa: E731
    assert (
        at(0) == -60 and at(0.304) == pytest.approx(-12, abs=0.1) and at(1.152) == pytest.approx(-16, abs=0.1)
    )
    assert at(2.5) == -20 and math.isnan(at(3.1)) and len(loudness) == 312
    pitch = parse_points("pitch", "0,5:A4 1:A5 2:off", 3).values["pitch"]
    assert math.isnan(pitch[10]) and pitch[32] == pytest.approx(445.8, abs=10)
    assert pitch[47] == pytest.approx(440 * 2**0.504, rel=0.01) and pitch[-1] == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("loudness", "0:-60 0:40", "out of range"),
        ("pitch", "0:30000", "20 to 8000 Hz"),
        ("loudness", "1:-6 0.5:-12", "sort them"),
        ("loudness", "loud", "seconds:value"),
        ("loudness", "0:nan", "numbers"),
        ("loudness", "", "no points"),
        ("loudness", "0:off", "can't be off"),
        ("colour", "0:1", "no curve 'colour'"),
    ],
)
def test_bad_points_are_refused_with_a_sentence(name: str, text: str, message: str) -> None:
    with pytest.raises(SonopaintError, match=message):
        parse_points(name, text)


def test_presets_and_adsr() -> None:
    swell = preset("swell", 4.0).values["loudness"]
    assert swell.argmax() == pytest.approx(125, abs=1) and swell.max() == -12
    held = adsr(0.1, 0.4, -8, 0.5, 3.0).values["loudness"]
    assert held[round(1.5 * 62.5)] == pytest.approx(-20) and held.max() == pytest.approx(-12, abs=0.5)
    with pytest.raises(SonopaintError, match="must fit"):
        adsr(2, 2, -8, 2, 3.0)


def test_chroma_and_octave_know_silence_from_c() -> None:
    pitch = np.array([0, 261.6256, 440, np.nan], np.float32)
    both = chroma_and_octave(pitch)
    assert both["chroma"][:3] == pytest.approx([-1, 0, 9], abs=0.01)
    assert both["octave"][:3].tolist() == [-1, 4, 4]
    assert np.isnan(both["chroma"][3])
    assert hertz_of(both["chroma"], both["octave"])[:3] == pytest.approx([0, 261.6256, 440], rel=1e-3)


def test_sketching_smooths_but_frees_and_silences_nothing(measured: Curves) -> None:
    drawn = sketched(measured, np.random.default_rng(3))
    for name in measured.names:
        assert np.array_equal(np.isnan(drawn.values[name]), np.isnan(measured.values[name]))
    assert set(np.flatnonzero(drawn.values["onsets"])) == set(np.flatnonzero(measured.values["onsets"]))
    assert np.corrcoef(drawn.values["loudness"], measured.values["loudness"])[0, 1] > 0.9


def test_tables_go_there_and_back_and_forgive_commas(tmp_path: Path, measured: Curves) -> None:
    write_csv(measured, tmp_path / "a.csv")
    back = read_csv(tmp_path / "a.csv")
    assert back.names == measured.names and back.frames == measured.frames
    for name in ("loudness", "pitch", "onsets"):
        assert back.values[name] == pytest.approx(measured.values[name], rel=1e-3, abs=1e-3, nan_ok=True)
    (tmp_path / "b.csv").write_text(
        "Zeit;Loudness (dB);pitch_hz\n0,0;-60,5;220\n1,0;-12,5;\n", encoding="utf-8-sig"
    )
    other = read_csv(tmp_path / "b.csv")
    assert other.values["loudness"][31] == pytest.approx(-60.5 + 48 * 0.496, abs=0.1)
    assert other.values["pitch"][5] == 220 and np.isnan(other.values["pitch"][-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,loudness\n1,-6\n0,-6\n", "rise"),
        ("1,2\n3,4\n", "first row must name"),
        ("time,loudness\n0,loud\n", "no number"),
        ("time,loudness\n0,1e400\n", "'1e400', which is no number"),
        ("time,loudness\n0," + "1" * 200_000 + "\n", "no table of curves.*larger than"),
        ("time," + "x" * 3000 + "\n0,1\n", "no curve 'x{40}';"),
        ("time,loudness\n0,40\n", "can be from"),
        ("time,loudness\n", "no curves"),
        ("time,loudness\n0,-6\n99999,-6\n", "an hour"),
    ],
)
def test_bad_tables_are_refused_with_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(SonopaintError, match=message):
        read_csv(tmp_path / "bad.csv")


def midi(events: bytes, division: int = 480) -> bytes:
    track = events + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHh", 6, 0, 1, division) + b"MTrk" + struct.pack(">I", len(track)) + track


def test_midi_notes_become_curves(tmp_path: Path) -> None:
    # 120 beats a minute: A4 for half a second, then C5 with running status, both at velocity 127 and 64
    events = b"\x00\x90\x45\x7f\x83\x60\x80\x45\x00\x00\x90\x48\x40\x83\x60\x48\x00"
    path = tmp_path / "tune.mid"
    path.write_bytes(midi(events))
    notes = read_midi(path)
    assert [(n.start_s, n.end_s, n.number) for n in notes] == [(0.0, 0.5, 69), (0.5, 1.0, 72)]
    curves = read_curves(path)
    assert curves.values["pitch"][[5, 40]] == pytest.approx([440, 523.25], rel=1e-4)
    assert np.flatnonzero(curves.values["onsets"]).tolist() == [0, 31]
    assert curves.values["loudness"][[5, 40]] == pytest.approx([0, -11.9], abs=0.1)
    assert curves.values["chroma"][40] == pytest.approx(0, abs=0.01) and curves.values["octave"][40] == 5


def test_midi_with_chords_with_nothing_and_with_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(midi(b"\x00\x90\x3c\x7f\x00\x90\x43\x7f\x83\x60\x80\x3c\x00\x00\x80\x43\x00"))
    chord = midi_curves(read_midi(path))
    assert chord.values["pitch"][3] == pytest.approx(392, abs=0.1) and "highest" in chord.notes[0]
    assert "moved by octaves" in midi_curves(read_midi(path), low=72, high=84).notes[-1]
    path.write_bytes(midi(b""))
    with pytest.raises(SonopaintError, match="no notes"):
        read_curves(path)
    path.write_bytes(b"RIFF nonsense")
    with pytest.raises(SonopaintError, match="no MIDI file"):
        read_midi(path)
    path.write_bytes(midi(b"\x00\x90\x45\x7f\x83\x60\x80\x45\x00")[:-8])  # cut off: the note lasts to the end
    assert len(read_midi(path)) <= 1


def test_curves_ride_along_in_a_sounds_settings(tmp_path: Path, measured: Curves) -> None:
    clip = Clip(torch.zeros(1, 320), RATE, {"curves": measured.to_dict()})
    write_clip(clip, tmp_path / "a.wav")
    back = curves_in(read_clip(tmp_path / "a.wav").settings)
    assert back is not None and back.names == measured.names
    assert back.values["loudness"] == pytest.approx(measured.values["loudness"], rel=1e-3)
    assert np.array_equal(np.isnan(back.values["brightness"]), np.isnan(measured.values["brightness"]))
    assert curves_in({}) is None
    with pytest.raises(SonopaintError, match="no curves"):
        Curves.from_dict({"rate": "x"})


def test_wrong_values_are_refused() -> None:
    with pytest.raises(SonopaintError, match="equally many"):
        Curves(10, {"loudness": np.zeros(3), "onsets": np.zeros(4)})
    with pytest.raises(SonopaintError, match="can be from"):
        Curves(10, {"loudness": np.array([0, np.inf])})
    assert Curves(10, {"loudness": np.full(3, np.nan)}).is_free


def test_a_drawing_has_a_lane_for_each_curve(tmp_path: Path, measured: Curves) -> None:
    image = plot_curves(measured, measured.part(0, 1), path=tmp_path / "a.png")
    assert image.size[1] > 4 * 110 and (tmp_path / "a.png").is_file()
    colours = {colour for _, colour in image.getcolors(1 << 20) or []}
    assert {(183, 55, 121), (40, 120, 190)} <= colours


def test_parts_and_joins(measured: Curves) -> None:
    part = measured.part(-0.5, 1.0)
    assert np.isnan(part.values["pitch"][:31]).all() and part.frames == 62
    joined = part.only(["loudness"]).joined(parse_points("pitch", "0:A4", 2))
    assert joined.names == ("loudness", "pitch") and joined.frames == 125
    with pytest.raises(SonopaintError, match="no onsets here"):
        joined.only(["onsets"])


def test_motion_in_a_video_gives_loudness_and_moments(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    from sonoconvert.curves.video import put_under

    path = tmp_path / "steps.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        x = 0
        for k in range(50):
            x += 12 if k in (12, 37) else 0
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[20:44, x : x + 24] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    curves = read_curves(path)
    marks = np.flatnonzero(curves.values["onsets"]) / curves.rate
    assert len(marks) == 2 and np.abs(marks - [12 / 25, 37 / 25]).max() < 0.06
    assert curves.values["loudness"][round(12 / 25 * 62.5)] > -10 and curves.values["loudness"][10] < -30
    put_under(path, Clip(torch.rand(1, 2 * RATE) - 0.5, RATE), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert len(made.streams.video) == 1 and len(made.streams.audio) == 1
    still = tmp_path / "still.mp4"
    with av.open(str(still), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            ):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    with pytest.raises(SonopaintError, match="Nothing moves"):
        read_curves(still)


def test_the_command_line(tmp_path: Path, glide: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    from sonoconvert.cli import main

    write_clip(glide, tmp_path / "in.wav")
    arguments = [
        "curves",
        str(tmp_path / "in.wav"),
        "-o",
        str(tmp_path / "out.csv"),
        "--follow",
        "loudness,pitch",
    ]
    assert main([*arguments, "--plot", str(tmp_path / "out.png"), "--rate", "10"]) == 0
    assert read_csv(tmp_path / "out.csv", 10).names == ("loudness", "pitch")
    assert main(["curves", str(tmp_path / "nothing.wav")]) == 2
    assert "no file" in capsys.readouterr().err


def test_a_slow_curve_leaves_the_strokes_of_a_sound_alone() -> None:
    """Footsteps on a drawn loudness become louder and softer; between them it stays quiet."""
    rate = 32_000
    times = np.arange(5 * rate) / rate
    strokes = np.random.default_rng(0).standard_normal(len(times)) * np.exp(-20 * (times % 0.5)) * 0.2
    clip = Clip(torch.from_numpy(strokes.astype(np.float32))[None], rate)
    asked = parse_points("loudness", "0:-40 2.5:-6 5:-40", 5.0)
    made = (
        measure(louder_and_softer(clip, asked), ("loudness",), 50.0).values["loudness"][:250].reshape(10, 25)
    )
    wanted = asked.at(50.0, 250).values["loudness"].reshape(10, 25)
    louder = made.max(1) - wanted[:, 0]  # strokes are loudest where they begin
    assert np.ptp(louder) < 4  # of strokes that were equally loud, over a curve of 34 dB
    assert (made.max(1) - made.min(1) > 40).all()


def test_the_quiet_between_rare_strokes_is_not_turned_up() -> None:
    rate = 16_000
    times = np.arange(5 * rate) / rate
    rng = np.random.default_rng(0)
    strokes = rng.standard_normal(len(times)) * np.exp(-20 * (times % 1.25)) * 0.3
    hiss = rng.standard_normal(len(times)) * 0.3 * 10 ** (-50 / 20)
    clip = Clip(torch.from_numpy((strokes + hiss).astype(np.float32))[None], rate)
    ridden = louder_and_softer(clip, parse_points("loudness", "0:-30 2.5:-6 5:-30", 5.0))
    before, after = (measure(c, ("loudness",), 50.0).values["loudness"] for c in (clip, ridden))
    quiet = before < before.max() - 48
    rise = (after - before)[quiet]
    assert len(rise) > 50 and np.median(rise) < 3 and rise.max() < 8


def test_a_sound_keeps_its_octave() -> None:
    """A whistle two octaves above a voice is bent to the voice's notes there, not pulled down."""
    rate = 32_000
    times = np.arange(3 * rate) / rate
    whistle = Clip(torch.from_numpy(0.3 * np.sin(2 * np.pi * 1000 * times).astype(np.float32))[None], rate)
    apart = semitones_apart(whistle, parse_points("pitch", "0:220 3:262", 3.0))
    assert apart is not None
    wanted = 12 * np.log2(np.array([880, 1048]) / 1000)
    np.testing.assert_allclose(apart[[10, -10]], wanted, atol=0.3)


def test_a_pitch_within_reach_is_met_in_its_octave() -> None:
    rate = 32_000
    times = np.arange(2 * rate) / rate
    whistle = Clip(torch.from_numpy(0.3 * np.sin(2 * np.pi * 400 * times).astype(np.float32))[None], rate)
    apart = semitones_apart(whistle, parse_points("pitch", "0:220", 2.0))
    assert apart is not None
    np.testing.assert_allclose(apart[5:-5], 12 * np.log2(220 / 400), atol=0.3)


def test_a_warble_gives_way_to_the_curve() -> None:
    """A steady sound's own rise and fall is no row of strokes."""
    rate = 16_000
    times = np.arange(4 * rate) / rate
    warble = 10 ** (-0.5 * (np.sin(2 * np.pi * 1.3 * times) > 0.5))  # 10 dB down, for a quarter of a second
    noise = np.random.default_rng(0).standard_normal(len(times)) * 0.05 * warble
    asked = parse_points("loudness", "0:-6 2:-30 4:-6", 4.0)
    wanted = asked.at(50.0, 200).values["loudness"][10:190]
    ridden = louder_and_softer(Clip(torch.from_numpy(noise.astype(np.float32))[None], rate), asked)
    got = measure(ridden, ("loudness",), 50.0).values["loudness"][10:190]
    assert np.std(got - wanted) < 2.5  # 4.5 of the warble alone


def test_a_step_of_the_curve_is_a_step_of_the_sound() -> None:
    """What was loud before a step doesn't push down what follows it, on a curve that is flat elsewhere."""
    rate = 32_000
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    asked = Curves(50.0, {"loudness": np.repeat([0.0, -30.0], 50)})
    ridden = louder_and_softer(Clip(torch.from_numpy(noise)[None], rate), asked)
    got = measure(ridden, ("loudness",), 50.0).values["loudness"]
    assert got[5:45].mean() - got[54:95].mean() == pytest.approx(30, abs=1)
    assert np.ptp(got[54:95]) < 4 and np.ptp(got[5:46]) < 4


def test_brightness_is_brought_to_its_curve_at_the_same_level() -> None:
    """Noise gets darker and then bright, where that is asked; before and behind it stays the noise it was."""
    rate = 32_000
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * rate).astype(np.float32)
    noise[3 * rate + rate // 2 :] = 0.0
    clip = Clip(torch.from_numpy(noise)[None], rate)
    asked = parse_points("brightness", "0:free 1:1500 2:6000 3:free", 4.0)
    made = brighter_and_darker(clip, asked)
    assert torch.allclose(made.waveform[0, : int(0.9 * rate)], clip.waveform[0, : int(0.9 * rate)], atol=1e-5)
    assert not made.waveform[0, int(3.6 * rate) :].any()
    got, before = (measure(c, ("loudness", "brightness"), 50.0).values for c in (made, clip))
    wanted = asked.at(50.0, 200).values["brightness"][55:145]
    smooth = np.convolve(
        got["brightness"], np.ones(9) / 9, "same"
    )  # noise has a centroid of its own each moment
    np.testing.assert_allclose(smooth[60:145], wanted[5:], rtol=0.12)
    np.testing.assert_allclose(got["loudness"][55:145], before["loudness"][55:145], atol=2.5)
