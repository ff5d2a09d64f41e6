"""Constant-Q transform and mel pyramids: shapes of the documents, exact inverse, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.representations.cqt import CqtFormat, cqt, from_channels, icqt, to_channels
from sonoconvert.representations.mel_pyramid import LogMel, mel_pyramid, multi_scale_mels

CQT = CqtFormat()


def pulses(samples: int, low: float = 200.0, high: float = 7500.0, channels: int = 1) -> torch.Tensor:
    """Gaussian tone pulses between two frequencies at 24 kHz: bounded in time and in frequency."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(samples, dtype=torch.float64) / 24_000
    wave = torch.zeros(channels, samples, dtype=torch.float64)
    for channel in range(channels):
        for _ in range(30):
            place, pitch, phase = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
            at = t[-1] * (0.4 + 0.2 * place)
            tone = torch.cos(2 * torch.pi * (low + (high - low) * pitch) * t + 6.28 * phase)
            wave[channel] += 0.1 * tone * torch.exp(-((t - at) ** 2) / (2 * 0.03**2))
    return wave


def snr(made: torch.Tensor, true: torch.Tensor) -> float:
    return float(10 * torch.log10(true.square().sum() / (made - true).square().sum()))


def test_the_documents_parameters_and_shape() -> None:
    assert CQT.f_min == pytest.approx(130.8128, abs=1e-4)
    assert CQT.hz(36 * 6) == pytest.approx(8372.0, abs=0.1)
    channels = to_channels(cqt(torch.zeros(192_000)))
    assert channels.shape == (2, 216, 1921)


@pytest.mark.parametrize(("dtype", "decibels"), [(torch.float32, 110.0), (torch.float64, 200.0)])
def test_the_inverse_is_exact_in_the_band(dtype: torch.dtype, decibels: float) -> None:
    """More than 110 dB in single precision: rounding, nothing else."""
    wave = pulses(48_000, channels=2).to(dtype)
    made = icqt(cqt(wave), length=wave.shape[-1])
    assert made.dtype == dtype and made.shape == wave.shape
    assert snr(made, wave) > decibels


@given(st.integers(1, 3000))
@limits(max_examples=40)
def test_any_length_comes_back(samples: int) -> None:
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(samples), dtype=torch.float64)
    made = icqt(cqt(wave), length=samples)
    assert made.shape == wave.shape and torch.isfinite(made).all()
    assert float(made.norm()) <= float(wave.norm())  # what lies in the band is kept, the rest is dropped


@pytest.mark.parametrize(("low", "high"), [(20, 80), (9000, 11_900)])
def test_outside_the_band_nothing_comes_back(low: float, high: float) -> None:
    wave = pulses(48_000, low, high)
    assert float(icqt(cqt(wave), length=48_000).abs().max()) < 1e-4 * float(wave.abs().max())


@pytest.mark.parametrize("bin", [0, 36, 108, 200, 215])
def test_a_sine_is_one_bin_of_its_amplitude_and_phase(bin: int) -> None:
    t = torch.arange(48_000, dtype=torch.float64) / 24_000
    coefficients = cqt(0.3 * torch.cos(2 * torch.pi * CQT.hz(bin) * t + 0.5))
    middle = coefficients[:, 200:280]
    assert int(middle.abs().mean(dim=1).argmax()) == bin
    torch.testing.assert_close(
        middle[bin].abs(), torch.full((80,), 0.3, dtype=torch.float64), rtol=0.02, atol=0
    )
    frames = torch.arange(200, 280, dtype=torch.float64)
    expected = 2 * torch.pi * CQT.hz(bin) * frames * 100 / 24_000 + 0.5
    turn = torch.angle(middle[bin] * torch.polar(torch.ones(80, dtype=torch.float64), -expected))
    assert float(turn.abs().max()) < 0.05


def test_bins_agree_with_librosas() -> None:
    import librosa

    at = [20, 47, 90, 131, 180]
    t = np.arange(48_000) / 24_000
    wave = sum(np.sin(2 * np.pi * CQT.hz(bin) * t) / (1 + k) for k, bin in enumerate(at)) * np.exp(-t)
    wave = wave.astype(np.float32)
    theirs = np.abs(
        librosa.cqt(wave, sr=24_000, hop_length=96, fmin=CQT.f_min, n_bins=216, bins_per_octave=36)
    )[:, 250]
    theirs *= np.sqrt(
        CQT.hz(0) * 2 ** (np.arange(216) / 36)
    )  # they divide by the root of the window's length
    ours = cqt(torch.from_numpy(wave)).abs().numpy()[:, 240]  # the same moment, 1 s
    for bin in at:
        near = slice(bin - 3, bin + 4)
        assert abs(int(np.argmax(ours[near])) - int(np.argmax(theirs[near]))) <= 1
        # Level relative to the fundamental, within 1 dB.
        levels = [20 * np.log10(c[near].max() / c[at[0] - 3 : at[0] + 4].max()) for c in (ours, theirs)]
        assert abs(levels[0] - levels[1]) < 1.0


def test_time_shifts_are_shifts_of_frames() -> None:
    wave = pulses(24_000)
    moved = cqt(wave.roll(500, -1))
    torch.testing.assert_close(moved, cqt(wave).roll(5, -1), atol=1e-6, rtol=0)


def test_real_and_imaginary_channels() -> None:
    coefficients = cqt(pulses(2400, channels=3))
    assert to_channels(coefficients).shape == (3, 2, 216, 25)
    assert torch.equal(from_channels(to_channels(coefficients)), coefficients)


def test_gradients_of_the_constant_q_transform() -> None:
    small = CqtFormat(sample_rate=2000, f_min=100.0, bins_per_octave=4, n_bins=9, hop_length=8)
    wave = torch.randn(
        2, 60, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0)
    )
    assert torch.autograd.gradcheck(lambda x: torch.view_as_real(cqt(x, small)), (wave,))
    painted = torch.randn(9, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: icqt(torch.view_as_complex(x), small, length=60), (painted,))


@pytest.mark.parametrize(
    "values", [{"n_bins": 300}, {"hop_length": 200}, {"f_min": -1.0}, {"bins_per_octave": 0}]
)
def test_impossible_constant_q_formats(values: dict[str, float]) -> None:
    with pytest.raises(SonopaintError):
        CqtFormat(**values)  # type: ignore[arg-type]


def test_wrong_coefficients_are_one_error() -> None:
    with pytest.raises(SonopaintError, match="216, 11"):
        icqt(torch.zeros(216, 12, dtype=torch.complex64), length=1000)


# --- mel pyramids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [mel_pyramid, multi_scale_mels])
def test_pyramids_have_the_documents_shapes(function: object) -> None:
    assert callable(function)
    shapes = [tuple(level.shape) for level in function(torch.randn(2, 131_072))]
    assert shapes == [(2, 32, 128), (2, 64, 256), (2, 128, 512)]


def test_log_mel_equals_librosas() -> None:
    import librosa

    wave = np.random.default_rng(0).standard_normal(8192).astype(np.float32) * 0.1
    for bands, hop in ((32, 1024), (64, 512)):
        theirs = librosa.feature.melspectrogram(
            y=wave, sr=44_100, n_fft=4 * hop, hop_length=hop, n_mels=bands, pad_mode="reflect"
        )
        ours = LogMel(bands, hop).of(torch.from_numpy(wave)).numpy()
        np.testing.assert_allclose(ours, np.log1p(theirs)[:, : ours.shape[1]], atol=2e-5)


def test_the_pyramid_is_the_mean_of_four_cells() -> None:
    coarse, middle, fine = mel_pyramid(torch.randn(8192, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(middle[3, 5], fine[6:8, 10:12].mean())
    torch.testing.assert_close(coarse.mean(), fine.mean())


def test_coarse_scales_resolve_what_fine_ones_blur() -> None:
    """Two tones 60 Hz apart beat in the fine level (window 23 ms) and are steady in the coarse one."""
    t = torch.arange(44_100) / 44_100
    wave = torch.sin(2 * torch.pi * 3000 * t) + torch.sin(2 * torch.pi * 3060 * t)
    coarse, _, fine = multi_scale_mels(wave)
    wobble = [float((level.max(dim=0).values[4:-4]).std()) for level in (coarse, fine)]
    assert wobble[0] < 0.2 * wobble[1]


@pytest.mark.parametrize("function", [mel_pyramid, multi_scale_mels])
def test_gradients_of_the_pyramids(function: object) -> None:
    assert callable(function)
    wave = torch.randn(4096, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(4096, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return sum((level.square().sum() for level in function(x)), torch.zeros((), dtype=x.dtype))

    given = wave.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(given), given)
    step = 1e-6
    numeric = (loss(wave + step * direction) - loss(wave - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-5)


def test_too_short_for_a_pyramid() -> None:
    with pytest.raises(SonopaintError, match="at least 1024"):
        mel_pyramid(torch.zeros(300))
    with pytest.raises(SonopaintError, match="levels"):
        mel_pyramid(torch.zeros(3000), levels=9)
