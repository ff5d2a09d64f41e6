"""Phase reconstruction: from magnitudes to a waveform."""

from __future__ import annotations

import torch

from sonoconvert.spectrogram import analyse, frame, overlap_add, pad_ends, synthesise


def griffin_lim(
    magnitude: torch.Tensor,
    win: int,
    hop: int,
    *,
    iterations: int = 32,
    momentum: float = 0.99,
    seed: int = 0,
    initial: torch.Tensor | None = None,
    fixed: torch.Tensor | None = None,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """Fast Griffin–Lim (Perraudin, Balazs & Søndergaard 2013, algorithm 2).

    Args:
        magnitude: float [..., F, frames] with F = n_fft // 2 + 1; n_fft is `win` unless F says more.
        win, hop: window and hop in samples.
        iterations: pairs of inverse and forward transforms; 0 keeps the starting phase.
        momentum: acceleration (α in the paper); 0 is the original Griffin & Lim (1984).
        seed: of the random starting phase; the same seed gives the same samples on one device.
        initial: complex [..., F, frames] whose phase is the start.
        fixed: bool, broadcastable to `magnitude`: cells that keep `initial`'s complex value throughout.
        circular: time wraps (loops); the result has frames·hop samples.
        length: samples of the result; default (frames − 1)·hop.

    Returns:
        float [..., length].
    """
    n_fft = max(win, 2 * (magnitude.shape[-2] - 1))
    # [..., frames, F]: the FFT works on the last axis, so the loop needs no transposition.
    target = magnitude.transpose(-1, -2).contiguous()
    if initial is None:
        spectrum = target * _random_phase(target, seed)
        keep, kept = None, None
    else:
        start = initial.transpose(-1, -2).contiguous()
        spectrum = target * _unit(start)
        keep, kept = (None, None) if fixed is None else (fixed.transpose(-1, -2), start)
    if keep is not None and kept is not None:
        spectrum = torch.where(keep, kept, spectrum)
    count = target.shape[-2]
    # Inside the loop the signal must be analysed into as many frames again.
    if circular:
        inner = count * hop
    else:
        inner = min(max(length or 0, (count - 1) * hop), count * hop - 1)
    previous: torch.Tensor | None = None
    for _ in range(iterations):
        signal = overlap_add(synthesise(spectrum, n_fft, win), win, hop, circular=circular, length=inner)
        consistent = analyse(frame(pad_ends(signal, win, hop, circular=circular), win, hop), n_fft, win)
        if previous is None or momentum == 0:
            ahead = consistent
        else:
            ahead = torch.lerp(previous, consistent, 1 + momentum)
        previous = consistent
        spectrum = target * _unit(ahead)
        if keep is not None and kept is not None:
            spectrum = torch.where(keep, kept, spectrum)
    framed = synthesise(spectrum, n_fft, win)
    return overlap_add(framed, win, hop, circular=circular, length=None if circular else length)


def _unit(spectrum: torch.Tensor) -> torch.Tensor:
    """Phase factors; cells of magnitude 0 get a factor near 0, which the next iteration repairs."""
    return spectrum / spectrum.abs().clamp_min(1e-12)


def _random_phase(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Unit complex numbers of uniform phase. Drawn on the CPU: the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(like.shape, generator=generator, dtype=like.dtype) * (2 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle).to(like.device)
