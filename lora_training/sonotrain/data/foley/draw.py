"""Random parameters and the building blocks every kind of sound is made of.

All functions are batched: ``n`` clips of one kind are synthesised together. Times are in seconds,
frequencies in hertz, waveforms float32 ``[n, samples]`` at ``SAMPLE_RATE``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAMPLE_RATE = 32_000
NUM_SAMPLES = 163_840  # 5.12 s: 320 columns of hop 512
DURATION_S = NUM_SAMPLES / SAMPLE_RATE


class Draw:
    """The random choices of ``n`` clips of one kind, from one generator.

    Traits are parameters that captions may name: a uniform number in [0, 1] for each clip, kept in
    ``traits`` beside the value that it was mapped to.
    """

    def __init__(self, n: int, generator: torch.Generator, device: str | torch.device = "cpu") -> None:
        self.n = n
        self.generator = generator
        self.device = torch.device(device)
        self.traits: dict[str, Tensor] = {}
        self.time = torch.arange(NUM_SAMPLES, device=self.device, dtype=torch.float32)[None] / SAMPLE_RATE

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(self.n, *shape, generator=self.generator, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers ``[n, *shape]`` (``[n, 1]`` without a shape)."""
        return low + (high - low) * self.rand(*(shape or (1,)))

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform numbers ``[n, *shape]`` (``[n, 1]`` without a shape)."""
        return torch.exp(self.uniform(math.log(low), math.log(high), *shape))

    def trait(self, name: str, low: float, high: float) -> Tensor:
        """A log-uniform parameter ``[n, 1]`` that captions may name ("low", "fast" …)."""
        u = self.rand(1)
        self.traits[name] = u[:, 0]
        return low * (high / low) ** u

    def noise(self, samples: int = NUM_SAMPLES) -> Tensor:
        """White noise of unit variance ``[n, samples]``."""
        return torch.randn(self.n, samples, generator=self.generator, device=self.device)

    def wander(self, rate_hz: float, samples: int = NUM_SAMPLES) -> Tensor:
        """A smooth random curve in about [-1, 1], changing direction ``rate_hz`` times a second."""
        points = max(3, int(samples / SAMPLE_RATE * rate_hz) + 2)
        knots = self.uniform(-1, 1, 1, points)
        return torch.nn.functional.interpolate(knots, samples, mode="linear", align_corners=True)[:, 0]

    def steady(self, rate: Tensor, limit: int, jitter: float = 0.05, start: float = 0.4) -> Tensor:
        """Event times ``[n, limit]`` at ``rate`` events a second; those past the end are > DURATION_S."""
        gaps = (1 + jitter * (2 * self.rand(limit) - 1)) / rate
        return self.uniform(0.02, start) + torch.cumsum(gaps, 1) - gaps[:, :1]

    def scattered(self, count: Tensor, limit: int, start: float = 0.02, end: float = 4.6) -> Tensor:
        """``count`` random event times ``[n, limit]`` (the rest lie past the end)."""
        times = self.uniform(start, end, limit)
        return torch.where(torch.arange(limit, device=self.device)[None] < count, times, 99.0)

    def strings(self, count: Tensor, limit: int, gap: Tensor, start: float = 0.5) -> Tensor:
        """``count`` events one after another with a mean ``gap`` in seconds, ``[n, limit]``."""
        times = self.steady(1 / gap, limit, 0.25, start)
        return torch.where(torch.arange(limit, device=self.device)[None] < count, times, 99.0)


def seconds(length_s: float) -> Tensor:
    """A time axis ``[1, samples]`` in seconds for a grain of ``length_s``, on torch's present device."""
    return torch.arange(int(length_s * SAMPLE_RATE), dtype=torch.float32)[None] / SAMPLE_RATE


def phase(frequency: Tensor) -> Tensor:
    """Running phase in cycles of a frequency curve ``[n, samples]``."""
    return (torch.cumsum(frequency.double() / SAMPLE_RATE, -1) % 1024).float()


def sine(frequency: Tensor) -> Tensor:
    """A sine that follows a frequency curve ``[n, samples]``."""
    return torch.sin(2 * math.pi * phase(frequency))


def saw(frequency: Tensor) -> Tensor:
    """A band-limited sawtooth (polyBLEP; Välimäki 2007) that follows a frequency curve."""
    p, dt = phase(frequency) % 1, (frequency / SAMPLE_RATE).clamp(1e-6, 0.49)
    rise, fall = (p / dt).clamp(max=1), ((1 - p) / dt).clamp(max=1)
    return 2 * p - 1 + (1 - rise) ** 2 - (1 - fall) ** 2


def pulse(frequency: Tensor, width: Tensor | float = 0.5) -> Tensor:
    """A rectangular wave as the difference of two sawtooths."""
    offset = saw(frequency)
    p = (phase(frequency) + width) % 1
    return offset - (2 * p - 1)


def attack_decay(t: Tensor, attack: Tensor | float, decay: Tensor | float) -> Tensor:
    """An envelope that rises in ``attack`` seconds and falls by 60 dB in ``decay`` seconds."""
    return (t / attack).clamp(0, 1) * torch.exp(-6.9 * (t - attack).clamp(min=0) / decay) * (t >= 0)


def swell(t: Tensor, length: Tensor | float, rise: float = 0.15, fall: float = 0.3) -> Tensor:
    """A note's envelope: up over ``rise``, down over ``fall`` (shares of ``length`` seconds)."""
    x = t / length
    return ((x / rise).clamp(0, 1) * ((1 - x) / fall).clamp(0, 1)) ** 1.5


def contour(t: Tensor, length: Tensor | float, *values: Tensor) -> Tensor:
    """Piecewise-linear curve through ``values`` (``[n, 1]`` each), spread evenly over ``length``."""
    x = (t / length).clamp(0, 1) * (len(values) - 1)
    curve = values[0].expand(-1, 1) * torch.ones_like(x)
    for i in range(len(values) - 1):
        curve = curve + (values[i + 1] - values[i]) * (x - i).clamp(0, 1)
    return curve


def shape(x: Tensor, gain_db_curve: Tensor) -> Tensor:
    """Filter by a gain curve in dB, ``[n, bins]`` as of :func:`bins` (linear phase, zero delay)."""
    return torch.fft.irfft(torch.fft.rfft(x) * 10 ** (gain_db_curve / 20), x.shape[-1])


def bins(samples: int, device: torch.device | str = "cpu") -> Tensor:
    """Frequencies ``[1, bins]`` in hertz of a clip's Fourier transform (the zero bin is 1 Hz)."""
    return torch.fft.rfftfreq(samples, 1 / SAMPLE_RATE, device=device)[None].clamp(min=1.0)


def band(x: Tensor, low: Tensor | float, high: Tensor | float, slope_db: float = 24.0) -> Tensor:
    """Band-pass from ``low`` to ``high`` hertz with ``slope_db`` per octave outside."""
    f = bins(x.shape[-1], x.device)
    return shape(x, -slope_db * (torch.log2(low / f).clamp(min=0) + torch.log2(f / high).clamp(min=0)))


def tilt(x: Tensor, db_per_octave: Tensor | float, pivot: Tensor | float = 500.0) -> Tensor:
    """Tilt the spectrum: ``db_per_octave`` (negative is darker) around ``pivot`` hertz."""
    f = bins(x.shape[-1], x.device)
    return shape(x, db_per_octave * torch.log2(f / pivot).clamp(min=-4))


def formants(x: Tensor, centres: Tensor, width: float = 0.3, floor_db: float = -38.0) -> Tensor:
    """Resonances at ``centres`` ``[n, k]`` hertz, ``width`` octaves wide, each 5 dB below the last."""
    f = torch.log2(bins(x.shape[-1], x.device))[:, None]
    steps = 10 ** (-5 / 20 * torch.arange(centres.shape[1], device=x.device))[None, :, None]
    peaks = (steps * torch.exp(-0.5 * ((f - torch.log2(centres)[..., None]) / width) ** 2)).sum(1)
    return shape(x, 20 * torch.log10(peaks + 10 ** (floor_db / 20)))


def modes(t: Tensor, frequencies: Tensor, decays: Tensor, gains: Tensor) -> Tensor:
    """A struck body: decaying partials, ``[n, k]`` frequencies, 60-dB decay times and gains."""
    out = torch.zeros(frequencies.shape[0], t.shape[-1], device=t.device)
    for k in range(frequencies.shape[1]):
        f, d, g = frequencies[:, k : k + 1], decays[:, k : k + 1], gains[:, k : k + 1]
        audible = (f < 0.48 * SAMPLE_RATE).float()
        out += g * audible * torch.exp(-6.9 * t / d) * torch.sin(2 * math.pi * f * t)
    return out


def place(draw: Draw, times: Tensor, grains: Tensor, gains: Tensor | None = None) -> Tensor:
    """Put grains at ``times``: ``[n, events]`` seconds; grains ``[n, variants, samples]`` take turns.

    Events past the end are left out; a grain that runs over the end is cut.
    """
    if grains.ndim == 2:
        grains = grains[:, None]
    size = -(-(NUM_SAMPLES + grains.shape[-1]) // 32768) * 32768  # a product of small primes
    where = (times * SAMPLE_RATE).long()
    gain = torch.ones_like(times) if gains is None else gains.expand_as(times)
    gain = gain * ((where >= 0) & (where < NUM_SAMPLES))
    where = where.clamp(0, NUM_SAMPLES - 1)
    total = None
    variants = grains.shape[1]
    for k in range(variants):
        impulses = torch.zeros(draw.n, size, device=draw.device)
        impulses.scatter_add_(1, where[:, k::variants], gain[:, k::variants])
        spectrum = torch.fft.rfft(impulses) * torch.fft.rfft(grains[:, k], size)
        total = spectrum if total is None else total + spectrum
    return torch.fft.irfft(total, size)[:, :NUM_SAMPLES]


def grains_of(count: int, make) -> Tensor:
    """Stack ``count`` variants of a grain (``make()`` → ``[n, samples]``) to ``[n, count, samples]``."""
    return torch.stack([make() for _ in range(count)], 1)


def smooth(x: Tensor, width_s: float) -> Tensor:
    """Moving average over ``width_s`` seconds (steps become short glides)."""
    width = int(width_s * SAMPLE_RATE) | 1
    padded = torch.nn.functional.pad(x[:, None], (width // 2 + 1, width // 2), mode="replicate")[:, 0]
    total = torch.cumsum(padded.double(), 1)
    return ((total[:, width:] - total[:, :-width]) / width).float()


def unit(x: Tensor) -> Tensor:
    """Scale each clip to a peak of 1 (silence stays silence)."""
    return x / x.abs().amax(-1, keepdim=True).clamp(min=1e-6)
