"""Match and edit: synthesisers, metric, events, sheets, and that edits do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.cli import main
from sonopaint.match import draws
from sonopaint.match.analyser import Analyser, heard, load_analyser, sizes
from sonopaint.match.colour import BANDS, FRAMES, colour, coloured
from sonopaint.match.event import event_of
from sonopaint.match.matching import WORDS, match, siblings
from sonopaint.match.metric import (
    LONGEST_STEP,
    described,
    even_steps,
    jacobian,
    metric_of,
    secants,
    steps,
)
from sonopaint.match.sheet import Sheet, read_sheet
from sonopaint.match.synths import CORPUS, SYNTHS, get_synth

LIGHT = Scattering(q=6, pool=4)
BELL = get_synth("bell")


def _sheet(name: str = "bell", seconds: float = 2.0, **values: float) -> Sheet:
    synth = get_synth(name)
    return Sheet(synth, synth.values(synth.theta_of(values)), seconds)


# Synthesisers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SYNTHS))
def test_a_synth_sounds_all_over_its_ranges_and_every_knob_does_something(name: str) -> None:
    synth = SYNTHS[name]
    count = len(synth.parameters)
    assert 3 <= count <= 10
    ends = torch.cat([torch.zeros(1, count), torch.ones(1, count), synth.place(synth.defaults())[None]])
    sounds = synth.render(synth.theta(ends))
    assert sounds.shape == (3, synth.samples)
    assert bool(torch.isfinite(sounds).all())
    assert bool((sounds.abs().amax(1) > 1e-3).all())
    assert torch.equal(sounds, synth.render(synth.theta(ends)))  # the seed holds what is random
    place = synth.place(synth.defaults())[None]
    moved = secants(described(synth, LIGHT), place, steps(synth, 4.0))[0]
    assert bool((moved.norm(dim=0) > 0.05).all()), dict(
        zip(synth.names, moved.norm(dim=0).tolist(), strict=True)
    )


def test_places_and_values_are_inverse_and_ranges_are_kept() -> None:
    place = torch.rand(5, len(BELL.parameters), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(BELL.place(BELL.theta(place)), place, atol=1e-5)
    for synth in SYNTHS.values():
        for end in (0.0, 1.0):  # sliders go to both ends, also where the lower one is below zero
            theta = synth.theta(torch.full((len(synth.parameters),), end))
            assert torch.allclose(synth.theta_of(synth.values(theta)), theta)
    with pytest.raises(SonopaintError, match="pitch must be 100 to 2400 Hz, not 9000"):
        BELL.theta_of({"pitch": 9000})
    with pytest.raises(SonopaintError, match="no parameter 'weight'"):
        BELL.theta_of({"weight": 1})
    with pytest.raises(SonopaintError, match="no synth 'oboe'"):
        get_synth("oboe")


def test_the_arpeggio_sweeps_at_its_rate_through_its_pitch() -> None:
    synth = get_synth("arpeggio")
    sound = synth.render(torch.tensor([[700.0, 8.0, 1.0]]))[0].double()
    spectrum = torch.stft(sound, 512, 64, window=torch.hann_window(512).double(), return_complex=True).abs()
    frames = spectrum.sum(0) > 0.5 * spectrum.sum(0).max()
    seconds = torch.arange(len(frames)) * 64 / 8192 - 2
    peaks = spectrum.argmax(0) * 8192 / 512
    expected = 700 * 2 ** seconds[frames]
    assert (peaks[frames] / expected).log2().abs().mean() < 0.02
    # As printed a note is the positive half of a sine: half of the time is silent.
    assert (sound.abs() < 1e-6).float().mean() > 0.45


# The metric ---------------------------------------------------------------------------------------------


def test_metrics_are_symmetric_and_positive_and_pnp_is_the_spectral_loss_nearby() -> None:
    synth = get_synth("arpeggio")
    descriptor = described(synth, LIGHT)
    place = torch.tensor([[0.4, 0.5, 0.6], [0.7, 0.3, 0.3]], dtype=torch.float64)
    metric = metric_of(jacobian(descriptor, place))
    assert torch.allclose(metric, metric.mT)
    assert bool((torch.linalg.eigvalsh(metric) >= -1e-9 * metric.amax()).all())
    away = torch.tensor([[0.6, -0.5, 0.7]], dtype=torch.float64)
    errors = []
    for size in (1e-3, 1e-4, 1e-5):
        moved = size * away
        spectral = (descriptor(place + moved) - descriptor(place)).square().sum(1)
        pnp = (moved[:, None] @ metric @ moved[:, :, None])[:, 0, 0]
        errors.append(float((pnp / spectral - 1).abs().max()))
    assert errors[2] < 1e-3
    assert errors[0] > errors[1] > errors[2]


def test_secants_say_what_derivatives_do_where_nothing_ripples() -> None:
    descriptor = described(BELL, LIGHT)
    place = BELL.place(BELL.defaults())[None].double()
    one, other = jacobian(descriptor, place), secants(descriptor, place, steps(BELL, 0.01).double())
    for name in ("decay", "brightness", "damping"):
        k = BELL.names.index(name)
        assert (one[..., k] - other[..., k]).norm() < 0.02 * one[..., k].norm()


def test_a_step_of_a_slider_sounds_as_large_on_every_knob() -> None:
    """0.03 of the descriptor's size, whatever the parameter; by the metric, and when it is heard."""
    descriptor = described(BELL, LIGHT)
    place = BELL.place(BELL.theta_of({"pitch": 500, "dent": 0.3}))[None]
    with torch.no_grad():
        at = descriptor(place)
        metric = metric_of(secants(descriptor, place, steps(BELL), at))[0]
        size = 0.03 * float(at.norm())
        even = even_steps(metric.diagonal().sqrt(), size)
        heard_as = (descriptor(place + torch.diag(even)) - at).norm(dim=1) / size
    assert float(even.max()) <= LONGEST_STEP and float(even[0]) < 0.01  # a bell's pitch is heard finely
    free = even < LONGEST_STEP
    assert free.sum() >= 5 and bool(((heard_as[free] > 0.6) & (heard_as[free] < 1.6)).all()), heard_as
    assert float(even[free].max() / even.min()) > 5  # equal shares of the ranges would be far from it


# What is matched ----------------------------------------------------------------------------------------


def test_of_a_long_recording_the_loudest_event_is_taken() -> None:
    hit = BELL.render(BELL.defaults()[None])[0]
    sound = torch.zeros(2, 16_000 * 180)
    sound[:, 16_000 * 30 : 16_000 * 30 + len(hit)] = 0.3 * hit
    sound[:, 16_000 * 90 : 16_000 * 90 + len(hit)] = 0.9 * hit
    event = event_of(Clip(sound, 16_000), BELL)
    assert event.start_s == pytest.approx(90, abs=0.03)
    assert torch.corrcoef(torch.stack([event.wave, hit]))[0, 1] > 0.5
    assert "2 channels" in event.notes[0] and "the loudest event" in event.notes[1]


def test_short_slow_and_silent_recordings() -> None:
    short = event_of(Clip(0.1 * torch.randn(1, 1600), 16_000), BELL)
    assert short.wave.shape == (BELL.samples,) and bool(torch.isfinite(short.wave).all())
    assert any("4000 Hz" in note for note in event_of(Clip(torch.randn(1, 8000), 8000), BELL).notes)
    whistle = torch.sin(torch.arange(44_100) * 2.2)[None]  # 15.4 kHz
    assert any("above 8000 Hz" in note for note in event_of(Clip(whistle, 44_100), BELL).notes)
    for level in (0.0, 0.5):  # nobody hears an offset
        with pytest.raises(SonopaintError, match="silent"):
            event_of(Clip(torch.full((1, 16_000), level), 16_000), BELL)


def test_what_no_synth_makes_is_matched_all_the_same_and_said(tmp_path: Path) -> None:
    """Speech is far off, and the nearest is offered; noise is near the rain that it is; none breaks it."""
    speech = match(read_clip(Path(__file__).parents[1] / "fixtures" / "speech.flac"), "auto", count=0)
    assert len(speech.tried) == 3 and speech.tried[0][0] == speech.sheet.synth.name
    assert "far off; no synth here" in speech.words
    generator = torch.Generator().manual_seed(0)
    noise = match(Clip(0.2 * torch.randn(2, 64_000, generator=generator), 32_000), "rain", count=0)
    assert noise.sheet.relative < 0.3 < speech.sheet.relative
    t = torch.arange(96_000) / 32_000
    music = sum(torch.sin(6.283 * f * t) * torch.exp(-2 * (t - 0.3 * k).clamp_min(0)) * (t > 0.3 * k)
                for k, f in enumerate((262, 330, 392, 523)))  # fmt: skip
    chord = match(Clip(0.2 * music[None], 32_000), "bell", count=0)
    click = match(Clip(torch.eye(1, 400), 32_000), "snare", count=0)
    for found in (speech, noise, chord, click):
        assert found.words in {words for _, words in WORDS}
        sound = found.sheet.play(1.0).waveform
        assert bool(torch.isfinite(sound).all()) and 0 < float(sound.abs().max()) <= 0.98
        assert all(0 < step <= LONGEST_STEP for step in found.steps.values())


@pytest.mark.slow
def test_a_match_stands_where_the_sound_was_made() -> None:
    """With no analyser: by draws, lines and refinement alone; the nearest of random draws is far from it."""
    synth = get_synth("kick")
    true = synth.theta_of({"pitch": 60, "drop": 24, "decay": 0.5})
    sound = Clip(synth.render(true[None]) * 0.5, synth.rate)
    found = match(sound, "kick", count=8)
    errors = [
        float(p.noticeable(a, b)) for p, a, b in zip(synth.parameters, found.sheet.theta, true, strict=True)
    ]
    assert errors[0] < 1 and errors[1] < 2, errors
    assert found.sheet.relative is not None and found.sheet.relative < 0.1
    assert found.sheet.level == pytest.approx(0.5, rel=0.05)
    assert set(found.steps) == {*synth.names, "colour"}
    others = siblings(found.sheet, found.metric, 3)
    distances = [
        float(
            (
                described(synth)(synth.place(one.theta)[None]) - described(synth)(synth.place(true)[None])
            ).norm()
        )
        for one in others
    ]
    assert all(one.values != found.sheet.values for one in others)
    assert max(distances) < 6 * min(distances)  # they sound about equally far from it


# Sheets -------------------------------------------------------------------------------------------------


def _semitones(one: Clip, other: Clip, start: float, stop: float) -> float:
    """By how much the spectrum of `other` between two times lies higher: the peak of their correlation."""
    grid = 30 * torch.exp2(torch.arange(9 * 1200).double() / 1200)  # hundredths of semitones
    spectra = []
    for clip in (one, other):
        piece = clip.waveform[0, round(start * clip.sample_rate) : round(stop * clip.sample_rate)].double()
        found = torch.fft.rfft(piece * torch.hann_window(len(piece)).double(), n=2**18).abs()
        spectra.append(found[(grid * 2**18 / clip.sample_rate).round().long()])
    a, b = (torch.fft.rfft(spectrum, n=2**15) for spectrum in spectra)
    return (int(torch.fft.irfft(b * a.conj()).roll(1200)[:2400].argmax()) - 1200) / 100


@pytest.mark.parametrize(
    ("name", "values", "window"),
    [
        ("bell", {}, (0, 2)),
        ("snare", {"snares": -20}, (0, 0.5)),
        ("kick", {}, (0.25, 1)),  # at its end, where it has fallen to its pitch
        ("footsteps", {"crunch": -24, "rate": 0.8}, (0, 0.6)),
        ("siren", {}, (0, 2)),
        ("train_horn", {}, (0, 2)),
        ("rain", {"drops": 12}, (0, 2)),
        ("drum", {}, (0, 2)),
        ("arpeggio", {}, (0, 4)),
    ],
)
def test_three_semitones_higher_are_three_semitones_higher(
    name: str, values: dict[str, float], window: tuple[float, float]
) -> None:
    sheet = _sheet(name, window[1] + 0.1, **values)
    higher = sheet.changed(["pitch=+3st"])
    assert _semitones(sheet.play(), higher.play(), *window) == pytest.approx(3, abs=0.1)


def _t60(clip: Clip) -> float:
    """Seconds in which a sound falls by 60 dB: the line through its level from −6 to −36 dB."""
    spectrum = torch.fft.fft(clip.waveform[0].double())
    spectrum[len(spectrum) // 2 :] = 0
    envelope = torch.fft.ifft(2 * spectrum).abs()
    frames = envelope[: len(envelope) // 320 * 320].reshape(-1, 320).square().mean(1)
    level = 10 * torch.log10(frames / frames.max() + 1e-9)
    after = level[int(level.argmax()) :]
    first, last = (int(torch.nonzero(after < least)[0]) for least in (-6, -36))
    at = torch.arange(first, last).double() * 320 / clip.sample_rate
    at, fallen = at - at.mean(), after[first:last] - after[first:last].mean()
    return -60 / float((at * fallen).sum() / at.square().sum())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bell", {"decay": 1, "damping": 0, "brightness": -18, "strike": -40}),
        ("snare", {"snares": -20, "bend": 0}),
        ("kick", {"decay": 0.4, "click": -40}),
        ("footsteps", {"crunch": -24, "rate": 0.8}),
        ("laser", {"decay": 0.3, "rate": 0.4, "softness": 20}),
        ("drum", {"damping": 0.003}),
    ],
)
def test_twice_the_decay_is_twice_as_long(name: str, values: dict[str, float]) -> None:
    sheet = _sheet(name, 1.2 if name == "footsteps" else 2.4, **values)
    plain = _t60(sheet.play())
    assert plain == pytest.approx(sheet.values["decay"], rel=0.1)  # it is the T60, as it says
    assert _t60(sheet.changed(["decay=2x"]).play()) / plain == pytest.approx(2, rel=0.1)


def test_sounds_begin_and_end_without_a_click() -> None:
    """An engine begins in the middle of a stroke: as a jump it would be its loudest moment."""
    told = {"rate": 53.8, "rev": 0.09, "sharpness": 9.25, "roughness": 0, "body": 458, "exhaust": -13.8}
    wave = _sheet("engine", 2.0, **told).play().waveform[0]
    assert wave[0] == wave[-1] == 0 and wave[:64].abs().max() < 0.5 * wave.abs().max()
    assert wave[:640].abs().max() < wave[640:].abs().max()
    stroke = _sheet("bell", 2.0).play().waveform[0]  # strokes keep their attack
    made = BELL.render(BELL.defaults()[None], rate=32_000, seconds=2.0)[0]
    assert stroke.abs().max() == pytest.approx(min(0.98, float(made.abs().max())), rel=1e-3)


def test_what_a_change_may_say() -> None:
    sheet = _sheet(pitch=400, decay=2, brightness=-6)
    said = ["pitch=440", "decay=+10%", "brightness=-3dB", "strike=-20"]
    values = sheet.changed(said).values
    assert values["pitch"] == 440 and values["decay"] == pytest.approx(2.2)
    assert values["brightness"] == pytest.approx(-9) and values["strike"] == -20
    assert sheet.changed(["pitch=440Hz", "pitch=-12st"]).values["pitch"] == pytest.approx(220)
    for wrong in ("weight=2", "pitch", "pitch=loud", "decay=3st", "pitch=100x"):
        with pytest.raises(SonopaintError):
            sheet.changed([wrong])


def test_sheets_come_back_and_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "match.json"
    grid = torch.linspace(-20, 20, BANDS * FRAMES).reshape(BANDS, FRAMES)
    sheet = Sheet(BELL, BELL.values(BELL.defaults()), 2.0, 0.5, 7, grid, 2.0, 3.0, 0.2, "bell.wav")
    sheet.write(path)
    again = read_sheet(path)
    assert again.values == pytest.approx(sheet.values, rel=1e-5)
    assert (again.seed, again.level, again.seconds) == (7, 0.5, 2.0)
    assert again.colour is not None and torch.allclose(again.colour, grid, atol=0.06)
    with pytest.raises(SonopaintError, match="exists"):
        sheet.write(path)
    told = json.loads(path.read_text())
    for change, said in (
        ({"version": 2}, "of version 2"),
        ({"format": "other"}, "no parameters of a match"),
        ({"synth": "oboe"}, "no synth"),
        ({"seconds": -1}, "it must be above 0"),
        ({"parameters": {"pitch": {"value": 1e9}}}, "pitch must be"),
        ({"parameters": {"pitch": {"value": "high"}}}, "damaged"),
        ({"parameters": [1]}, "damaged"),
        ({"colour": {"decibels": [[1]], "seconds": 1}}, "damaged"),
    ):
        path.write_text(json.dumps({**told, **change}))
        with pytest.raises(SonopaintError, match=said):
            read_sheet(path)
    path.write_text("[")
    with pytest.raises(SonopaintError, match="can't be read"):
        read_sheet(path)


def test_the_original_s_colour_comes_nearer_to_it_and_none_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(32_768, generator=generator)
    spectrum = torch.fft.rfft(torch.randn(32_768, generator=generator))
    dark = torch.fft.irfft(spectrum / (1 + torch.linspace(0, 20, len(spectrum))))
    grid = colour(dark, noise, 16_000)
    assert torch.equal(coloured(noise, 16_000, grid, 2.048, 0), noise)
    full, half = (coloured(noise, 16_000, grid, 2.048, share) for share in (1.0, 0.5))

    def off(x: Tensor) -> float:
        return float(colour(dark, x, 16_000).abs().mean())

    assert off(full) < 0.25 * off(noise)
    assert off(full) < off(half) < off(noise)


# The analyser -------------------------------------------------------------------------------------------


def test_an_analyser_s_file_and_what_it_hears(tmp_path: Path) -> None:
    from sonoconvert.checkpoints.files import write_tensors
    from sonopaint.match.analyser import header

    torch.manual_seed(0)
    analyser = Analyser(sizes(("bell", "arpeggio")), 0.25, 0.34).eval()
    sound = BELL.render(BELL.defaults()[None])
    assert heard(sound).shape == (1, 96, 128)
    assert torch.allclose(heard(0.01 * sound), heard(sound), atol=1e-3)  # the level doesn't matter
    places, chances = analyser.listen(sound[0])
    assert places["bell"].shape == (6,) and places["arpeggio"].shape == (3,)
    assert sum(chances.values()) == pytest.approx(1)
    path = tmp_path / "analyser.safetensors"
    write_tensors(path, analyser.state_dict(), header(analyser, {}))
    again = load_analyser(path).listen(sound[0])[0]
    assert torch.allclose(again["bell"], places["bell"])
    write_tensors(path, analyser.state_dict(), {"format": "pt"}, force=True)
    with pytest.raises(SonopaintError, match="no analyser"):
        load_analyser(path)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, out = tmp_path / "bell.wav", tmp_path / "match.wav"
    write_clip(_sheet(pitch=500).play(), sound)
    assert main(["match", str(sound), "--synth", "bell", "--steps", "1", "-o", str(out), "--quiet"]) == 0
    assert "Bell (bell)" in capsys.readouterr().out
    sheet = read_sheet(out.with_suffix(".json"))
    assert read_clip(out).duration_s == pytest.approx(2.0, abs=0.05)
    played = tmp_path / "lower.wav"
    said = ["play", str(out.with_suffix(".json")), "--set", "pitch=-3st", "decay=1.1x", "-o", str(played)]
    assert main(said) == 0
    told = read_clip(played).settings
    assert told["parameters"]["pitch"]["value"] == pytest.approx(sheet.values["pitch"] * 2**-0.25, rel=1e-4)
    assert main(["play", "rain", "--seconds", "1", "-o", str(tmp_path / "rain.wav")]) == 0
    capsys.readouterr()
    assert main(["match", "--list"]) == 0
    assert set(CORPUS) <= {line.split(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert main(["match", str(sound), "--synth", "oboe", "-o", str(tmp_path / "x.wav"), "--quiet"]) == 2
    assert main([*said, "--colour", "2", "--force"]) == 2


@pytest.mark.parametrize("name", list(SYNTHS))
def test_kept_draws_are_those_of_the_synths_of_today(name: str) -> None:
    """So that a match begins near by: of a draw's own sound, that draw is the nearest."""
    synth = get_synth(name)
    place = draws.places(synth)[321]
    with torch.no_grad():
        wanted = described(synth)(place[None])[0]
    assert torch.equal(draws.nearest(synth, wanted, 3)[0], place)
