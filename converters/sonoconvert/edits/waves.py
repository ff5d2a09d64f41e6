"""Putting back what was painted as sound, not as a spectrogram.

out = source + w · H (painted − source): w is 1 in the painted time, a raised cosine over the feather and 0
outside, H takes the painted frequencies from the STFT (and is nothing where all of them are painted). Where w
is 0 the samples are the source's own, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sonoconvert.defaults import FREE
from sonoconvert.edits.region import Region
from sonoconvert.edits.seam import limited, tails, weights
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat

SHORTEST_RAMP_S = 0.005  # without a feather the weight still rises this softly, inside the region
BESIDE_S = 1.0  # of the source next to what is painted, that levels are compared in
MOST_DB = 24.0  # that what is painted is turned up or down by
N_FFT, HOP = 2048, 512


def put_back_wave(
    source: Clip, painted: Tensor, region: Region, format: SpectrogramFormat, *, surroundings: str = FREE
) -> Clip:
    """The source with the painted region in it.

    painted: float32 of the source's shape and rate, what the model made of all of it. format: of the picture
    that the region was drawn on (its rows are a brush's height). surroundings: unless "free", the painting is
    turned up or down, each channel for itself, so that it is as loud as the source beside the region: models
    repeat what they keep at a level of their own.

    Raises SonopaintError where the shapes differ.
    """
    _check(source, painted)
    rate, total = source.sample_rate, source.num_samples
    cores = [(round(a * rate), round(b * rate)) for a, b in region.spans(source.duration_s)]
    outer = round(region.feather_s * rate)
    inner = max(round(SHORTEST_RAMP_S * rate) - outer, 0)
    weight = torch.from_numpy(weights(cores, 0, total, total, outer, inner))
    if surroundings != FREE:
        painted = painted * _gain(source.waveform, painted, weight, rate)
    difference = painted - source.waveform
    if region.brush is not None or any(b.low_hz is not None or b.high_hz is not None for b in region.boxes):
        difference = _in_rows(difference, region, format, rate)
    changed = source.waveform + weight * difference
    if surroundings != FREE:
        changed = limited(changed, source.waveform, rate)
    return replace(source, waveform=torch.where(weight > 0, changed, source.waveform))


def extended_wave(source: Clip, painted: Tensor, added: Tensor, *, surroundings: str = FREE) -> Clip:
    """A source with silence where time was `added` (bool [samples]), filled with what was painted there.

    At the border, what the painting lacks of the source is continued by prediction and faded out.
    """
    _check(source, painted)
    rate, piece = source.sample_rate, source.waveform
    if surroundings != FREE:
        painted = painted * _gain(piece, painted, added.float(), rate)
    new = painted + tails(piece - painted, added, rate)
    changed = torch.where(added, new, piece)
    return replace(source, waveform=limited(changed, piece, rate) if surroundings != FREE else changed)


def _check(source: Clip, painted: Tensor) -> None:
    if painted.shape != source.waveform.shape:
        raise SonopaintError(
            f"What was painted has the shape {list(painted.shape)}, not {list(source.waveform.shape)}."
        )


def _gain(source: Tensor, painted: Tensor, weight: Tensor, rate: int) -> Tensor:
    """[channels, 1]: the source's level over the painting's, beside what is painted."""
    reach = round(BESIDE_S * rate)
    near = torch.nn.functional.max_pool1d((weight > 0).float()[None], 2 * reach + 1, 1, reach)[0] > 0
    beside = near & (weight == 0)
    if not bool(beside.any()):
        return torch.ones(len(source), 1)
    own, other = (wave[:, beside].square().mean(dim=1, keepdim=True) for wave in (source, painted))
    most = 10 ** (MOST_DB / 20)
    heard = (own > 1e-8) & (other > 1e-8)
    return torch.where(heard, (own / other.clamp_min(1e-12)).sqrt().clamp(1 / most, most), torch.ones(1))


def _in_rows(wave: Tensor, region: Region, format: SpectrogramFormat, rate: int) -> Tensor:
    """What of [channels, samples] lies in the region's frequencies, over time."""
    count = wave.shape[1]
    columns = max(round(count / rate * format.sample_rate / format.hop_length), 1)
    soft = torch.from_numpy(region.soft_mask(format, columns))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(wave, N_FFT, HOP, window=window, return_complex=True, pad_mode="constant")
    bins, frames = spectrum.shape[-2:]
    hertz = np.arange(bins) * rate / N_FFT
    rows = [min(max(round(format.mel_row(h)), 0), format.n_mels - 1) for h in hertz.clip(format.f_min, None)]
    times = (torch.arange(frames) * (HOP / rate) * (format.sample_rate / format.hop_length)).round().long()
    mask = soft[torch.tensor(rows)][:, times.clamp(max=columns - 1)]
    return torch.istft(spectrum * mask, N_FFT, HOP, window=window, length=count)
