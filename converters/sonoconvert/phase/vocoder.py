"""The learned decoder: mel magnitudes → waveform.

A small convolutional network (`vocoder_network`) reads the magnitude of every cell from the mel picture, and
how the phase goes on from each cell to the next ones; `phase_integration` sums that up to phases; projections
onto the mel bands settle both, and an inverse STFT makes the sound. Weights lie in
`vocoder/<format>.safetensors` of the models folder or of `weights/`.
"""

from __future__ import annotations

import json
import logging
import math
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from sonoconvert.checkpoints.files import read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.folders import shipped_folder, user_folder
from sonoconvert.phase.integration import integrate
from sonoconvert.phase.inversion import mel_bands
from sonoconvert.phase.vocoder_network import VocoderNetwork, features, place_of, reference_of, working_grid
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import absolute, analyse, frame, overlap_add, pad_ends, synthesise

logger = logging.getLogger(__name__)

FOLDER = "vocoder"
# What the network's input depends on. The channel layout, the width and the curve may differ.
_ANALYSIS = "sample_rate n_fft win_length hop_length n_mels f_min f_max mel_scale mel_norm".split()

# Frames that go through the network, and columns that are decoded, at once: they bound the memory.
_NETWORK_FRAMES = 512
_BLOCK_COLUMNS = 4096
# Mirrored frames that the network sees beyond a clip's ends, as in its training.
_EDGE = 12
# Projections onto the mel bands (as phase.FAST), so many between two integrations, and their momentum.
ITERATIONS, _ROUND, _MOMENTUM = 16, 16, 0.99
_SILENT = -4.9  # log10: an estimate below counts as nothing (the network's input is floored at −5)
_MOST_WEIGHTS = 64 << 20  # bytes; larger files are no decoders


class Vocoder:
    """A trained network and the format that it reads.

    `metadata` is the weights file's header: training, measures, licence.
    """

    def __init__(
        self, network: VocoderNetwork, fmt: SpectrogramFormat, metadata: dict[str, str] | None = None
    ) -> None:
        self.network = network.eval().requires_grad_(False).channels_last()
        self.fmt = fmt
        self.metadata = metadata or {}

    def fits(self, fmt: SpectrogramFormat) -> bool:
        """Whether a format has the same time and frequency grid, whatever its channels and its curve."""
        return all(getattr(self.fmt, name) == getattr(fmt, name) for name in _ANALYSIS)

    @torch.no_grad()
    def decode(
        self,
        mel: Tensor,
        fmt: SpectrogramFormat,
        *,
        length: int | None = None,
        circular: bool = False,
        iterations: int = ITERATIONS,
        seed: int = 0,
    ) -> Tensor:
        """A waveform from mel magnitudes.

        Long pictures go through in blocks, each continuing the phase of the one before it, in bounded memory.

        Args:
            mel: float [channels, n_mels, columns] of a format that `fits`.
            length: samples of the result; default columns·hop.
            circular: time wraps; the result has columns·hop samples.
            iterations: projections onto the mel bands, as in `phase.reconstruct`: at twice the hop where
                windows overlap at least eight-fold, then a quarter as many at the full hop. After each 16
                of them the phases are integrated again, from where they are: the projections look after
                what is loud and make weak cells inconsistent, the integration mends those.
            seed: of the signs that no magnitude tells.

        Returns:
            float32 [channels, length] on mel's device; the same samples in each run on one device.
        """
        if not self.fits(fmt):
            raise SonopaintError(
                f"These decoder weights are for {self.fmt.name}, not for {fmt.name}; decode without them."
            )
        mel = mel.float()
        if circular:
            return self._block(mel, 0, mel.shape[-1], None, iterations, seed, True)[0]
        hop, columns = fmt.hop_length, mel.shape[-1]
        length = columns * hop if length is None else length
        # As in phase.reconstruct: the frames at a block's end are done again by the next block.
        context = self.network.reach
        pieces: list[Tensor] = []
        start, written, known = 0, 0, None
        while True:
            stop = min(start + _BLOCK_COLUMNS, columns)
            last = stop == columns
            end = length if last else (stop - 2 * context) * hop
            span = end - start * hop
            sound, spectrum = self._block(mel, start, stop, known, iterations, seed, False, span)
            pieces.append(sound[..., written - start * hop :])
            if last:
                return torch.cat(pieces, dim=-1)
            known = spectrum[..., -4 * context : -2 * context, :]
            start, written = stop - 4 * context, end

    def _block(
        self,
        mel: Tensor,
        start: int,
        stop: int,
        known: Tensor | None,
        iterations: int,
        seed: int,
        circular: bool,
        length: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sound [channels, length] of columns start … stop, and its spectrum [channels, frames, bins].

        known: spectrum of the first frames, which stays as it is.
        """
        win, hop = self.fmt.win_length, self.fmt.hop_length
        grid, frames = working_grid(self.fmt), stop - start
        cells = self.cells(mel, start, stop, circular=circular)
        part = mel[..., start:stop]
        spectrum = _integrated(cells, grid.hop, known, None, circular, seed)
        stride = 2 if grid.size >= 8 * grid.hop and frames >= 4 and not (circular and frames % 2) else 1
        for first in range(0, iterations, _ROUND):
            times = min(_ROUND, iterations - first)
            spectrum = self._iterated(spectrum[..., ::stride, :], part, known, stride, times, circular)
            if stride > 1:
                sound = _sound(spectrum, grid.size, stride * grid.hop, (frames - 1) * grid.hop, circular)
                spectrum = _analysed(sound, grid.size, grid.hop, circular)
            spectrum = _integrated(cells, grid.hop, known, spectrum, circular, seed)
        spectrum = self._iterated(spectrum, part, known, 1, math.ceil(iterations / 4), circular, 0.0)
        full = torch.nn.functional.pad(spectrum, (0, win // 2 + 1 - grid.bins))
        return _sound(full, win, hop, length, circular), spectrum

    def _iterated(
        self,
        spectrum: Tensor,
        mel: Tensor,
        known: Tensor | None,
        stride: int,
        times: int,
        circular: bool,
        momentum: float = _MOMENTUM,
    ) -> Tensor:
        """Every `stride`-th frame, projected onto the mel bands and onto the spectra of sounds in turn."""
        grid, frames = working_grid(self.fmt), spectrum.shape[-2]
        hop = stride * grid.hop
        bands = mel_bands(self.fmt, grid.bins, mel.dtype, mel.device)
        wanted = mel[..., ::stride].transpose(-1, -2).contiguous()
        fixed = None if known is None else known[..., ::stride, :]
        previous: Tensor | None = None
        for turn in range(times + 1):
            if fixed is not None:
                spectrum = torch.cat([fixed, spectrum[..., fixed.shape[-2] :, :]], dim=-2)
            if turn == times:
                break
            sound = _sound(spectrum, grid.size, hop, frames * hop - 1, circular)
            consistent = _analysed(sound, grid.size, hop, circular)
            ahead = consistent if previous is None else previous.lerp_(consistent, 1 + momentum)
            spectrum, previous = ahead * bands.correction(absolute(ahead), wanted), consistent
        return spectrum

    @torch.no_grad()
    def cells(
        self, mel: Tensor, start: int = 0, stop: int | None = None, *, circular: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of columns start … stop of mel [channels, n_mels, columns].

        `start` must be a multiple of 4 (the network's own grid).

        Returns:
            magnitude float [channels, frames, bins], on the scale of a `win_length` FFT; advance, across:
            complex, as `integrate` takes them.
        """
        columns, reach = mel.shape[-1], self.network.reach
        stop = columns if stop is None else stop
        reference = reference_of(mel, self.fmt)
        place = place_of(self.fmt, mel.device)
        parts = []
        for first in range(start, stop, _NETWORK_FRAMES):
            last = min(first + _NETWORK_FRAMES, stop)
            low, high = first - reach, last + reach
            if not circular:
                low, high = max(low, -_EDGE), min(high, columns + _EDGE)
            frames = torch.arange(low, high, device=mel.device)
            seen = mel[..., _wrapped(frames, columns) if circular else _mirrored(frames, columns)]
            output = self.network(features(seen, self.fmt, reference), place)
            parts.append(output[:, :, first - low : last - low])
        output = torch.cat(parts, dim=2)
        level = output[:, 0]
        magnitude = torch.where(level < _SILENT, 0.0, 10 ** level.clamp(max=3)) * reference[:, None, None]
        return (
            magnitude,
            torch.complex(output[:, 1].contiguous(), output[:, 2].contiguous()),
            torch.complex(output[:, 3].contiguous(), output[:, 4].contiguous()),
        )


def _integrated(
    cells: tuple[Tensor, Tensor, Tensor],
    hop: int,
    known: Tensor | None,
    start: Tensor | None,
    circular: bool,
    seed: int,
) -> Tensor:
    """The cells' magnitudes with integrated phases, complex [channels, frames, bins]; `start`: where from."""
    magnitude = cells[0]
    phases = []
    for channel in range(len(magnitude)):
        loud, advance, across = (part[channel].cpu().numpy() for part in cells)
        kept, begun = (None if given is None else given[channel].cpu().numpy() for given in (known, start))
        sweeps = 3 if begun is None else 1
        phase = integrate(
            loud, advance, across, hop,
            known=kept, start=begun, circular=circular, sweeps=sweeps, seed=seed,
        )  # fmt: skip
        phases.append(torch.from_numpy(phase))
    return magnitude * torch.stack(phases).to(magnitude.device)


def _sound(spectrum: Tensor, size: int, hop: int, length: int | None, circular: bool) -> Tensor:
    framed = synthesise(spectrum, size, size)
    return overlap_add(framed, size, hop, circular=circular, length=None if circular else length)


def _analysed(sound: Tensor, size: int, hop: int, circular: bool) -> Tensor:
    return analyse(frame(pad_ends(sound, size, hop, circular=circular), size, hop), size, size)


def load(fmt: SpectrogramFormat) -> Vocoder | None:
    """The decoder of a format: the user's own before the shipped one; None where there is none.

    Files are `vocoder/<format>.safetensors`, where a format with another channel layout takes the mono one's.

    Raises:
        SonopaintError: the file is damaged, or is no decoder.
    """
    for folder in (user_folder(), shipped_folder()):
        for name in dict.fromkeys((fmt.name, fmt.name.removesuffix(f"-{fmt.channels}"))):
            path = folder / FOLDER / f"{name}.safetensors"
            if path.is_file():
                vocoder = _read_cached(path, path.stat().st_mtime_ns)
                if vocoder.fits(fmt):
                    return vocoder
                logger.warning("%s is for another format (%s) and is not used.", path, vocoder.fmt.name)
    return None


@lru_cache(maxsize=4)
def _read_cached(path: Path, changed: int) -> Vocoder:
    return read(path)


def read(path: str | Path) -> Vocoder:
    """The decoder in a file that `write` made; SonopaintError where it is damaged or something else."""
    path = Path(path)
    shapes, metadata = read_header(path)
    try:
        fmt = SpectrogramFormat.from_dict(json.loads(metadata["sonopaint.format"]))
        config = json.loads(metadata["sonopaint.vocoder"])
        sizes = [config[name] for name in ("width", "deep", "blocks")]
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{path.name} holds no decoder (its header describes none); remove it from {path.parent}."
        ) from error
    if not all(type(size) is int and 1 <= size <= 512 for size in sizes) or sizes[2] > 32:
        raise SonopaintError(f"{path.name} describes an impossible decoder ({sizes}); get it anew.")
    if path.stat().st_size > _MOST_WEIGHTS:
        raise SonopaintError(f"{path.name} is too large for a decoder; get it anew.")
    network = VocoderNetwork(*sizes)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if shapes != expected:
        wrong = sorted(expected.items() ^ shapes.items())[0][0]
        raise SonopaintError(f"{path.name} does not fit its own description (tensor {wrong}); get it anew.")
    network.load_state_dict(read_tensors(path))
    return Vocoder(network, fmt, metadata)


def write(
    path: str | Path,
    network: VocoderNetwork,
    fmt: SpectrogramFormat,
    metadata: dict[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write a decoder's weights in fp16, with what `read` needs and `metadata` in the header."""
    tensors = {name: tensor.detach().cpu().half() for name, tensor in network.state_dict().items()}
    header = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-vocoder",
        "modelspec.implementation": "sonoconvert.phase.vocoder",
        "modelspec.title": f"Sonopaint decoder for {fmt.name}",
        "sonopaint.format": json.dumps(fmt.to_dict()),
        "sonopaint.vocoder": json.dumps(network.config),
        **(metadata or {}),
    }
    write_tensors(path, tensors, header, force=force)


def _wrapped(frames: Tensor, columns: int) -> Tensor:
    return frames % columns


def _mirrored(frames: Tensor, columns: int) -> Tensor:
    """Indices of frames beyond the ends, mirrored there as the analysed sound is (and again, if short)."""
    if columns == 1:
        return torch.zeros_like(frames)
    folded = frames % (2 * columns - 2)
    return torch.minimum(folded, 2 * columns - 2 - folded)
