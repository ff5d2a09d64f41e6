"""What jingles are made of: representations of sound by name, with their U-Net's dimensions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.checkpoints.files import read_tensors
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonoconvert.representations.cqt import CqtFormat
from sonoconvert.representations.mel_picture import MelPicture
from sonoconvert.representations.protocol import Representation
from sonopaint.models.codec import Codec, CodecLatents, Encoded, load_codec
from sonopaint.models.folders import shipped_folder
from sonopaint.models.jingles.quantiser import Quantiser
from sonopaint.models.plain_vae import PlainVAE
from sonopaint.painters.windows import over_windows

CELL = 8  # frames and bands of a picture that one latent stands for
SPACES = ("latents", "codes", "cqt", "encodec", "encodec-codes")


@dataclass(frozen=True)
class MiniLatents:
    """Mini's VAE on mel levels of absolute height: 4 channels × 16 rows as 64 channels, 7.8 frames a second.

    The dedicated encoder that the document asks for (§ 5.2).
    """

    picture: MelPicture
    vae: PlainVAE
    factor: float
    window: int  # columns that the VAE learnt on

    @property
    def sample_rate(self) -> int:
        return self.picture.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.picture.frame_rate / CELL

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return self.picture.format.hop_length * CELL

    @property
    def rows(self) -> int:
        return self.picture.format.n_mels // CELL

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (4 * self.rows, max(1, -(-num_samples // self.hop)))

    def header(self) -> dict[str, Any]:
        return {"kind": "mini-latents", "format": self.picture.format.name, "factor": self.factor}

    @torch.no_grad()
    def encode(self, clip: Clip) -> Tensor:
        mono = clip.mono().resampled(self.sample_rate)
        frames = self.shape(mono.num_samples)[-1]
        levels = self.picture.encode(mono)[
            ..., : frames * CELL
        ]  # the frame at the end has its room only if it fits
        levels = F.pad(levels, (0, frames * CELL - levels.shape[-1]))
        pixels = (2 * levels.flip(-2) - 1)[None].expand(-1, 3, -1, -1)
        made = over_windows(self.vae.encode, pixels, self.window, cell_in=CELL) * self.factor
        return made[0].flatten(0, 1)

    @torch.no_grad()
    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        length = tensor.shape[-1] * self.hop if num_samples is None else num_samples
        return self.picture.decode(self.levels(tensor, length), length)

    @torch.no_grad()
    def levels(self, tensor: Tensor, num_samples: int) -> Tensor:
        """The picture [1, 128, frames] of latents, as `MelPicture` has it."""
        latents = tensor.float().unflatten(0, (4, self.rows))[None] / self.factor
        pixels = over_windows(self.vae.decode, latents, self.window, cell_out=CELL)
        levels = ((pixels[0].mean(0, keepdim=True) + 1) / 2).clamp(0, 1).flip(-2)
        wanted = self.picture.shape(num_samples)[-1]
        return F.pad(levels, (0, max(0, wanted - levels.shape[-1])))[..., :wanted]


@dataclass(frozen=True)
class EvenCqt:
    """The complex constant-Q transform, its magnitudes to the power of `exponent`: loud cells are fewer.

    With 1 it is the document's own.
    """

    format: CqtFormat
    exponent: float = 0.5

    @property
    def sample_rate(self) -> int:
        return self.format.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.format.frame_rate

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return self.format.shape(num_samples)

    def header(self) -> dict[str, Any]:
        return {"kind": "even-cqt", "format": asdict(self.format), "exponent": self.exponent}

    def encode(self, clip: Clip) -> Tensor:
        return _bent(self.format.encode(clip), self.exponent)

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        return self.format.decode(_bent(tensor.float(), 1 / self.exponent), num_samples)


@dataclass(frozen=True)
class CodecCodes:
    """A codec's codes, int64 [codebooks, frames]."""

    codec: Codec
    bandwidth: float = 12.0

    @property
    def sample_rate(self) -> int:
        return self.codec.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.codec.frame_rate

    @property
    def classes(self) -> int:
        return int(self.codec.config.codebook_size)

    def shape(self, num_samples: int) -> tuple[int, ...]:
        books = round(self.bandwidth * 1000 / self.frame_rate / (self.classes - 1).bit_length())
        return (books, -(-num_samples // int(self.codec.network.config.hop_length)))

    def header(self) -> dict[str, Any]:
        return {"kind": "codec-codes", "bandwidth": self.bandwidth}

    def encode(self, clip: Clip) -> Tensor:
        return self.codec.codes(clip, self.bandwidth).values

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        length = tensor.shape[-1] * int(self.codec.network.config.hop_length)
        return self.codec.decode(Encoded(tensor.long(), num_samples or length))


@dataclass(frozen=True)
class QuantisedLatents:
    """Mini's latents as codes of a small quantiser of one's own: int64 [16, frames]."""

    latents: MiniLatents
    quantiser: Quantiser

    @property
    def sample_rate(self) -> int:
        return self.latents.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.latents.frame_rate

    @property
    def classes(self) -> int:
        return self.quantiser.classes

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (self.quantiser.rows, self.latents.shape(num_samples)[-1])

    def header(self) -> dict[str, Any]:
        return {"kind": "mini-codes", "rows": self.quantiser.rows, "classes": self.classes}

    def encode(self, clip: Clip) -> Tensor:
        return self.quantiser.encode(self.latents.encode(clip)[None])[0]

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        return self.latents.decode(self.quantiser.decode(tensor[None])[0], num_samples)


def dims_of(space: str) -> int:
    """Dimensions of the U-Net: 2 where frequency is one."""
    return 2 if space == "cqt" else 1


def is_discrete(space: str) -> bool:
    return space in ("codes", "encodec-codes")


def open_space(
    name: str, *, codec: str | Path = "", quantiser: Quantiser | None = None, mini: str | Path = ""
) -> Representation:
    """One of SPACES. `codec`: folder of EnCodec's weights; `mini`: of the model whose VAE it is."""
    if name not in SPACES:
        raise SonopaintError(f"There is no space {name!r}; choose from {', '.join(SPACES)}.")
    if name.startswith("encodec"):
        if not codec:
            raise SonopaintError(
                f"The space {name} needs EnCodec's weights: name their folder with {setting('codec')}; "
                "nothing is downloaded."
            )
        network = load_codec(codec)
        return CodecLatents(network) if name == "encodec" else CodecCodes(network)
    if name == "cqt":
        return EvenCqt(CqtFormat())
    latents = mini_latents(Path(mini) if mini else shipped_folder() / "mini")
    if name == "latents":
        return latents
    if quantiser is None:
        raise SonopaintError("Codes of Mini's latents need a quantiser: that of the dataset or of the model.")
    return QuantisedLatents(latents, quantiser)


@lru_cache(maxsize=2)
def mini_latents(folder: Path) -> MiniLatents:
    """Of a Mini's folder; its U-Net is not read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        vae = PlainVAE(config["vae"]).eval().requires_grad_(False)
        vae.load_state_dict(read_tensors(folder / "vae.safetensors"))
        fmt = get_format(config["format"])
        factor = float(config["vae"]["scaling_factor"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SonopaintError(f"{folder} holds no Mini whose VAE can be read ({error}).") from error
    return MiniLatents(MelPicture(fmt), vae, factor, fmt.width // CELL)


@dataclass(frozen=True)
class Scaling:
    """What data is brought to mean 0 and deviation 1 with: tensors that broadcast over [B, C, (F,) T]."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, data: Tensor, dims: int) -> Scaling:
        """Of data [N, C, (F,) T]: for each channel, or for each frequency of complex data around 0."""
        if dims == 2:
            deviation = data.float().square().mean((0, 1, 3), keepdim=True).sqrt()
            return cls(torch.zeros_like(deviation), deviation.clamp_min(float(deviation.max()) * 1e-3))
        mean = data.float().mean((0, 2), keepdim=True)
        return cls(mean, data.float().std((0, 2), keepdim=True).clamp_min(1e-4))

    def scaled(self, data: Tensor, scale: float) -> Tensor:
        return (data.float() - self.mean) / self.deviation * scale

    def back(self, data: Tensor, scale: float) -> Tensor:
        return data / scale * self.deviation + self.mean


def _bent(two: Tensor, exponent: float) -> Tensor:
    """[2, F, T] real and imaginary with magnitudes to the power of `exponent`, phases kept."""
    size = two.square().sum(0, keepdim=True).sqrt()
    return two * size.clamp_min(1e-9).pow(exponent - 1)
