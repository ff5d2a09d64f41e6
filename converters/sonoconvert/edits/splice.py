"""Splicing: another program's rendering of a recording, taken inside a region; the rest stays bit for bit.

out = x + w · M(y − x), where x is the recording, y the other sound at its rate, channels, place and level, w
is 1 inside, a raised cosine over the feather and 0 outside, and M keeps the region's frequencies: a mask on
the STFT where the region is not as high as the format, else nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from sonoconvert.conversion.convert import mix_to
from sonoconvert.edits.region import Region
from sonoconvert.edits.seam import limited, weights
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat

WINDOW_S = 0.064  # of the STFT that parts frequencies
SHORTEST_RAMP_S = 0.005  # without a feather the weight still rises this softly, inside the region
CONTEXT_S = 4.0  # on either side of the region, in which the two are compared
LAG_S = 0.15  # codecs cut and fill the ends: how far one may lie from the other
ALIKE = 0.5  # correlation from which what is around the region counts as the recording again
MISSING_S = 0.2  # at its end the other sound may be this much shorter


@dataclass(frozen=True)
class Match:
    """How another sound lies on a recording: y(t) = gain · other(t + lag / rate)."""

    gain: float = 1.0
    lag: int = 0


def splice(source: Clip, other: Clip, region: Region, fmt: SpectrogramFormat, *, match: bool = True) -> Clip:
    """`source` with `other` inside the region; every sample outside of it and its feather is the source's.

    Args:
        other: what a model made of the source, from the same beginning; any rate and number of channels.
        fmt: whose mel rows a brush has, and between whose frequencies the region lies.
        match: where the other sound repeats the source around the region, as inpainting models do, bring it
            to the source's level and place first (codecs shift and scale).

    Raises SonopaintError for a region outside of the source, and for a sound that ends before the region.
    """
    region.check(source.duration_s, fmt)
    rate, total = source.sample_rate, source.num_samples
    y = mix_to(other, source.num_channels).resampled(rate).waveform
    cores = [(round(a * rate), round(b * rate)) for a, b in region.spans(source.duration_s)]
    if not cores:
        raise SonopaintError("The region paints nothing in this clip; make its boxes or its brush larger.")
    found = matched(source.waveform, y, cores, rate) if match else Match()
    y = found.gain * _shifted(y, found.lag, total)
    reach = _reach(other, rate, found.lag)
    if cores[-1][1] - reach > MISSING_S * rate:
        raise SonopaintError(
            f"The sound that is put back ends at {reach / rate:.2f} s, before the region does at "
            f"{cores[-1][1] / rate:.2f} s; make it as long as the recording."
        )
    cores = [(a, min(b, reach)) for a, b in cores if a < reach]
    outer = round(region.feather_s * rate)
    inner = max(round(SHORTEST_RAMP_S * rate) - outer, 0)
    weight = torch.from_numpy(weights(cores, 0, total, total, outer, inner))
    output = source.waveform.clone()
    margin = round(4 * WINDOW_S * rate)
    for first, stop in _stretches(weight, margin):
        x = source.waveform[:, first:stop]
        difference = _inside(y[:, first:stop] - x, region, fmt, source, first)
        changed = limited(x + weight[first:stop] * difference, x, rate)
        output[:, first:stop] = torch.where(weight[first:stop] > 0, changed, x)
    return Clip(output, rate, source.settings, source.subtype)


def matched(x: torch.Tensor, y: torch.Tensor, cores: list[tuple[int, int]], rate: int) -> Match:
    """Level and place of `y` against `x` [channels, samples], from what lies around the regions."""
    from scipy.signal import correlate

    count = min(x.shape[1], y.shape[1])
    around = np.zeros(count, dtype=bool)
    for start, stop in cores:
        around[max(start - round(CONTEXT_S * rate), 0) : stop + round(CONTEXT_S * rate)] = True
    most = round(LAG_S * rate)
    for start, stop in cores:
        around[max(start - most, 0) : stop + most] = False
    if around.sum() < 0.2 * rate:
        return Match()
    a, b = (one[:, :count].mean(dim=0).double() for one in (x, y))
    kept = a.numpy() * around
    scores = correlate(b.numpy() * around, kept, mode="full", method="fft")[count - 1 - most : count + most]
    lag = int(np.argmax(scores)) - most
    moved = _shifted(b[None], lag, count)[0].numpy() * around
    product, power = float(kept @ moved), float(moved @ moved)
    alike = power > 0 and product > ALIKE * np.sqrt(float(kept @ kept) * power)
    return Match(gain=product / power, lag=lag) if alike else Match()


def _shifted(y: torch.Tensor, lag: int, total: int) -> torch.Tensor:
    """y(t + lag), cut or filled with silence to `total` samples."""
    moved = y[:, lag:] if lag >= 0 else pad(y, (-lag, 0))
    return pad(moved, (0, max(total - moved.shape[1], 0)))[:, :total]


def _reach(other: Clip, rate: int, lag: int) -> int:
    return round(other.num_samples * rate / other.sample_rate) - lag


def _stretches(weight: torch.Tensor, margin: int) -> list[tuple[int, int]]:
    """Where the weight is not 0, with a margin on either side, as few stretches."""
    places = np.flatnonzero(weight.numpy() > 0)
    groups = np.split(places, np.flatnonzero(np.diff(places) > 2 * margin) + 1)
    return [(max(int(g[0]) - margin, 0), min(int(g[-1]) + 1 + margin, len(weight))) for g in groups]


def _inside(
    difference: torch.Tensor, region: Region, fmt: SpectrogramFormat, source: Clip, first: int
) -> torch.Tensor:
    """The part of the difference [channels, samples] at the region's times and frequencies."""
    columns = fmt.columns(source.duration_s)
    soft = torch.from_numpy(region.soft_mask(fmt, columns))  # [n_mels, columns], row 0 = lowest
    painted = region.mask(fmt, columns).any(axis=0)
    if bool((soft[:, torch.from_numpy(painted)] == 1).all()):
        return difference
    rate = source.sample_rate
    win = 2 * round(WINDOW_S * rate / 2)
    hop, window = win // 4, torch.hann_window(win)
    spectrum = torch.stft(difference, win, hop, window=window, return_complex=True, pad_mode="constant")
    hertz = np.fft.rfftfreq(win, 1 / rate)
    rows = torch.tensor([round(min(max(fmt.mel_row(float(hz)), 0), fmt.n_mels - 1)) for hz in hertz])
    seconds = (first + hop * np.arange(spectrum.shape[-1])) / rate
    at = torch.from_numpy(np.rint(seconds * fmt.sample_rate / fmt.hop_length).astype(np.int64))
    mask = soft[rows][:, at.clamp(0, columns - 1)]
    return torch.istft(spectrum * mask, win, hop, window=window, length=difference.shape[-1])
