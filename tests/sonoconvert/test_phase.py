"""Mel inversion and phase-gradient integration: what `phase.reconstruct` stands on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoconvert.phase.gradient import _summed, phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.phase.search import MOMENTUM, PhaseSearch, iterate, reconstruct
from sonoconvert.pictures import spectrogram
from sonoconvert.pictures.banded import Banded
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.grid import working_grid
from sonoconvert.pictures.spectrogram import istft, mel_magnitude, stft

RATE = 16_000
WIN, HOP = 512, 64


def sweep_and_hits(seconds: float = 1.0) -> torch.Tensor:
    """A tone that glides, and two clicks: [T] at RATE."""
    t = torch.arange(round(seconds * RATE)) / RATE
    sound = 0.3 * torch.sin(2 * np.pi * (400 * t + 900 * t * t))
    for at in (0.3, 0.7):
        sound[round(at * len(t))] += 0.9
    return sound


def convergence(wave: torch.Tensor, target: torch.Tensor) -> float:
    made = stft(wave, WIN, WIN, HOP).abs()
    return float(torch.linalg.norm(made - target) / torch.linalg.norm(target))


def griffin_lim(
    magnitude: torch.Tensor,
    win: int,
    hop: int,
    *,
    iterations: int = 32,
    momentum: float = MOMENTUM,
    initial: torch.Tensor | None = None,
    fixed: torch.Tensor | None = None,
    length: int,
) -> torch.Tensor:
    """The plain opponent, by the same loop: magnitudes [..., bins, frames] stay, phases begin at random."""
    target = magnitude.transpose(-1, -2).contiguous()
    if initial is None:
        angle = torch.rand(target.shape[-2:], generator=torch.Generator().manual_seed(0)) * (2 * torch.pi)
        start = torch.polar(torch.ones_like(angle), angle).expand_as(target)
    else:
        start = initial.transpose(-1, -2)

    def project(spectrum: torch.Tensor) -> torch.Tensor:
        made = torch.sgn(spectrum) * target
        return made if fixed is None else torch.where(fixed.T, start, made)

    frames = target.shape[-2]
    inner = min(max(length, (frames - 1) * hop), frames * hop - 1)
    made = iterate(project(start), project, win, hop, iterations, momentum=momentum, length=inner)
    return istft(made.transpose(-1, -2), win, win, hop, length=length)


@settings(max_examples=30)
@given(rows=st.integers(1, 70), columns=st.integers(2, 90), seed=st.integers(0, 1000))
def test_banded_products_are_those_of_the_dense_matrix(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    middle = np.sort(rng.uniform(0, columns, rows))[:, None]
    matrix = np.maximum(0, 1 - np.abs(np.arange(columns) - middle) / rng.uniform(0.5, 6, (rows, 1)))
    banded = Banded(matrix, torch.float64, torch.device("cpu"))
    x, y = torch.from_numpy(rng.random((3, columns))), torch.from_numpy(rng.random((2, 3, rows)))
    torch.testing.assert_close(banded.times(x), x @ torch.from_numpy(matrix).T)
    back = Banded(matrix.T, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(back.times(y), y @ torch.from_numpy(matrix))


@pytest.mark.parametrize("name", ["riffusion-v1", "sonopaint-mini", "perkins-10s"])
def test_corrections_lead_to_the_mel_bands(name: str) -> None:
    """Lee & Seung's update: the divergence never grows, and right magnitudes stay as they are."""
    fmt = PRESETS[name]
    bands = mel_bands(fmt, fmt.win_length // 2 + 1, torch.float32, torch.device("cpu"))
    noise = torch.randn(1, fmt.sample_rate // 4, generator=torch.Generator().manual_seed(0))
    mel = mel_magnitude(noise, fmt)
    linear = mel_to_linear(mel, fmt).transpose(-1, -2)
    wanted = mel.transpose(-1, -2)

    def divergence() -> float:
        have = bands.mel(linear)
        return float((wanted * (wanted / have.clamp_min(1e-9)).log() - wanted + have).sum())

    values = [divergence()]
    for _ in range(6):
        linear = linear * bands.correction(linear, wanted)
        values.append(divergence())
    assert all(after <= before * 1.0001 for before, after in zip(values, values[1:], strict=False))
    assert values[-1] < 0.4 * values[0] and float(linear.min()) >= 0
    settled = bands.correction(linear, bands.mel(linear))
    torch.testing.assert_close(
        settled[linear > 1e-3], torch.ones_like(settled[linear > 1e-3]), atol=2e-3, rtol=0
    )


def test_phase_gradients_know_the_phase_of_glides_and_clicks() -> None:
    """Without one iteration nearer to the magnitudes than 16 iterations from noise."""
    wave = sweep_and_hits()
    target = stft(wave, WIN, WIN, HOP).abs()
    phase = phase_gradient(target.T, WIN, HOP).T
    assert torch.allclose(phase.abs(), torch.ones_like(target))
    alone = convergence(istft(target * phase, WIN, WIN, HOP, length=len(wave)), target)
    iterated = convergence(griffin_lim(target, WIN, HOP, iterations=16, length=len(wave)), target)
    assert alone < 0.15 < iterated


def test_known_phases_stay_and_are_carried_on() -> None:
    wave = sweep_and_hits()
    spectrum = stft(wave, WIN, WIN, HOP)
    known = torch.zeros(spectrum.shape[1], spectrum.shape[0], dtype=torch.bool)
    known[:60] = known[-60:] = True
    phase = phase_gradient(spectrum.abs().T, WIN, HOP, initial=spectrum.T, fixed=known)
    loud = known & (spectrum.abs().T > 1e-3 * spectrum.abs().max())
    torch.testing.assert_close(phase[loud], torch.sgn(spectrum.T)[loud], atol=1e-3, rtol=0)
    # Where nothing was known, the glide goes on in phase: the waveform is near, not only its magnitude.
    made = istft(spectrum.abs() * phase.T, WIN, WIN, HOP, length=len(wave))
    middle = slice(70 * HOP, 90 * HOP)
    assert float((made - wave)[middle].square().mean()) < 0.1 * float(wave[middle].square().mean())


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_steps_that_agree_are_summed_to_where_they_come_from(circular: bool, seed: int) -> None:
    """Whatever way the loudest paths take, through hundreds of islands."""
    rng = np.random.default_rng(seed)
    log, phases = rng.standard_normal((40, 33)), rng.standard_normal((40, 33))
    steps = phases - np.roll(phases, 1, axis=0), phases - np.roll(phases, 1, axis=1)
    if not circular:
        steps[0][0] = np.nan
    steps[1][:, 0] = np.nan
    found = _summed(log, steps, np.zeros_like(log, bool), np.zeros_like(log))
    top = np.unravel_index(log.argmax(), log.shape)
    np.testing.assert_allclose(found, phases - phases[top], atol=1e-9)
    known = rng.random(log.shape) < 0.1
    np.testing.assert_allclose(_summed(log, steps, known, np.where(known, phases, 0.0)), phases, atol=1e-9)


def test_phase_gradients_of_little_or_nothing() -> None:
    for frames in (1, 2, 3):
        assert torch.isfinite(phase_gradient(torch.rand(frames, 33), 64, 16).real).all()
    silent = phase_gradient(torch.zeros(9, 33), 64, 16, circular=True)
    assert torch.allclose(silent.abs(), torch.ones(9, 33))
    some = torch.rand(9, 33)
    assert torch.equal(phase_gradient(some, 64, 16, seed=1), phase_gradient(some, 64, 16, seed=1))


@pytest.mark.parametrize("name", ["riffusion-v1", "sonopaint-mini"])
def test_more_iterations_are_truer_and_few_beat_fixed_magnitudes(name: str) -> None:
    fmt = PRESETS[name]
    t = torch.arange(2 * fmt.sample_rate) / fmt.sample_rate
    wave = 0.2 * sum(torch.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 9))
    wave = (wave + 0.01 * torch.randn(len(t), generator=torch.Generator().manual_seed(0)))[None]
    mel = mel_magnitude(wave, fmt)
    length = wave.shape[-1]

    def error(made: torch.Tensor) -> float:
        true, heard = (stft(sound[0], 2048, 2048, 512).abs() for sound in (wave, made))
        return float(torch.linalg.norm(heard - true) / torch.linalg.norm(true))

    fast, best = (
        error(reconstruct(mel, fmt, PhaseSearch.of(quality, learned=False), length=length))
        for quality in ("fast", "best")
    )
    plain = griffin_lim(mel_to_linear(mel, fmt), fmt.win_length, fmt.hop_length, iterations=32, length=length)
    assert best < fast < 0.95 * error(plain)


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.3])
def test_the_lower_rate_draws_the_same_picture(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks and noise up to 22 kHz, drawn at 22 kHz and at 44.1 kHz: −100 dB apart."""
    fmt = PRESETS["riffusion-v1"]
    wave = torch.randn(2, round(seconds * fmt.sample_rate), generator=torch.Generator().manual_seed(1))
    wave[:, ::997] += 20
    quick = mel_magnitude(wave, fmt)
    monkeypatch.setattr(spectrogram, "_TRANSITION", 3.0)
    assert working_grid(fmt, 1.1).win < fmt.win_length == working_grid(fmt, 3.0).win
    whole = mel_magnitude(wave, fmt)
    assert float((quick - whole).abs().max()) < 1e-5 * float(whole.max())


def tones(seconds: float) -> torch.Tensor:
    """Decaying partials and a noisy hit: [1, T] at RATE."""
    t = np.arange(int(RATE * seconds)) / RATE
    sound = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 7)) * np.exp(-3 * t)
    noise = np.random.default_rng(0).standard_normal(len(t))
    return torch.from_numpy(0.25 * (sound + 0.5 * noise * np.exp(-40 * np.abs(t - 0.5 * seconds)))).float()[
        None
    ]


def distance(wave: torch.Tensor, target: torch.Tensor, win: int, hop: int) -> float:
    made = stft(wave, win, win, hop).abs()
    return float(torch.linalg.norm(made - target) / torch.linalg.norm(target))


def test_griffin_lim_converges_and_momentum_helps() -> None:
    wave = tones(1.0)
    target = stft(wave, 512, 512, 128).abs()
    errors = {
        (n, m): distance(
            griffin_lim(target, 512, 128, iterations=n, momentum=m, length=16_000), target, 512, 128
        )
        for n, m in ((0, 0.99), (8, 0.99), (32, 0.99), (32, 0.0))
    }
    assert errors[32, 0.99] < errors[8, 0.99] < errors[0, 0.99]
    assert errors[32, 0.99] < errors[32, 0.0]
    assert errors[32, 0.99] < 0.15


def test_griffin_lim_keeps_the_true_phase() -> None:
    wave = tones(0.5)
    spectrum = stft(wave, 512, 512, 128)
    result = griffin_lim(spectrum.abs(), 512, 128, initial=spectrum, iterations=4, length=8000)
    torch.testing.assert_close(result, wave, atol=1e-4, rtol=0)


def test_fixed_cells_keep_their_value() -> None:
    wave = tones(1.0)
    spectrum = stft(wave, 512, 512, 128)
    fixed = torch.ones(spectrum.shape[-2:], dtype=torch.bool)
    fixed[:, 50:70] = False
    start = torch.where(fixed, spectrum, spectrum.abs().to(spectrum.dtype))
    result = griffin_lim(spectrum.abs(), 512, 128, initial=start, fixed=fixed, length=16_000)
    # Windows reach two hops; beyond them nothing changed.
    outside = torch.ones(16_000, dtype=torch.bool)
    outside[48 * 128 : 72 * 128] = False
    torch.testing.assert_close(result[:, outside], wave[:, outside], atol=1e-4, rtol=0)
    assert not torch.allclose(result[:, ~outside], wave[:, ~outside], atol=1e-3)
