"""The learned decoder: mel magnitudes → waveform.

A small convolutional network (`vocoder_network`) reads the magnitude of every cell from the mel picture, and
how the phase goes on from each cell to the next ones; `integration` sums that up to phases, and `search` goes
on from there. Weights lie in `vocoder/<format>.safetensors` of the models folder or of `weights/`. Where
windows overlap little, the quickest search is short beside the network: it has its own, `<format>-fast`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from sonoconvert.checkpoints.files import check_shapes, read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.folders import shipped_folder, user_folder
from sonoconvert.phase.integration import integrate
from sonoconvert.phase.vocoder_network import PATCH, VocoderNetwork, features, place_of, reference_of
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.grid import working_grid

logger = logging.getLogger(__name__)

FOLDER = "vocoder"
FAST = "-fast"  # ending of a format's quick decoder
# What the network's input depends on. The channel layout, the width and the curve may differ.
_ANALYSIS = "sample_rate n_fft win_length hop_length n_mels f_min f_max mel_scale mel_norm".split()

# Frames that go through the network at once: they bound the memory.
NETWORK_FRAMES = 512
_SILENT = -4.9  # log10: an estimate below counts as nothing (the network's input is floored at −5)
_MOST_WEIGHTS = 64 << 20  # bytes; larger files are no decoders

# magnitude, advance, across [channels, frames, bins] of the working grid, as `integrate` takes them.
Cells = tuple[Tensor, Tensor, Tensor]


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
    def cells(
        self,
        mel: Tensor,
        start: int = 0,
        stop: int | None = None,
        *,
        circular: bool = False,
        tick: Callable[[], None] | None = None,
    ) -> Cells:
        """What the network says of columns start … stop of mel [channels, n_mels, columns].

        `start` must be a multiple of the network's `whole`; `tick` is called before each piece of the
        work and may raise Cancelled.

        Returns:
            magnitude float [channels, frames, bins], on the scale of a `win_length` FFT; advance, across:
            complex, as `integrate` takes them.
        """
        columns, reach, edge = mel.shape[-1], self.network.reach, self.network.edge
        stop = columns if stop is None else stop
        reference = reference_of(mel, self.fmt)
        place = place_of(self.fmt, mel.device)
        parts = []
        for first in range(start, stop, NETWORK_FRAMES):
            if tick is not None:
                tick()
            last = min(first + NETWORK_FRAMES, stop)
            low, high = first - reach, last + reach
            if not circular:
                low, high = max(low, -edge), min(high, columns + edge)
            frames = torch.arange(low, high, device=mel.device)
            seen = mel[..., _wrapped(frames, columns) if circular else _mirrored(frames, columns)]
            output = self.network(features(seen, self.fmt, reference), place)
            parts.append(output[:, :, first - low : last - low])
        output = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        level = output[:, 0]
        magnitude = torch.where(level < _SILENT, 0.0, 10 ** level.clamp(max=3)) * reference[:, None, None]
        return (
            magnitude,
            torch.complex(output[:, 1], output[:, 2]),
            torch.complex(output[:, 3], output[:, 4]),
        )

    def continued(self, mel: Tensor, own: Tensor, kept: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """What mel magnitudes [n_mels, frames] look like where a sound's cells are known.

        Args:
            own: complex [frames, win_length // 2 + 1]: the sound's spectrum.
            kept: bool, likewise: where its phase stays, to be carried on into the other cells.
            seed: of the signs that no magnitude tells.

        Returns:
            magnitude float and phase complex [frames, bins] of the working grid.
        """
        magnitude, advance, across = (part[0] for part in self.cells(mel[None]))
        bins = magnitude.shape[-1]
        phase = integrate(
            magnitude.cpu().numpy(), advance.cpu().numpy(), across.cpu().numpy(), working_grid(self.fmt).hop,
            known=own[:, :bins].cpu().numpy(), fixed=kept[:, :bins].cpu().numpy(), seed=seed,
        )  # fmt: skip
        return magnitude, torch.from_numpy(phase).to(mel.device)


class Learned:
    """Phases integrated from what the network says of their steps: a `search.Start`.

    sweeps: of the first integration.
    every: iterations after which they are integrated again, from where they are (0: never): the projections
        look after what is loud and make weak cells inconsistent, the integration mends those.
    """

    momentum = 0.0

    def __init__(self, cells: Cells, hop: int, seed: int, circular: bool, *, sweeps: int, every: int) -> None:
        self.cells, self.hop, self.seed, self.circular = cells, hop, seed, circular
        self.sweeps, self.every = sweeps, every

    def begin(self, stride: int, known: Tensor | None) -> Tensor:
        return self._integrated(None, known)[..., ::stride, :]

    def mended(self, spectrum: Tensor, known: Tensor | None) -> Tensor:
        return self._integrated(spectrum, known) if self.every else spectrum

    def _integrated(self, start: Tensor | None, known: Tensor | None) -> Tensor:
        """The cells' magnitudes with integrated phases, complex [channels, frames, bins].

        All channels take the same steps, the loudest one's above all, each from where it is: what lies in the
        middle stays there.
        """
        shared = self.cells if len(self.cells[0]) == 1 else _of_all(self.cells)
        magnitude, advance, across = (part[0].cpu().numpy() for part in shared)
        channels = range(1 if start is None and known is None else len(self.cells[0]))
        phases = []
        for channel in channels:
            kept, begun = (None if t is None else t[channel].cpu().numpy() for t in (known, start))
            phase = integrate(
                magnitude, advance, across, self.hop,
                known=kept, start=begun, circular=self.circular, sweeps=self.sweeps if start is None else 1,
                seed=self.seed,
            )  # fmt: skip
            phases.append(torch.from_numpy(phase))
        return self.cells[0] * torch.stack(phases).to(self.cells[0].device)


def load(fmt: SpectrogramFormat, ending: str = "") -> Vocoder | None:
    """The decoder of a format: the user's own before the shipped one; None where there is none.

    Files are `vocoder/<format><ending>.safetensors`; another channel layout of a format takes the mono one's.

    Raises:
        SonopaintError: the file is damaged, or is no decoder.
    """
    for folder in (user_folder(), shipped_folder()):
        for name in dict.fromkeys((fmt.name, fmt.name.removesuffix(f"-{fmt.channels}"))):
            path = folder / FOLDER / f"{name}{ending}.safetensors"
            if path.is_file():
                vocoder = _read_cached(path, path.stat().st_mtime_ns)
                if vocoder.fits(fmt):
                    return vocoder
                if name == fmt.name:  # that of the mono layout just may not fit (rgb has bands of its own)
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
        sizes += [config.get("frames", PATCH[0]), config.get("bins", PATCH[1])]  # older files don't say it
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{path.name} holds no decoder (its header describes none); remove it from {path.parent}."
        ) from error
    most = (512, 512, 32, 16, 16)
    if not all(type(size) is int and 1 <= size <= top for size, top in zip(sizes, most, strict=True)):
        raise SonopaintError(f"{path.name} describes an impossible decoder ({sizes}); get it anew.")
    if path.stat().st_size > _MOST_WEIGHTS:
        raise SonopaintError(f"{path.name} is too large for a decoder; get it anew.")
    network = VocoderNetwork(*sizes)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes(path, shapes, expected)
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


def _of_all(cells: Cells) -> Cells:
    """The channels' summed magnitudes, and the mean of their steps, of the louder ones above all."""
    # Where all are silent, that of the loudest channel counts: its islands hang together through such cells.
    weight = cells[0] + 1e-7 * cells[0].amax(dim=(1, 2), keepdim=True)
    share = weight / weight.sum(dim=0).clamp_min(1e-37)
    magnitude = cells[0].sum(dim=0, keepdim=True)
    return magnitude, (share * cells[1]).sum(dim=0, keepdim=True), (share * cells[2]).sum(dim=0, keepdim=True)


def _wrapped(frames: Tensor, columns: int) -> Tensor:
    return frames % columns


def _mirrored(frames: Tensor, columns: int) -> Tensor:
    """Indices of frames beyond the ends, mirrored there as the analysed sound is (and again, if short)."""
    if columns == 1:
        return torch.zeros_like(frames)
    folded = frames % (2 * columns - 2)
    return torch.minimum(folded, 2 * columns - 2 - folded)
