"""Phase reconstruction: from magnitudes to a waveform."""

from __future__ import annotations

import math

import torch

from sonoconvert.format import SpectrogramFormat
from sonoconvert.spectrogram import analyse, frame, overlap_add, pad_ends, synthesise

# Columns that are reconstructed at once: bounds memory for long pictures (41 s of riffusion-v1).
_BLOCK_COLUMNS = 4096


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
        seed: of the random starting phase, the same for all leading dimensions; the same seed gives the
            same samples on one device.
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
        start, keep = _random_phase(target, torch.Generator().manual_seed(seed)), None
    else:
        start = initial.transpose(-1, -2).contiguous()
        keep = None if fixed is None else fixed.transpose(-1, -2)
    spectrum = _iterate(target, start, n_fft, win, hop, iterations, momentum, keep, circular, length)
    framed = synthesise(spectrum, n_fft, win)
    return overlap_add(framed, win, hop, circular=circular, length=None if circular else length)


def reconstruct(
    magnitude: torch.Tensor,
    fmt: SpectrogramFormat,
    *,
    iterations: int = 32,
    seed: int = 0,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """A waveform from linear magnitudes (`mel_to_linear`) of a format: the quick way to Griffin–Lim.

    Two savings that cost no quality: the iterations run at the lowest sample rate that holds `f_max`
    (20 kHz for riffusion-v1; same window and hop in seconds, so the same cells), and where windows overlap
    at least eight-fold, 2·`iterations` run at twice the hop (half the work each) before half as many at the
    full hop.
    Long pictures go through in blocks, each continuing the phase of the one before it.

    Args:
        magnitude: float [..., win_length // 2 + 1, columns].

    Returns:
        float [..., length]; default columns·hop samples.
    """
    win, hop = fmt.win_length, fmt.hop_length
    work = _working_size(fmt)
    target = magnitude[..., : work // 2 + 1, :].transpose(-1, -2).contiguous() * (work / win)
    columns = target.shape[-2]
    length = columns * hop if length is None else length
    generator = torch.Generator().manual_seed(seed)
    # Frames at a block's end lack the future: they are done again by the next block, which keeps the
    # `context` frames before them fixed. Between those, both blocks give the same samples.
    context = 2 * math.ceil(win / hop)
    block = columns if circular else _BLOCK_COLUMNS
    pieces: list[torch.Tensor] = []
    start, written, kept = 0, 0, None
    while True:
        stop = min(start + block, columns)
        part = target[..., start:stop, :]
        spectrum = _coarse_to_fine(part, kept, work, hop * work // win, iterations, generator, circular)
        last = stop == columns
        end = length if last else (stop - context - context // 2) * hop
        full = torch.nn.functional.pad(spectrum, (0, (win - work) // 2)) * (win / work)
        span = None if circular else end - start * hop
        sound = overlap_add(synthesise(full, win, win), win, hop, circular=circular, length=span)
        pieces.append(sound[..., written - start * hop :])
        if last:
            return torch.cat(pieces, dim=-1)
        kept = spectrum[..., -2 * context : -context, :]
        start, written = stop - 2 * context, end


def _coarse_to_fine(
    target: torch.Tensor,
    kept: torch.Tensor | None,
    size: int,
    hop: int,
    iterations: int,
    generator: torch.Generator,
    circular: bool,
) -> torch.Tensor:
    """Griffin–Lim on [..., frames, F], first on every second frame; the first frames may be given."""
    frames = target.shape[-2]
    start = _random_phase(target, generator)
    keep = None
    if kept is not None:
        start = torch.cat(
            [kept, start[..., kept.shape[-2] :, :].expand_as(target[..., kept.shape[-2] :, :])], -2
        )
        keep = torch.arange(frames, device=target.device)[:, None] < kept.shape[-2]
    coarse = size >= 8 * hop and frames >= 4 and not (circular and frames % 2)
    if coarse:
        half_keep = None if keep is None else keep[::2]
        half = _iterate(
            target[..., ::2, :],
            start[..., ::2, :],
            size,
            size,
            2 * hop,
            2 * iterations,
            0.99,
            half_keep,
            circular,
        )
        length = None if circular else (frames - 1) * hop
        signal = overlap_add(synthesise(half, size, size), size, 2 * hop, circular=circular, length=length)
        fine = analyse(frame(pad_ends(signal, size, hop, circular=circular), size, hop), size, size)
        start = fine if keep is None else torch.where(keep, start, fine)
        iterations = iterations // 2
    return _iterate(target, start, size, size, hop, iterations, 0.99, keep, circular)


def _iterate(
    target: torch.Tensor,
    start: torch.Tensor,
    n_fft: int,
    win: int,
    hop: int,
    iterations: int,
    momentum: float,
    keep: torch.Tensor | None = None,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """The loop itself, on [..., frames, F]: magnitudes and a start → complex spectrum."""

    def project(spectrum: torch.Tensor) -> torch.Tensor:
        result = torch.sgn(spectrum) * target
        return result if keep is None else torch.where(keep, start, result)

    frames = target.shape[-2]
    # The signal must be analysed into as many frames again.
    inner = frames * hop if circular else min(max(length or 0, (frames - 1) * hop), frames * hop - 1)
    spectrum = project(start)
    previous: torch.Tensor | None = None
    for _ in range(iterations):
        signal = overlap_add(synthesise(spectrum, n_fft, win), win, hop, circular=circular, length=inner)
        consistent = analyse(frame(pad_ends(signal, win, hop, circular=circular), win, hop), n_fft, win)
        # t_n + α (t_n − t_{n−1})
        ahead = consistent if previous is None else previous.lerp_(consistent, 1 + momentum)
        spectrum, previous = project(ahead), consistent
    return spectrum


def _working_size(fmt: SpectrogramFormat) -> int:
    """Smallest even FFT size ≤ win_length that holds `f_max`, with a whole hop at its lower rate."""
    step = math.lcm(fmt.win_length // math.gcd(fmt.win_length, fmt.hop_length), 2)
    needed = 2 * math.ceil(fmt.f_max * fmt.win_length / fmt.sample_rate)
    return min(math.ceil(needed / step) * step, fmt.win_length)


def _random_phase(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit complex numbers of uniform phase [frames, F]. Drawn on the CPU: the same on every device."""
    angle = torch.rand(like.shape[-2:], generator=generator, dtype=like.dtype) * (2 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle).to(like.device)
