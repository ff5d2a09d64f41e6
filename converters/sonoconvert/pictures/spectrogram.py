"""Waveform ⇄ complex spectrogram ⇄ mel magnitude ⇄ levels: pure functions on torch tensors.

Frames are centred on multiples of the hop. Away from circular mode the ends are mirrored, as
`torch.stft(center=True)` does; in circular mode time wraps, for loops. A window shorter than the FFT is
zero padded at its end (magnitudes are those of a centred padding).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.banded import Banded
from sonoconvert.pictures.format import SpectrogramFormat, hz_to_mel, mel_to_hz
from sonoconvert.pictures.grid import Grid, working_grid

# Frames whose bands are summed at once: bounds memory at about 300 MB for the largest preset.
_BLOCK_FRAMES = 512
# Of them, FFT samples that are transformed at once on a processor: as many as its cache holds.
_CACHED_SAMPLES = 1 << 19
# Above the highest band, as part of it: what lies beyond leaks through the window by less than −100 dB.
_TRANSITION = 1.1


def stft(waveform: torch.Tensor, n_fft: int, win: int, hop: int, *, circular: bool = False) -> torch.Tensor:
    """Short-time Fourier transform with a periodic Hann window.

    Args:
        waveform: float [..., T]. In circular mode T must be a multiple of `hop`.
        n_fft, win, hop: FFT size, window length (≤ n_fft, even) and hop in samples.
        circular: time wraps instead of being mirrored at the ends.

    Returns:
        complex [..., n_fft // 2 + 1, frames], frames = 1 + T // hop, or T // hop in circular mode.
    """
    framed = frame(pad_ends(waveform, win, hop, circular=circular), win, hop)
    return analyse(framed, n_fft, win).transpose(-1, -2)


def istft(
    spectrum: torch.Tensor,
    n_fft: int,
    win: int,
    hop: int,
    *,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """Least-squares inverse of `stft` (Griffin & Lim 1984, eq. 6).

    Args:
        spectrum: complex [..., n_fft // 2 + 1, frames].
        length: samples to return; default (frames − 1)·hop, or frames·hop in circular mode (where
            another length is an error). Samples that no frame reaches are 0.

    Returns:
        float [..., length].
    """
    framed = synthesise(spectrum.transpose(-1, -2), n_fft, win)
    return overlap_add(framed, win, hop, circular=circular, length=length)


# --- the parts of stft and istft, in [..., frames, bins] layout: what the inner loops use ---------------


def pad_ends(waveform: torch.Tensor, win: int, hop: int, *, circular: bool = False) -> torch.Tensor:
    """Extend [..., T] by half a window on both sides, mirrored or wrapped."""
    total, half = waveform.shape[-1], win // 2
    if circular:
        if total == 0 or total % hop:
            raise SonopaintError(
                f"A loop must be a whole number of hops ({hop} samples), not {total} samples long."
            )
        index = torch.arange(-half, total + half, device=waveform.device) % total
        # The last frame starts at total − hop − half, so hop samples fewer are enough.
        return waveform[..., index[: total + win - hop]]
    if total > half:
        flat = waveform.reshape(1, -1, total)
        padded = torch.nn.functional.pad(flat, (half, half), mode="reflect")
        return padded.reshape(*waveform.shape[:-1], total + win)
    # Too short to be mirrored: mirror what a zero-extended clip would give, keep the frame count.
    longer = torch.nn.functional.pad(waveform, (0, half + 1 - total))
    return pad_ends(longer, win, hop)[..., : total + win]


def frame(padded: torch.Tensor, win: int, hop: int) -> torch.Tensor:
    """Overlapping frames [..., frames, win] as a view of [..., samples]."""
    return padded.unfold(-1, win, hop)


def analyse(framed: torch.Tensor, n_fft: int, win: int) -> torch.Tensor:
    """Windowed real FFT: [..., frames, win] → complex [..., frames, n_fft // 2 + 1]."""
    return torch.fft.rfft(framed * hann(win, framed.dtype, framed.device), n=n_fft)


def synthesise(spectrum: torch.Tensor, n_fft: int, win: int) -> torch.Tensor:
    """Windowed inverse FFT: complex [..., frames, n_fft // 2 + 1] → [..., frames, win]."""
    framed = torch.fft.irfft(spectrum, n=n_fft)[..., :win]
    return framed * hann(win, framed.dtype, framed.device)


def absolute(spectrum: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """|spectrum| of complex [...]; three times as quick as `abs`, which guards against overflow."""
    if spectrum.requires_grad:  # a root has no gradient at 0
        return spectrum.abs()
    return torch.square(spectrum.real, out=out).addcmul_(spectrum.imag, spectrum.imag).sqrt_()


def overlap_add(
    framed: torch.Tensor, win: int, hop: int, *, circular: bool = False, length: int | None = None
) -> torch.Tensor:
    """Sum windowed frames [..., frames, win] and divide by the summed squared window → [..., length]."""
    count = framed.shape[-2]
    signal = _sum_frames(framed, win, hop, circular)
    signal = signal / _envelope(count, win, hop, circular, framed.dtype, framed.device)
    if circular:
        if length not in (None, count * hop):
            raise SonopaintError(f"A loop of {count} frames has {count * hop} samples, not {length}.")
        return torch.roll(signal, -(win // 2), dims=-1)
    wanted = (count - 1) * hop if length is None else length
    signal = signal[..., win // 2 : win // 2 + wanted]
    return torch.nn.functional.pad(signal, (0, wanted - signal.shape[-1]))


@lru_cache(maxsize=4)
def _envelope(
    count: int, win: int, hop: int, circular: bool, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """What `count` frames' squared windows sum up to."""
    window = hann(win, dtype, device).square().expand(count, win)
    return _sum_frames(window, win, hop, circular).clamp_min(1e-6)


def _sum_frames(framed: torch.Tensor, win: int, hop: int, circular: bool) -> torch.Tensor:
    """Overlap-add as a few shifted sums of hop-long blocks (far quicker than a scatter)."""
    count, overlaps = framed.shape[-2], math.ceil(win / hop)
    if win % hop:
        framed = torch.nn.functional.pad(framed, (0, overlaps * hop - win))
    blocks = framed.unflatten(-1, (overlaps, hop))
    if circular:
        total = blocks[..., 0, :].clone()
        for shift in range(1, overlaps):
            total += torch.roll(blocks[..., shift, :], shift, dims=-2)
        return total.flatten(-2)
    total = framed.new_zeros(*framed.shape[:-2], count + overlaps - 1, hop)
    for shift in range(overlaps):
        total[..., shift : shift + count, :] += blocks[..., shift, :]
    return total.flatten(-2)


@lru_cache(maxsize=32)
def hann(win: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Periodic Hann window [win]."""
    return torch.hann_window(win, periodic=True, dtype=torch.float64).to(device=device, dtype=dtype)


# --- mel -------------------------------------------------------------------------------------------------


def mel_magnitude(waveform: torch.Tensor, fmt: SpectrogramFormat, *, circular: bool = False) -> torch.Tensor:
    """Mel-band magnitudes of float [..., T] at `fmt.sample_rate` → float [..., n_mels, frames].

    frames = `fmt.frames(T)`; row 0 is the lowest band. Frames are transformed in blocks, so memory
    grows with the result and not with the fine FFT grid.
    """
    padded = pad_ends(waveform, fmt.win_length, fmt.hop_length, circular=circular)
    # At the lowest rate that holds the bands: the same cells for half the work (riffusion-v1).
    grid = working_grid(fmt, _TRANSITION)
    framed = frame(_decimated(padded, fmt.win_length, grid.win), grid.win, grid.hop)
    framed = framed[..., : fmt.frames(waveform.shape[-1]), :]
    first, basis = _used_basis(fmt, waveform.dtype, waveform.device)
    blocks = []
    # Fewer at a time where the grid is finer still ("rgb" formats).
    for block in framed.split(max(1, min(_BLOCK_FRAMES, _BLOCK_FRAMES * 17_640 // grid.n_fft)), dim=-2):
        blocks.append(basis.times(_sizes(block, grid, first, basis.shape[1])))
    return torch.cat(blocks, dim=-2).transpose(-1, -2) * (fmt.win_length / grid.win)


def _sizes(framed: torch.Tensor, grid: Grid, first: int, bins: int) -> torch.Tensor:
    """Magnitudes of so many FFT bins from the first: [..., frames, win] → [..., frames, bins]."""
    rows = framed[..., 0, 0].numel() * grid.n_fft
    few = max(1, _CACHED_SAMPLES // max(rows, 1)) if framed.device.type == "cpu" else framed.shape[-2]
    used = slice(first, first + bins)
    if framed.requires_grad:
        parts = framed.split(few, dim=-2)
        return torch.cat([absolute(analyse(part, grid.n_fft, grid.win)[..., used]) for part in parts], dim=-2)
    # As there, but in memory that is taken once: new pages cost as much as what is written to them.
    window = hann(grid.win, framed.dtype, framed.device)
    padded = framed.new_zeros(*framed.shape[:-2], min(few, framed.shape[-2]), grid.n_fft)
    sizes = framed.new_empty(*framed.shape[:-1], bins)
    for part, result in zip(framed.split(few, dim=-2), sizes.split(few, dim=-2), strict=True):
        filled = padded[..., : part.shape[-2], :]
        torch.mul(part, window, out=filled[..., : grid.win])
        absolute(torch.fft.rfft(filled)[..., used], out=result)
    return sizes


def _decimated(waveform: torch.Tensor, size: int, new_size: int) -> torch.Tensor:
    """[..., T] at new_size / size of its rate: the spectrum of all of it, cut off."""
    if new_size == size:
        return waveform
    from scipy.fft import next_fast_len

    common = math.gcd(size, new_size)
    total = next_fast_len(math.ceil(waveform.shape[-1] * common / size), real=True)
    length, wanted = total * (size // common), total * (new_size // common)
    spectrum = torch.fft.rfft(waveform, n=length)[..., : wanted // 2 + 1]
    shorter = torch.fft.irfft(spectrum, n=wanted) * (wanted / length)
    return shorter[..., : math.ceil(waveform.shape[-1] * new_size / size)]


def to_levels(
    mel: torch.Tensor, fmt: SpectrogramFormat, peak: torch.Tensor | float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Map magnitudes [..., n_mels, frames] to levels in [0, 1] relative to the peak.

    Args:
        peak: magnitude of level 1, broadcastable to [...]; default: each spectrogram's own maximum.

    Returns:
        levels (same shape) and peak [...]. Silence has level 0 everywhere and peak 0.
    """
    if peak is None:
        peak = mel.amax(dim=(-1, -2))
    peak = torch.as_tensor(peak, dtype=mel.dtype, device=mel.device).expand(mel.shape[:-2])
    relative = mel / peak.clamp_min(torch.finfo(mel.dtype).tiny)[..., None, None]
    if fmt.curve == "power":
        relative = relative.clamp(0, 1)
        # Two roots are a quarter of the power's work.
        return (relative.sqrt().sqrt() if fmt.exponent == 0.25 else relative**fmt.exponent), peak
    decibels = 20 * torch.log10(relative.clamp_min(1e-12))
    return (1 - decibels / fmt.floor_db).clamp(0, 1), peak


def from_levels(
    levels: torch.Tensor, fmt: SpectrogramFormat, peak: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """The inverse of `to_levels`: levels [..., n_mels, frames] → magnitudes; level 0 is silence."""
    peak = torch.as_tensor(peak, dtype=levels.dtype, device=levels.device).expand(levels.shape[:-2])
    if fmt.curve == "power":
        relative = levels ** (1 / fmt.exponent)
    else:
        relative = torch.where(levels > 0, 10 ** ((1 - levels) * fmt.floor_db / 20), 0.0)
    return relative * peak[..., None, None]


def levels(waveform: torch.Tensor, fmt: SpectrogramFormat) -> torch.Tensor:
    """Levels of a batch of clips [B, T] → float32 [B, n_mels, fmt.width]: what trainers use.

    Each clip is normalised to its own peak; shorter clips are padded with level 0, longer ones cropped.
    """
    result, _ = to_levels(mel_magnitude(waveform.float(), fmt)[..., : fmt.width], fmt)
    return torch.nn.functional.pad(result, (0, fmt.width - result.shape[-1]))


@lru_cache(maxsize=8)
def mel_basis(fmt: SpectrogramFormat) -> np.ndarray:
    """Triangular mel filters float64 [n_mels, n_fft // 2 + 1], as torchaudio's and librosa's."""
    frequencies = np.linspace(0, fmt.sample_rate / 2, fmt.n_fft // 2 + 1)
    low, high = hz_to_mel(fmt.f_min, fmt.mel_scale), hz_to_mel(fmt.f_max, fmt.mel_scale)
    edges = np.array([mel_to_hz(mel, fmt.mel_scale) for mel in np.linspace(low, high, fmt.n_mels + 2)])
    basis = np.zeros((fmt.n_mels, len(frequencies)))
    # A filter is written where it is above 0 only: the whole of a fine basis is 300 MB.
    for row, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        first, stop = np.searchsorted(frequencies, [left, right])
        hz = frequencies[first:stop]
        basis[row, first:stop] = np.minimum((hz - left) / (centre - left), (right - hz) / (right - centre))
    if fmt.mel_norm == "slaney":
        basis *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return basis


@lru_cache(maxsize=8)
def _used_basis(fmt: SpectrogramFormat, dtype: torch.dtype, device: torch.device) -> tuple[int, Banded]:
    """First FFT bin and [n_mels, bins] part of the mel basis that is not all zero."""
    basis = mel_basis(fmt)
    used = np.flatnonzero(basis.any(axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
    return first, Banded(basis[:, first:last], dtype, device)
