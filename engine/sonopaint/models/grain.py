"""The roughness of noise, which a VAE blurs, put back into what it painted.

A VAE's picture is the mean of what its latent may come from. Of noise, whose cells jump by some decibels, the
mean is nearly smooth, and it sounds so: water sings, wind whistles. Which cells jump can't be known, but how
much they should can: a small network tells the mean size of the steps along time, |x[t+1] − x[t]|, that is
usual around each place of such a picture. What the picture lacks of it is added as the texture that white
noise has in the same format, with its correlation between neighbours and its skew. Onsets and silence stay
about as they are: they lack little; partials stay smooth, as they stand out from the rows beside them. The
network lies in ``grain.safetensors`` beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.checkpoints.files import read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import mel_magnitude
from sonopaint.models.info import model_format

GRAIN_FILE = "grain.safetensors"
_AROUND = 9  # columns over which roughness is averaged; not over rows: a partial is smooth beside noise
LEAST = 1e-3  # mean step in levels that counts as none
RIDGE = 5 / 80  # levels above the rows beside it from which a cell is a partial, which is smooth
LENGTH = 1024  # columns of the texture, after which it begins anew
_BESIDE = 9  # rows
_APART = 331  # columns of the texture between the channels of a picture


class GrainNetwork(nn.Module):
    """Levels [B, H, W] in 0 … 1, row 0 lowest → log of the mean step along time that is due there.

    format: of the pictures.
    """

    def __init__(self, fmt: SpectrogramFormat, channels: int = 16) -> None:
        super().__init__()
        self.format = fmt
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=far, dilation=far) for far in (1, 2, 4, 1)
        )
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, levels: Tensor) -> Tensor:
        height = torch.linspace(-1, 1, levels.shape[-2], device=levels.device)[:, None].expand(levels.shape)
        own = (roughness(levels) + LEAST).log() / 3
        hidden = F.silu(self.first(torch.stack([levels, own, height], 1)))
        for block in self.blocks:
            hidden = hidden + F.silu(block(hidden))
        return self.last(hidden)[:, 0] - 4  # about what noise has in an 80 dB format


def roughness(levels: Tensor) -> Tensor:
    """Mean size of the steps along time around each place of levels [B, H, W]; the same shape."""
    steps = F.pad(levels.diff(dim=-1).abs(), (0, 1))
    return F.avg_pool1d(steps, _AROUND, 1, _AROUND // 2, count_include_pad=False)


@lru_cache(maxsize=4)
def texture(fmt: SpectrogramFormat) -> Tensor:
    """What white noise is in a format, in the logarithm: [H, LENGTH], mean 0 and mean step 1 in each row.

    Always the same, so that a picture gets the same grain behind every door.
    """
    samples = (LENGTH + 4) * fmt.hop_length + fmt.n_fft
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    drawn = mel_magnitude(noise, fmt)[0].clamp_min(1e-9).log()
    middle = (drawn.shape[-1] - LENGTH) // 2  # away from the ends, where the window is half empty
    drawn = drawn[:, middle : middle + LENGTH]
    drawn = drawn - drawn.mean(1, keepdim=True)
    return drawn / drawn.diff(dim=1).abs().mean(1, keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def with_grain(network: GrainNetwork, levels: Tensor, first: int = 0) -> Tensor:
    """Levels [B, H, W] in 0 … 1, row 0 lowest, from a column of a sound on, with the roughness they lack."""
    due, own = network(levels).exp() - LEAST, roughness(levels)
    lacking = (due.square() - own.square()).clamp_min(0.0).sqrt() * (due > own)  # steps add as deviations do
    beside = F.avg_pool2d(levels[:, None], (_BESIDE, 1), 1, (_BESIDE // 2, 0), count_include_pad=False)[:, 0]
    lacking = lacking.minimum(levels) * (1 - (levels - beside) / RIDGE).clamp(0.0, 1.0)
    columns = torch.arange(first, first + levels.shape[-1]) % LENGTH
    return (levels + lacking * texture(network.format)[:, columns].to(levels)).clamp(0.0, 1.0)


def grained(network: GrainNetwork, pixels: np.ndarray, first: int = 0) -> np.ndarray:
    """`with_grain` of painted pixels, float32 [H, W, C] in 0 … 255, highest row first; of each channel."""
    levels = torch.from_numpy(np.ascontiguousarray(pixels[::-1].transpose(2, 0, 1))).float() / 255
    levels = torch.cat([with_grain(network, one[None], first + _APART * n) for n, one in enumerate(levels)])
    return np.ascontiguousarray(255 * levels.numpy().transpose(1, 2, 0)[::-1])


def grain_beside(model: Path, fmt: SpectrogramFormat) -> GrainNetwork | None:
    """The network that lies beside a model: in its folder, or as NAME.grain.safetensors beside its file.

    None where there is none, or one for another format than what is painted; channels don't matter, but for
    those of "rgb", which are bands.
    """
    path = model / GRAIN_FILE if model.is_dir() else model.with_suffix(f".{GRAIN_FILE}")
    found = load_grain(path) if path.is_file() else None
    plain = fmt if fmt.channels == "rgb" else fmt.with_channels("mono")
    return found if found is not None and found.format == plain else None


@lru_cache(maxsize=2)
def load_grain(path: Path) -> GrainNetwork:
    """The network of a file (float32, CPU). SonopaintError where it holds none."""
    tensors = {name: value.float() for name, value in read_tensors(path).items()}
    fmt = model_format(path, read_header(path)[1])
    try:
        network = GrainNetwork(fmt, len(tensors["first.bias"]))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise SonopaintError(f"{path.name} holds no grain of a model; get the file anew.") from error
    return network.eval().requires_grad_(False)


def save_grain(
    network: GrainNetwork, path: Path, metadata: Mapping[str, str], *, force: bool = False
) -> None:
    """Write it as safetensors in fp16, with its format in the header."""
    tensors = {name: value.detach().cpu().half() for name, value in network.state_dict().items()}
    told = {"format": "pt", "sonopaint.format": json.dumps(network.format.to_dict()), **metadata}
    write_tensors(path, tensors, told, force=force)
