"""Scattering and multi-scale spectra: a library's numbers, what they hear and what they don't, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering, morlet, scattering_distance, width_of
from sonoconvert.descriptors.spectra import multiscale_distance

SAMPLES = 8192
SMALL = Scattering(SAMPLES, octaves=6, q=8, rates=5, scales=3, pool=0, fade=0)
# Kymatio (its main branch of May 2024, TimeFrequencyScattering with J=9, J_fr=3, Q=(8, 1), T and F "global",
# padded with zeros) of `_chirp`: what each filter along time sums to over time and 144 bands, of the filters
# 0.35, −0.35, 0.175, −0.175, 0.0875, −0.0875 along log-frequency.
KYMATIO = {
    0: (142.856, 56.537, 194.301, 93.508, 200.791, 137.490),
    1: (312.309, 139.776, 305.900, 264.031, 302.297, 348.009),
    2: (554.650, 167.209, 697.777, 173.985, 397.210, 85.340),
    3: (407.820, 82.096, 940.763, 41.442, 971.378, 40.112),
}


def _chirp() -> Tensor:
    t = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES - 0.5
    tone = torch.sin(2 * math.pi * (900 * t + 1500 * t**2)) * torch.exp(-((t / 0.08) ** 2) / 2)
    return tone * (1 + 0.6 * torch.sin(2 * math.pi * 24 * t))


def test_second_order_is_what_kymatio_says() -> None:
    rows = 64  # ours is a mean over the padded bands, and a mean over time
    second = SMALL.orders(_chirp())[1][..., 0] * SAMPLES * rows
    for rate, said in KYMATIO.items():
        true = torch.tensor(said, dtype=second.dtype)
        heard = second[rate, 1:]
        loud = true > 0.3 * true.max()
        assert torch.allclose(heard[loud], true[loud], rtol=0.015), (rate, heard, true)
        assert torch.allclose(heard, true, atol=0.015 * float(true.max())), (rate, heard, true)


def test_first_order_is_the_modulus_of_its_filters() -> None:
    sound = _chirp()
    first = SMALL.orders(sound)[0]
    for band in (8, 15, 25, 40):
        centre = float(SMALL.hertz(1.0)[band])
        filtered = torch.fft.fft(sound) * torch.from_numpy(morlet(SAMPLES, centre, width_of(centre, 8)))
        direct = torch.fft.ifft(filtered).abs().mean()
        assert float(first[band]) == pytest.approx(float(direct), rel=1e-3, abs=1e-7)


def test_it_hears_which_way_a_chirp_goes_and_not_when() -> None:
    transform = Scattering(SAMPLES, octaves=6, q=8, rates=5, scales=3)
    rising = _chirp().float()
    later, falling = torch.roll(rising, 700), rising.flip(0)
    assert scattering_distance(rising, later, transform) < 0.05 * scattering_distance(
        rising, falling, transform
    )
    first = transform.orders(torch.stack([rising, falling]))[0]
    assert torch.allclose(first[0], first[1], rtol=0.02, atol=1e-5)  # which spectra alone don't tell
    assert float(scattering_distance(rising, rising, transform)) == 0


def test_derivatives_forwards_and_backwards_are_those_of_differences() -> None:
    transform = Scattering(SAMPLES, octaves=6, q=8, rates=5, scales=3)
    t = torch.arange(SAMPLES, dtype=torch.float64) / 8000

    def heard(pitch: Tensor) -> Tensor:
        return transform(torch.sin(2 * math.pi * pitch[:, None] * t) * torch.sin(40 * t))

    pitch = torch.tensor([500.0, 700.0], dtype=torch.float64)
    ahead = torch.func.jvp(heard, (pitch,), (torch.ones_like(pitch),))[1]
    step = 1e-5
    difference = (heard(pitch + step) - heard(pitch - step)) / (2 * step)
    assert torch.allclose(ahead, difference, atol=1e-4 * float(ahead.abs().max()))
    known = pitch.clone().requires_grad_()
    heard(known).sum().backward()
    assert torch.allclose(known.grad, ahead.sum(1), rtol=1e-5)


def test_spectra_at_several_scales() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(2, 8000, generator=generator)
    assert multiscale_distance(one, one).tolist() == [0, 0]
    # Half as loud: convergence ½, and ln 2 of every magnitude.
    assert multiscale_distance(one / 2, one).tolist() == pytest.approx([0.5 + math.log(2)] * 2, rel=1e-3)
    other = (one + 0.1 * torch.randn(2, 8000, generator=generator)).requires_grad_()
    distance = multiscale_distance(other, one)
    assert bool((distance < multiscale_distance(one.flip(1), one)).all())
    distance.sum().backward()
    assert bool(torch.isfinite(other.grad).all())
