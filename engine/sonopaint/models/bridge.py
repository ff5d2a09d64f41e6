"""The healing bridge: a trained network, and sound as the three channels that it works on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.checkpoints.files import check_shapes, read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.folders import own_or_shipped, read_once
from sonopaint.models.bridge_network import BridgeNetwork
from sonopaint.samplers.bridge import estimate, sample_bridge
from sonopaint.samplers.common import Generators

WINDOW, HOP, BINS = 2048, 512, 1024  # at the clip's rate; the bin at Nyquist follows its neighbour
POWER = 0.25  # of the magnitudes
STEPS = 1  # so few suffice for the mean of what may be; more add what chance decides
SPREAD = torch.tensor([0.3, 0.9, 0.9])[:, None, None]  # of the channels of what was there round the guess
FOLDER, NAME = "heal", "bridge.safetensors"
_MOST_WEIGHTS = 64 << 20  # bytes; larger files are no such bridge


class Bridge:
    """One network, or two that share the way: the first for t ≤ ½, the second beyond.

    `metadata` is the weights file's header: training, measures, licence.
    """

    def __init__(self, networks: Sequence[BridgeNetwork], metadata: dict[str, str] | None = None) -> None:
        self.networks = [network.eval().requires_grad_(False) for network in networks]
        self.metadata = metadata or {}

    def restore(
        self,
        spectrum: Tensor,
        unknown: Tensor,
        rate: int,
        *,
        steps: int = STEPS,
        generator: Generators = None,
        tick: Callable[[], None] | None = None,
    ) -> Tensor:
        """Spectrum, complex [B, frames, 1025], where the `unknown` cells (bool, likewise) are new.

        spectrum: of a first guess, `stft` with WINDOW and HOP. Cells that are known stay as they are.
        """
        mask = unknown[..., :BINS]
        reference = reference_of(spectrum, ~mask)
        damaged = channels(spectrum, reference)
        free = mask[:, None].to(damaged.dtype)
        place = place_of(rate, len(spectrum), spectrum.device)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            network = self.networks[-1 if float(t[0]) > 0.5 else 0]
            mean, deviation = estimate(x, damaged, t, SPREAD)
            return torch.where(mask[:, None], mean + deviation * network(x, damaged, free, place, t), damaged)

        made = sample_bridge(predict, damaged, steps, generator=generator, tick=tick)
        return torch.where(unknown, cells(made, reference), spectrum)


def channels(spectrum: Tensor, reference: Tensor) -> Tensor:
    """Complex [B, frames, ≥ 1024] → float [B, 3, frames, 1024]: magnitude, cosine and sine of the phase.

    Magnitudes are 2·(|x| / reference)^¼; the phase is that at the window's centre, turned back by each
    bin's own frequency, so that a steady tone's changes slowly. reference [B].
    """
    x = spectrum[..., :BINS]
    unit = torch.sgn(x) * turns(x.shape[-2], x.device).conj()
    size = (x.abs() / reference[:, None, None]).clamp(max=1e4).pow(POWER) * 2
    return torch.stack([size, unit.real, unit.imag], dim=1)


def cells(three: Tensor, reference: Tensor) -> Tensor:
    """The inverse of `channels`: complex [B, frames, 1025]."""
    size = (three[:, 0].clamp_min(0) / 2).pow(1 / POWER) * reference[:, None, None]
    unit = torch.sgn(torch.complex(three[:, 1].contiguous(), three[:, 2].contiguous()))
    made = size * unit * turns(three.shape[-2], three.device)
    return torch.cat([made, made[..., -1:].abs().to(made.dtype)], dim=-1)


def reference_of(spectrum: Tensor, known: Tensor) -> Tensor:
    """The loudest known cell of each [B, frames, ≥ 1024], above 0: [B]."""
    size = spectrum[..., :BINS].abs() * known
    return size.amax(dim=(1, 2)).clamp_min(1e-6)


def place_of(rate: int, batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Where each bin lies: [B, 2, 1024]; octaves above 1 kHz of the bin, and of half the rate, by 4."""
    hertz = (torch.arange(BINS, device=device) + 0.5) * rate / WINDOW
    return (
        torch.stack([hertz, torch.full_like(hertz, rate / 2)]).div(1000).log2().div(4).expand(batch, -1, -1)
    )


@lru_cache(maxsize=8)
def turns(frames: int, device: torch.device) -> Tensor:
    """What a bin's own tone, of phase 0 at time 0, has in the cells of `stft`: complex [frames, 1024]."""
    bins, times = torch.arange(BINS, device=device), torch.arange(frames, device=device)
    quarter = (bins * times[:, None]) * (4 * HOP // WINDOW) + 2 * bins
    return torch.polar(torch.ones(frames, BINS, device=device), (quarter % 4) * (torch.pi / 2))


def dilated(mask: Tensor, samples: int) -> Tensor:
    """Frames [B, 1 + samples // HOP] that hold a marked sample: mask bool [B, samples]."""
    half = WINDOW // 2
    padded = F.pad(mask[:, None].float(), (half, half))
    return F.max_pool1d(padded, WINDOW, HOP)[:, 0] > 0


def load() -> Bridge | None:
    """The user's own bridge before the shipped one; None where there is none.

    Raises SonopaintError for a damaged file, or one that is no bridge.
    """
    path = own_or_shipped(FOLDER, NAME)
    return None if path is None else _read_once(path)


def read(path: str | Path) -> Bridge:
    """The bridge in a file that `write` made; SonopaintError where it is damaged or something else."""
    path = Path(path)
    shapes, metadata = read_header(path)
    try:
        config = json.loads(metadata["sonopaint.bridge"])
        widths, blocks, count = tuple(config["widths"]), config["blocks"], config["experts"]
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{path.name} holds no healing bridge (its header describes none); remove it from {path.parent}."
        ) from error
    sizes = [*widths, blocks, count]
    possible = len(widths) == 3 and all(type(size) is int and 1 <= size <= 1024 for size in sizes)
    if not possible or blocks > 16 or count > 2 or path.stat().st_size > _MOST_WEIGHTS:
        raise SonopaintError(f"{path.name} describes an impossible bridge ({sizes}); get it anew.")
    networks = [BridgeNetwork(widths, blocks) for _ in range(count)]
    expected = {name: tuple(tensor.shape) for name, tensor in _tensors(networks).items()}
    check_shapes(path, shapes, expected)
    tensors = read_tensors(path)
    for number, network in enumerate(networks):
        own = f"{number}."
        network.load_state_dict({k[len(own) :]: v for k, v in tensors.items() if k.startswith(own)})
    return Bridge(networks, metadata)


_read_once = read_once(read)


def write(
    path: str | Path,
    networks: Sequence[BridgeNetwork],
    metadata: dict[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write the networks in fp16, with what `read` needs and `metadata` in the header."""
    header = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-bridge",
        "modelspec.implementation": "sonopaint.models.bridge",
        "modelspec.title": "Sonopaint's healing bridge",
        "sonopaint.bridge": json.dumps(networks[0].config | {"experts": len(networks)}),
        **(metadata or {}),
    }
    tensors = {name: tensor.detach().cpu().half() for name, tensor in _tensors(networks).items()}
    write_tensors(path, tensors, header, force=force)


def _tensors(networks: Sequence[BridgeNetwork]) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": tensor
        for number, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
