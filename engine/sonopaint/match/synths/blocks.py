"""What synthesisers are made of: smooth in their parameters, so that gradients say where to turn.

Frequencies in Hz, times in seconds, [B, 1] each; `t` [1, samples] or [B, samples].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TAU = 2 * math.pi
DECAY = math.log(1000)  # 60 dB


def gain(decibels: Tensor) -> Tensor:
    """dB as a factor."""
    return 10 ** (decibels / 20)


def rate_of(t: Tensor) -> float:
    """Samples a second of a time axis."""
    return float(1 / (t[0, 1] - t[0, 0]).clamp_min(1e-9))


def since(t: Tensor, at: Tensor | float) -> Tensor:
    """Seconds since an event, 0 before it."""
    return (t - at).clamp_min(0)


def fall(t: Tensor, decay: Tensor | float, attack: float = 0.001) -> Tensor:
    """Up in about `attack` seconds, down by 60 dB in `decay`; 0 where t is 0."""
    return (1 - torch.exp(-t / attack * 3)) * torch.exp(-DECAY * t / decay)


def again(t: Tensor, rate: Tensor, first: float = 0.02) -> tuple[Tensor, Tensor]:
    """Of events that come `rate` times a second: seconds since the last one, and a factor that fades it.

    The seconds are 0 before the first; the factor is gone when the next one comes, because what jumps has no
    gradient.
    """
    s = ((t - first).clamp_min(0) * rate) % 1 / rate
    return s, 1 - torch.exp(-(((1 / rate - s) / 0.01) ** 2))


def modes(
    t: Tensor, frequencies: Tensor, decays: Tensor, gains: Tensor, turning: Tensor | None = None
) -> Tensor:
    """A struck body: partials [B, K] that fall by 60 dB in `decays`; those near half the rate are faded out.

    turning: phase in seconds where the frequencies glide, in place of `t`.
    """
    heard = torch.sigmoid((0.47 - frequencies / rate_of(t)) * 400)
    turning = t if turning is None else turning
    wave = torch.sin(TAU * frequencies[..., None] * turning[:, None])
    return (wave * torch.exp(-DECAY * t[:, None] / decays[..., None]) * (gains * heard)[..., None]).sum(1)


def buzz(phase: Tensor, frequency: Tensor, fall_db: Tensor, t: Tensor) -> Tensor:
    """Σ rᵏ sin(k·2π·phase): a tone whose harmonics fall by `fall_db` each; `phase` in cycles.

    They fall faster where `frequency` is high, by 45 dB up to half the rate, so that nothing is folded back.
    """
    r = gain(-(fall_db**2 + (90 * frequency / rate_of(t)) ** 2).sqrt())
    angle = TAU * (phase % 1)
    return torch.sin(angle) * (1 - r * r) / (1 - 2 * r * torch.cos(angle) + r * r)


def running(frequency: Tensor, t: Tensor) -> Tensor:
    """Phase in cycles of a frequency curve [B, samples]."""
    return (torch.cumsum(frequency.double(), -1) / rate_of(t)).to(frequency.dtype)


def shaped(x: Tensor, decibels: Tensor) -> Tensor:
    """x filtered by dB [B, bins] of its Fourier transform (`hertz`), and back to unit power on average."""
    response = gain(decibels)
    response = response / response.square().mean(-1, keepdim=True).sqrt()
    return torch.fft.irfft(torch.fft.rfft(x) * response, x.shape[-1])


def hertz(t: Tensor) -> Tensor:
    """Frequencies [1, bins] of a Fourier transform of t's length; the first is 1 Hz."""
    count, rate = t.shape[-1], rate_of(t)
    return torch.fft.rfftfreq(count, 1 / rate).to(t)[None].clamp_min(1.0)


def band(
    noise: Tensor, t: Tensor, low: Tensor | float, high: Tensor | float, slope_db: float = 18.0
) -> Tensor:
    """Noise from `low` to `high`, with `slope_db` to an octave and soft corners outside."""
    f = hertz(t)
    below, above = torch.log2(low / f), torch.log2(f / high)
    soft = torch.nn.functional.softplus
    return shaped(noise, -slope_db * (soft(below * 6) + soft(above * 6)) / 6)
