"""Phase reconstruction: from magnitudes, or from mel bands, to a waveform.

The phase is where a picture's loss is. What `reconstruct` does about it, in the order of what it gains: it
starts from phase-gradient integration in place of noise, it lets the magnitudes within a mel band settle
where the waveform wants them, and it works on a coarse grid of frames before the fine one.
`benchmarks/phase.py` compares it with the methods that were left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from sonoconvert.format import SpectrogramFormat
from sonoconvert.inversion import mel_bands, mel_to_linear
from sonoconvert.spectrogram import absolute, analyse, frame, overlap_add, pad_ends, synthesise

# Iterations of `reconstruct`: the default, and where more of them hardly tell.
FAST, BEST = 16, 128
MOMENTUM = 0.99

# Columns that are reconstructed at once: bounds memory for long pictures (41 s of riffusion-v1).
_BLOCK_COLUMNS = 4096
# The Gaussian that is nearest to a Hann window of L samples is exp(−πt²/γ) with γ = 0.25645·L² (Průša 2017).
_HANN_GAMMA = 0.25645
_TOO_QUIET = 1e-5  # of the loudest cell: cells whose phase is left to chance

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
        return _kept(torch.sgn(spectrum) * target, start, keep)

    spectrum = _iterate(project(start), project, n_fft, win, hop, iterations, momentum, circular, length)
    framed = synthesise(spectrum, n_fft, win)
    return overlap_add(framed, win, hop, circular=circular, length=None if circular else length)


def phase_gradient(
    magnitude: torch.Tensor,
    win: int,
    hop: int,
    *,
    known: torch.Tensor | None = None,
    seed: int = 0,
    circular: bool = False,
) -> torch.Tensor:
    """Phases from magnitudes alone: phase-gradient integration (Průša, Balazs & Søndergaard 2017, PGHI).

    The derivatives of the log magnitude are those of the phase (eq. 20, 21, for the Gaussian nearest to the
    Hann window). They are summed along the loudest paths: in place of the paper's heap, along the
    maximum spanning tree of the cells (an edge is as strong as the weaker of its two cells), which
    visits the cells in much the same order and leaves the loop to compiled code.

    Args:
        magnitude: float [frames, win // 2 + 1].
        known: complex [n, win // 2 + 1], n < frames: the first frames, whose phases are carried on.
        seed: of the phase of cells that are too quiet to be followed.
        circular: the last frame leads into the first.

    Returns:
        complex [frames, win // 2 + 1] of magnitude 1 (frames begin at the FFT's time 0).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    frames, bins = magnitude.shape
    loudness = magnitude.detach().float().cpu().numpy()
    loudest = loudness.max()
    chance = np.random.default_rng(seed).uniform(0, 2 * np.pi, loudness.shape)
    if loudest == 0 or frames < 3:
        return _unit(chance, magnitude)
    log = np.log(np.maximum(loudness, loudest * 1e-10))
    over_time = np.gradient(np.pad(log, ((1, 1), (0, 0)), mode="wrap" if circular else "edge"), axis=0)[1:-1]
    gamma = _HANN_GAMMA * win * win
    per_frame = 2 * np.pi * hop / win * np.arange(bins) + hop * win / gamma * np.gradient(log, axis=1)
    per_bin = -gamma / (hop * win) * over_time
    # Steps of the phase into each cell, from the frame before it and from the bin below it (trapezoids).
    steps = [(per + np.roll(per, 1, axis=axis)).ravel() / 2 for axis, per in enumerate((per_frame, per_bin))]

    cells = np.arange(frames * bins, dtype=np.int32).reshape(frames, bins)
    last = frames if circular else frames - 1
    sides = [(cells[:last], np.roll(cells, -1, axis=0)[:last]), (cells[:, :-1], cells[:, 1:])]
    near, far = (np.concatenate([side[end].ravel() for side in sides]) for end in (0, 1))
    log = log.ravel()
    cost = 1 + log.max() - np.minimum(log[near], log[far])
    root = int(log.argmax())
    if known is not None:  # they hang on a root of their own, before all others
        given = cells[: len(known)].ravel()
        root = cells.size
        near, far = np.append(near, given), np.append(far, np.full_like(given, root))
        cost = np.append(cost, np.full(given.size, 1e-3))
    nodes = max(cells.size, root + 1)
    tree = minimum_spanning_tree(csr_array((cost, (near, far)), shape=(nodes, nodes)))
    _, parent = breadth_first_order(tree, root, directed=False)
    parent[root] = root

    phase = np.zeros(nodes)
    inner = np.flatnonzero(parent != root) if known is not None else np.delete(cells, root)
    above = parent[inner]
    frames_on = inner // bins - above // bins
    if circular:
        frames_on = (frames_on + 1) % frames - 1
    axis_steps = np.where(frames_on == 0, steps[1][np.maximum(inner, above)], 0.0)
    axis_steps[frames_on == 1] = steps[0][inner[frames_on == 1]]
    axis_steps[frames_on == -1] = steps[0][above[frames_on == -1]]
    phase[inner] = axis_steps * np.where(frames_on == 0, np.sign(inner - above), frames_on)
    centre = np.pi * np.arange(bins)  # from frames that begin at time 0 to frames around it
    if known is not None:
        phase[given] = (np.angle(known.detach().cpu().numpy()) - centre).ravel()
    # Sum from the root outwards by pointer jumping: the reach doubles in each round.
    parent = parent.astype(np.intp)
    while (parent != root).any():
        phase += phase[parent]
        parent = parent[parent]
    phase = phase[: cells.size].reshape(frames, bins) % (2 * np.pi) + centre
    return _unit(np.where(loudness < _TOO_QUIET * loudest, chance, phase), magnitude)


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
    work = _working_size(fmt)
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
    coarse = size >= 8 * hop and frames >= 4 and not (circular and frames % 2)
    stride = 2 if coarse else 1
    known = None if kept is None else kept.sum(dim=0)[::stride]
    loudness = linear.mean(dim=0)[::stride]
    phase = phase_gradient(loudness, size, stride * hop, known=known, seed=seed, circular=circular)
    spectrum = linear[..., ::stride, :] * phase

    def iterated(spectrum: torch.Tensor, stride: int, times: int) -> torch.Tensor:
        wanted = target[..., ::stride, :]
        start = keep = None
        if kept is not None:
            start = torch.zeros_like(spectrum)
            start[..., : len(kept[0, ::stride]), :] = kept[..., ::stride, :]
            keep = torch.arange(len(wanted[0]), device=mel.device)[:, None] < len(kept[0, ::stride])

        def project(spectrum: torch.Tensor) -> torch.Tensor:
            return _kept(spectrum * bands.correction(absolute(spectrum), wanted), start, keep)

        spectrum = _kept(spectrum, start, keep)
        return _iterate(spectrum, project, size, size, stride * hop, times, MOMENTUM, circular)

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


def _kept(spectrum: torch.Tensor, start: torch.Tensor | None, keep: torch.Tensor | None) -> torch.Tensor:
    return spectrum if start is None or keep is None else torch.where(keep, start, spectrum)


def _working_size(fmt: SpectrogramFormat) -> int:
    """Smallest even FFT size ≤ win_length that holds `f_max`, with a whole hop at its lower rate."""
    step = math.lcm(fmt.win_length // math.gcd(fmt.win_length, fmt.hop_length), 2)
    needed = 2 * math.ceil(fmt.f_max * fmt.win_length / fmt.sample_rate)
    return min(math.ceil(needed / step) * step, fmt.win_length)


def _unit(angle: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Complex numbers of magnitude 1 with these angles, of `like`'s precision and device."""
    phase = torch.from_numpy(angle).to(like.dtype)
    return torch.polar(torch.ones_like(phase), phase).to(like.device)


def _random_phase(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit complex numbers of uniform phase [frames, F]. Drawn on the CPU: the same on every device."""
    angle = torch.rand(like.shape[-2:], generator=generator, dtype=like.dtype) * (2 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle).to(like.device)
