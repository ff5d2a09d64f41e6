"""Phase reconstruction: from magnitudes, or from mel bands, to a waveform.

The phase is where a picture's loss is. What `reconstruct` does about it, in the order of what it gains: it
starts from phase-gradient integration in place of noise, it lets the magnitudes within a mel band settle
where the waveform wants them, and it works on a coarse grid of frames before the fine one.
`benchmarks/phase.py` compares it with the methods that were left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from sonoconvert.phase.gradient import phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import (
    absolute,
    analyse,
    frame,
    overlap_add,
    pad_ends,
    shorter_window,
    synthesise,
)

# Iterations of `reconstruct`: the default, and where more of them hardly tell.
FAST, BEST = 16, 128
MOMENTUM = 0.99

# Columns that are reconstructed at once: bounds memory for long pictures (41 s of riffusion-v1).
_BLOCK_COLUMNS = 4096

Project = Callable[[torch.Tensor], torch.Tensor]


def griffin_lim(
    magnitude: torch.Tensor,
    win: int,
    hop: int,
    *,
    iterations: int = 32,
    momentum: float = MOMENTUM,
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

    def project(spectrum: torch.Tensor) -> torch.Tensor:
        result = torch.sgn(spectrum) * target
        return result if keep is None else torch.where(keep, start, result)

    spectrum = _iterate(project(start), project, n_fft, win, hop, iterations, momentum, circular, length)
    framed = synthesise(spectrum, n_fft, win)
    return overlap_add(framed, win, hop, circular=circular, length=None if circular else length)


def reconstruct(
    mel: torch.Tensor,
    fmt: SpectrogramFormat,
    *,
    iterations: int = FAST,
    seed: int = 0,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """A waveform from the mel magnitudes of one clip.

    Fast Griffin–Lim whose projection is onto the mel bands in place of fixed linear magnitudes (the
    magnitude within a band is the waveform's own; Masuyama, Ueno & Ono 2023 call it bi-level consistency),
    from a phase-gradient start that all channels share.
    Two savings that cost no quality: the iterations run at the lowest sample rate that holds `f_max`
    (20 kHz for riffusion-v1; same window and hop in seconds, so the same cells), and where windows overlap
    at least eight-fold, they run at twice the hop, and a quarter as many more at the full hop.
    Long pictures go through in blocks, each continuing the phase of the one before it.

    Args:
        mel: float [channels, n_mels, columns].
        iterations: `FAST` and `BEST` are the two that benchmarks/conversion.py measures.

    Returns:
        float [channels, length]; default columns·hop samples.
    """
    pieces = reconstruct_blocks(
        lambda start, stop: mel[..., start:stop],
        mel.shape[-1],
        fmt,
        iterations=iterations,
        seed=seed,
        circular=circular,
        length=length,
    )
    return torch.cat(list(pieces), dim=-1)


def reconstruct_blocks(
    read: Callable[[int, int], torch.Tensor],
    columns: int,
    fmt: SpectrogramFormat,
    *,
    iterations: int = FAST,
    seed: int = 0,
    circular: bool = False,
    length: int | None = None,
    block_columns: int | None = None,
) -> Iterator[torch.Tensor]:
    """`reconstruct` for pictures that are too long to be held: the waveform comes by and by, without seams.

    Args:
        read: gives the mel magnitudes [channels, n_mels, stop − start] of columns start … stop.
        columns: of the whole.
        block_columns: that are reconstructed at once; fewer take less memory and a little more time.

    Yields:
        float [channels, n], one after the other; together they are what `reconstruct` returns.
    """
    win, hop = fmt.win_length, fmt.hop_length
    work = shorter_window(fmt)
    length = columns * hop if length is None else length
    # Frames at a block's end lack the future: they are done again by the next block, which keeps the
    # `context` frames before them fixed. Between those, both blocks give the same samples.
    context = 2 * math.ceil(win / hop)
    block = columns if circular else block_columns or _BLOCK_COLUMNS
    start, written, kept = 0, 0, None
    while True:
        stop = min(start + block, columns)
        spectrum = _coarse_to_fine(read(start, stop), fmt, work, kept, iterations, seed, circular)
        last = stop == columns
        end = length if last else (stop - context - context // 2) * hop
        full = torch.nn.functional.pad(spectrum, (0, (win - work) // 2)) * (win / work)
        span = None if circular else end - start * hop
        sound = overlap_add(synthesise(full, win, win), win, hop, circular=circular, length=span)
        yield sound[..., written - start * hop :]
        if last:
            return
        kept = spectrum[..., -2 * context : -context, :]
        start, written = stop - 2 * context, end


def _coarse_to_fine(
    mel: torch.Tensor,
    fmt: SpectrogramFormat,
    size: int,
    kept: torch.Tensor | None,
    iterations: int,
    seed: int,
    circular: bool,
) -> torch.Tensor:
    """Complex [channels, frames, size // 2 + 1] of mel bands, first on every second frame.

    size: window and FFT of the work, at the rate fmt.sample_rate · size / win_length.
    kept: complex [channels, n, size // 2 + 1], the first frames, which stay as they are.
    """
    scale, hop, frames = size / fmt.win_length, fmt.hop_length * size // fmt.win_length, mel.shape[-1]
    bands = mel_bands(fmt, size // 2 + 1, mel.dtype, mel.device)
    linear = mel_to_linear(mel, fmt)[..., : size // 2 + 1, :].transpose(-1, -2) * scale
    target = mel.transpose(-1, -2).contiguous() * scale
    keep = torch.zeros(frames, 1, dtype=torch.bool, device=mel.device)
    known = torch.zeros_like(linear, dtype=torch.complex64)
    if kept is not None:
        keep[: kept.shape[-2]] = True
        known[..., : kept.shape[-2], :] = kept

    def iterated(spectrum: torch.Tensor, stride: int, times: int) -> torch.Tensor:
        every = slice(None, None, stride)

        def project(spectrum: torch.Tensor) -> torch.Tensor:
            free = spectrum * bands.correction(absolute(spectrum), target[..., every, :])
            return free if kept is None else torch.where(keep[every], known[..., every, :], free)

        return _iterate(spectrum, project, size, size, stride * hop, times, MOMENTUM, circular)

    coarse = size >= 8 * hop and frames >= 4 and not (circular and frames % 2)
    stride = 2 if coarse else 1
    every = slice(None, None, stride)
    loudness = linear.mean(dim=0)[every]
    start = {"initial": known.sum(dim=0)[every], "fixed": keep[every].expand_as(loudness)}
    phase = phase_gradient(loudness, size, stride * hop, seed=seed, circular=circular, **start)
    spectrum = linear[..., every, :] * phase
    spectrum = iterated(spectrum, stride, iterations)
    if not coarse:
        return spectrum
    length = None if circular else (frames - 1) * hop
    signal = overlap_add(synthesise(spectrum, size, size), size, 2 * hop, circular=circular, length=length)
    fine = analyse(frame(pad_ends(signal, size, hop, circular=circular), size, hop), size, size)
    return iterated(fine, 1, math.ceil(iterations / 4))


def _iterate(
    spectrum: torch.Tensor,
    project: Project,
    n_fft: int,
    win: int,
    hop: int,
    iterations: int,
    momentum: float,
    circular: bool = False,
    length: int | None = None,
) -> torch.Tensor:
    """The loop itself, on complex [..., frames, F]; `project` brings a spectrum to the magnitudes."""
    frames = spectrum.shape[-2]
    # The signal must be analysed into as many frames again.
    inner = frames * hop if circular else min(max(length or 0, (frames - 1) * hop), frames * hop - 1)
    previous: torch.Tensor | None = None
    for _ in range(iterations):
        signal = overlap_add(synthesise(spectrum, n_fft, win), win, hop, circular=circular, length=inner)
        consistent = analyse(frame(pad_ends(signal, win, hop, circular=circular), win, hop), n_fft, win)
        # t_n + α (t_n − t_{n−1})
        ahead = consistent if previous is None else previous.lerp_(consistent, 1 + momentum)
        spectrum, previous = project(ahead), consistent
    return spectrum


def _random_phase(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit complex numbers of uniform phase [frames, F]. Drawn on the CPU: the same on every device."""
    angle = torch.rand(like.shape[-2:], generator=generator, dtype=like.dtype) * (2 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle).to(like.device)
