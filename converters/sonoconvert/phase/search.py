"""Phase search: from mel bands to a waveform.

The phase is where a picture's loss is. What `reconstruct` does about it, in the order of what it gains: it
starts from learned phases, or from phase-gradient integration, in place of noise; it lets the magnitudes
within a mel band settle where the waveform wants them; and it works on a coarse grid of frames before the
fine one. `benchmarks/phase.py` compares it with the methods that were left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonoconvert.defaults import ITERATIONS, QUALITIES
from sonoconvert.errors import SonopaintError
from sonoconvert.phase.gradient import phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.phase.vocoder import FAST, NETWORK_FRAMES, Learned, Vocoder, load
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.grid import working_grid
from sonoconvert.pictures.spectrogram import absolute, analyse, frame, overlap_add, pad_ends, synthesise
from sonoconvert.progress import Progress, Steps, portion

MOMENTUM = 0.99
MENDED_EVERY = 16  # iterations

# Columns that are reconstructed at once: bounds memory for long pictures (41 s of riffusion-v1).
_BLOCK_COLUMNS = 4096


@dataclass(frozen=True)
class PhaseSearch:
    """How the phase of a picture is searched for; the defaults of every door.

    iterations: of `iterate`; see `defaults.QUALITIES`.
    seed: of what no magnitude tells; the same seed gives the same samples on one device.
    learned: begin with the learned decoder where there are weights for the format.
    """

    iterations: int = ITERATIONS
    seed: int = 0
    learned: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise SonopaintError(f"A phase search has 0 iterations or more, not {self.iterations}.")

    @classmethod
    def of(cls, quality: str, *, seed: int = 0, learned: bool = True) -> PhaseSearch:
        """The search of a quality's name."""
        if quality not in QUALITIES:
            raise SonopaintError(f"There is no quality {quality!r}; use one of {', '.join(QUALITIES)}.")
        return cls(QUALITIES[quality], seed, learned)

    @property
    def quality(self) -> str | None:
        """The name of the quality that has these iterations."""
        return next((name for name, count in QUALITIES.items() if count == self.iterations), None)

    def decoder(self, fmt: SpectrogramFormat) -> Vocoder | None:
        """The learned decoder to begin with, None where it is not wanted or there is none.

        In the quickest search where windows overlap little, a quick one: any other costs more than it gains.
        """
        quick = not _overlaps_much(fmt) and self.iterations <= QUALITIES["fast"]
        return load(fmt, FAST if quick else "") if self.learned else None


def iterate(
    spectrum: Tensor,
    project: Callable[[Tensor], Tensor],
    win: int,
    hop: int,
    iterations: int,
    *,
    momentum: float = MOMENTUM,
    circular: bool = False,
    length: int | None = None,
    hold: Callable[[Tensor], Tensor] | None = None,
    tick: Callable[[], None] | None = None,
) -> Tensor:
    """Fast Griffin–Lim (Perraudin, Balazs & Søndergaard 2013, algorithm 2): the one loop of all searches.

    Args:
        spectrum: complex [..., frames, win // 2 + 1] of a Hann-windowed STFT; where to begin.
        project: brings a spectrum to what is known of it: magnitudes, mel bands, pinned cells.
        iterations: pairs of inverse and forward transforms.
        momentum: acceleration (α in the paper); 0 is the original Griffin & Lim (1984).
        circular: time wraps.
        length: samples of the waveform, which must have as many frames; default: as many as can be.
        hold: brings the waveform [..., length] to what is known of it.
        tick: called before each iteration; may raise Cancelled.

    Returns:
        The projected spectrum.
    """
    frames = spectrum.shape[-2]
    length = frames * hop - (0 if circular else 1) if length is None else length
    previous: Tensor | None = None
    for _ in range(iterations):
        if tick is not None:
            tick()
        wave = overlap_add(synthesise(spectrum, win, win), win, hop, circular=circular, length=length)
        if hold is not None:
            wave = hold(wave)
        consistent = analyse(frame(pad_ends(wave, win, hop, circular=circular), win, hop), win, win)
        # t_n + α (t_n − t_{n−1})
        ahead = consistent
        if previous is not None:  # as pairs of real numbers: three times as quick
            torch.view_as_real(previous).lerp_(torch.view_as_real(consistent), 1 + momentum)
            ahead = previous
        spectrum, previous = project(ahead), consistent
    return spectrum


class Start(Protocol):
    """Where the search for one block's phases begins, and what mends them on the way.

    Spectra are complex [channels, frames, bins] on the working grid, with the magnitudes of a `win_length`
    FFT; `known` is the part of one, the first frames, that stays.
    """

    every: int  # iterations between two mendings; 0: none
    momentum: float  # of the last iterations

    def begin(self, stride: int, known: Tensor | None) -> Tensor:
        """Every `stride`-th frame."""

    def mended(self, spectrum: Tensor, known: Tensor | None) -> Tensor:
        """A spectrum of all frames whose phases agree better with what is known of their steps."""


class _Gradient:
    """Phase-gradient integration of the channels' mean magnitudes, which all channels share."""

    every, momentum = 0, MOMENTUM

    def __init__(self, mel: Tensor, fmt: SpectrogramFormat, seed: int, circular: bool) -> None:
        self.grid, self.seed, self.circular = working_grid(fmt), seed, circular
        self.magnitude = mel_to_linear(mel, fmt)[..., : self.grid.bins, :].transpose(-1, -2)

    def begin(self, stride: int, known: Tensor | None) -> Tensor:
        magnitude = self.magnitude[..., ::stride, :]
        loudness = magnitude.mean(dim=0)
        initial = fixed = None
        if known is not None:
            mean = known[..., ::stride, :].sum(dim=0)
            initial = pad(mean, (0, 0, 0, len(loudness) - len(mean)))
            fixed = (torch.arange(len(loudness)) < len(mean))[:, None].expand_as(loudness)
        phase = phase_gradient(
            loudness, self.grid.win, stride * self.grid.hop, seed=self.seed, circular=self.circular,
            initial=initial, fixed=fixed,
        )  # fmt: skip
        return magnitude * phase

    def mended(self, spectrum: Tensor, known: Tensor | None) -> Tensor:
        return spectrum


def _overlaps_much(fmt: SpectrogramFormat) -> bool:
    """Whether windows overlap at least eightfold: then every second of them says nearly everything."""
    grid = working_grid(fmt)
    return grid.win >= 8 * grid.hop


def reconstruct(
    mel: Tensor,
    fmt: SpectrogramFormat,
    search: PhaseSearch | None = None,
    *,
    vocoder: Vocoder | None = None,
    circular: bool = False,
    length: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """A waveform from the mel magnitudes of one clip.

    Fast Griffin–Lim whose projection is onto the mel bands in place of fixed linear magnitudes (the
    magnitude within a band is the waveform's own; Masuyama, Ueno & Ono 2023 call it bi-level consistency).
    Two savings that cost no quality: the iterations run at the lowest sample rate that holds `f_max`
    (20 kHz for riffusion-v1; same window and hop in seconds, so the same cells), and where windows overlap
    at least eight-fold, they run at twice the hop, and a quarter as many more at the full hop.
    Long pictures go through in blocks, each continuing the phase of the one before it.

    Args:
        mel: float [channels, n_mels, columns].
        vocoder: the learned decoder to begin with, in place of the one that `search` finds.
        circular: time wraps; the result has columns·hop samples.
        progress: told the share that is done before each iteration; may raise Cancelled.

    Returns:
        float [channels, length]; default columns·hop samples.
    """
    pieces = reconstruct_blocks(
        lambda start, stop: mel[..., start:stop], mel.shape[-1], fmt, search,
        vocoder=vocoder, circular=circular, length=length, progress=progress,
    )  # fmt: skip
    return torch.cat(list(pieces), dim=-1)


@torch.no_grad()
def reconstruct_blocks(
    read: Callable[[int, int], Tensor],
    columns: int,
    fmt: SpectrogramFormat,
    search: PhaseSearch | None = None,
    *,
    vocoder: Vocoder | None = None,
    circular: bool = False,
    length: int | None = None,
    block_columns: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """`reconstruct` for pictures that are too long to be held: the waveform comes by and by, without seams.

    Args:
        read: gives the mel magnitudes [channels, n_mels, stop − start] of columns start … stop.
        columns: of the whole.
        block_columns: that are reconstructed at once; fewer take less memory and a little more time.

    Yields:
        float [channels, n], one after the other; together they are what `reconstruct` returns.
    """
    search = search or PhaseSearch()
    vocoder = vocoder or search.decoder(fmt)
    if vocoder is not None and not vocoder.fits(fmt):
        raise SonopaintError(
            f"These decoder weights are for {vocoder.fmt.name}, not for {fmt.name}; decode without them."
        )
    win, hop = fmt.win_length, fmt.hop_length
    length = columns * hop if length is None or circular else length
    # Frames at a block's end lack the future: they are done again by the next block, which keeps the
    # `context` frames before them fixed. Between those, both blocks give the same samples.
    context = 4 * math.ceil(win / hop / 2)
    block = columns if circular else block_columns or _BLOCK_COLUMNS
    start, written, known = 0, 0, None
    while True:
        stop = min(start + block, columns)
        last = stop == columns
        end = length if last else (stop - context - context // 2) * hop
        share = portion(progress, written / length, end / length)
        share(0.0)
        spectrum = _searched(read, start, stop, columns, fmt, search, vocoder, known, circular, share)
        full = pad(spectrum, (0, win // 2 + 1 - spectrum.shape[-1]))
        span = None if circular else end - start * hop
        sound = overlap_add(synthesise(full, win, win), win, hop, circular=circular, length=span)
        yield sound[..., written - start * hop :]
        if last:
            return
        known = spectrum[..., -2 * context : -context, :]
        start, written = stop - 2 * context, end


def _searched(
    read: Callable[[int, int], Tensor],
    start: int,
    stop: int,
    columns: int,
    fmt: SpectrogramFormat,
    search: PhaseSearch,
    vocoder: Vocoder | None,
    known: Tensor | None,
    circular: bool,
    progress: Progress,
) -> Tensor:
    """The spectrum [channels, frames, bins] of columns start … stop on the working grid.

    known: complex [channels, n, bins], the first frames, which stay as they are.
    """
    grid, frames, iterations = working_grid(fmt), stop - start, search.iterations
    overlaps_much = _overlaps_much(fmt)
    stride = 2 if overlaps_much and frames >= 4 and not (circular and frames % 2) else 1
    # Where windows overlap little, iterations gain little on learned phases; a quick search leaves more away.
    little = vocoder is not None and not overlaps_much
    quick = little and iterations <= QUALITIES["fast"]
    iterations = math.ceil(iterations / 4) if little else iterations
    last = math.ceil(iterations / 4) if stride > 1 or (vocoder is not None and not quick) else 0
    tick = Steps(progress, iterations + last)
    began: Start
    if vocoder is None:
        mel = read(start, stop)
        began = _Gradient(mel, fmt, search.seed, circular)
    else:
        tick.total += math.ceil(frames / NETWORK_FRAMES)
        first, after = max(start - vocoder.network.reach, 0), min(stop + vocoder.network.reach, columns)
        around = read(first, after).float()
        mel = around[..., start - first : stop - first]
        cells = vocoder.cells(around, start - first, stop - first, circular=circular, tick=tick)
        sweeps, every = (2, 0) if quick else (3, MENDED_EVERY)
        began = Learned(cells, grid.hop, search.seed, circular, sweeps=sweeps, every=every)
        tick.total += math.ceil(iterations / every) if every else 0
    bands = mel_bands(fmt, grid.bins, mel.dtype, mel.device)
    wanted = mel.transpose(-1, -2).contiguous()

    def iterated(spectrum: Tensor, stride: int, times: int, momentum: float = MOMENTUM) -> Tensor:
        target = wanted[..., ::stride, :]

        def fixed(spectrum: Tensor) -> Tensor:
            if known is None:
                return spectrum
            kept = known[..., ::stride, :]
            return torch.cat([kept, spectrum[..., kept.shape[-2] :, :]], dim=-2)

        def project(ahead: Tensor) -> Tensor:
            return fixed(ahead * bands.correction(absolute(ahead), target))

        return iterate(
            fixed(spectrum), project, grid.win, stride * grid.hop, times,
            momentum=momentum, circular=circular, tick=tick,
        )  # fmt: skip

    spectrum = began.begin(stride, known)
    for done in range(0, max(iterations, 1), began.every or max(iterations, 1)):
        coarse = spectrum[..., ::stride, :] if done else spectrum
        spectrum = iterated(coarse, stride, min(began.every or iterations, iterations - done))
        if stride > 1:
            framed = synthesise(spectrum, grid.win, grid.win)
            length = None if circular else (frames - 1) * grid.hop
            wave = overlap_add(framed, grid.win, stride * grid.hop, circular=circular, length=length)
            padded = pad_ends(wave, grid.win, grid.hop, circular=circular)
            spectrum = analyse(frame(padded, grid.win, grid.hop), grid.win, grid.win)
        if began.every:
            tick()
        spectrum = began.mended(spectrum, known)
    return iterated(spectrum, 1, last, began.momentum)
