"""Latents and text embeddings, computed once and kept: the VAE and the text encoder then leave memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

from sonotrain.data.augment import Augmentation, augment, mask_levels
from sonotrain.files.hashes import file_key
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, rows_in

if TYPE_CHECKING:
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonotrain.data.dataset import Example

logger = logging.getLogger(__name__)

CHUNK = 256  # pictures in one file
BATCH = {"cpu": 2, "cuda": 4}


class LatentCache:
    """Scaled latents fp16 [N, variants, 4, h, w] and their loss masks uint8 [N, variants, h, w] in files.

    Files are mapped, not read: a step touches only what it needs. Masks: 0 hidden, 1 padding, 2 sound.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._parts = [safe_open(str(path), framework="pt") for path in files]
        self._latents = [part.get_slice("latents") for part in self._parts]
        self._masks = [part.get_slice("masks") for part in self._parts]
        self._sizes = [piece.get_shape()[0] for piece in self._latents]
        self.variants = int(self._latents[0].get_shape()[1])

    def __len__(self) -> int:
        return sum(self._sizes)

    def get(self, clips: Sequence[int], variants: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(latents fp32 [B, 4, h, w], masks uint8 [B, h, w])."""
        latents, masks = [], []
        for clip, variant in zip(clips, variants, strict=True):
            part = 0
            while clip >= self._sizes[part]:
                clip -= self._sizes[part]
                part += 1
            latents.append(self._latents[part][clip, variant])
            masks.append(self._masks[part][clip, variant])
        return torch.stack(latents).float(), torch.stack(masks)


@dataclass(frozen=True)
class Variants:
    """How many versions of each clip are cached, and how they differ from the first, which is the clip."""

    count: int
    options: Augmentation
    seed: int


@torch.no_grad()
def cache_latents(
    model: Any,
    fingerprint: str,
    examples: Sequence[Example],
    fmt: SpectrogramFormat,
    variants: Variants,
    folder: Path,
    tell: Callable[[str], None] = logger.info,
) -> LatentCache:
    """Encodes every variant of every clip (the mean of the VAE's posterior), or finds that on disk.

    `fingerprint` names the base model. Files belong to their clips' content, so that a changed caption
    encodes nothing anew and a changed clip only its own chunk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    pace, done = Pace(), 0
    for first in range(0, len(examples), CHUNK):
        part = examples[first : first + CHUNK]
        stamps = [
            (e.picture.name, e.picture.stat().st_size, e.picture.stat().st_mtime_ns, e.columns) for e in part
        ]
        facts = (fingerprint, fmt.to_dict(), variants.count, stamps)
        if variants.count > 1:
            others = [e.audio.name for e in examples] if variants.options.mix else []
            facts += (vars(variants.options), variants.seed, first, others)  # type: ignore[assignment]
        path = folder / f"latents-{file_key(*facts)}.safetensors"
        files.append(path)
        if rows_in(path, "latents") == len(part):
            continue
        latents, masks = [], []
        for index in range(first, first + len(part)):
            pictures, shown = _variants(examples, index, fmt, variants)
            latents.append(encode_pixels(model, pictures))
            masks.append(shown)
            done += 1
            if done == 1 or index + 1 == len(examples) or done % 20 == 0:
                left = pace.left(done, len(examples) - index - 1)
                tell(f"Encoding clips: {index + 1} of {len(examples)}, {left} left")
        keep(path, {"latents": torch.stack(latents), "masks": torch.stack(masks)})
    return LatentCache(files)


def _variants(
    examples: Sequence[Example], index: int, fmt: SpectrogramFormat, variants: Variants
) -> tuple[Tensor, Tensor]:
    """(pixels [V, 3, H, W] in −1 … 1, masks uint8 [V, h, w]) of one clip."""
    from sonoconvert.conversion.convert import encode as draw
    from sonoconvert.files.clip import read_clip
    from sonoconvert.pictures.picture import Picture, load_picture

    example = examples[index]
    pictures = [load_picture(example.picture)]
    columns = [example.columns]
    hidden = [torch.ones(fmt.n_mels, fmt.width)]
    waveform = read_clip(example.audio).waveform[0] if variants.count > 1 else None
    for variant in range(1, variants.count):
        assert waveform is not None
        generator = torch.Generator().manual_seed((variants.seed * 1_000_003 + index) * 101 + variant)
        others: list[Tensor] = []
        if variants.options.mix:
            other = int(torch.randint(len(examples), (1,), generator=generator))
            others = [read_clip(examples[other].audio).waveform[0]]
        changed = augment(waveform, fmt, variants.options, generator, others)
        from sonoconvert.files.clip import Clip

        picture = draw(Clip(changed[None], fmt.sample_rate), fmt)
        levels, mask = mask_levels(picture.levels()[..., : fmt.width], fmt, variants.options, generator)
        pictures.append(Picture.from_levels(levels, fmt))
        columns.append(_columns(changed, fmt))
        hidden.append(mask)
    pixels = torch.stack([torch.from_numpy(p.pixels.copy()).permute(2, 0, 1) for p in pictures])
    masks = torch.stack([_mask(c, m.flip(0), fmt) for c, m in zip(columns, hidden, strict=True)])
    return pixels.float().div_(127.5).sub_(1.0)[..., : fmt.width], masks


def _columns(waveform: Tensor, fmt: SpectrogramFormat) -> int:
    from sonotrain.data.augment import sounding_columns

    return sounding_columns(waveform, fmt)


def _mask(columns: int, shown: Tensor, fmt: SpectrogramFormat, factor: int = 8) -> Tensor:
    """Pixels' mask → latents' uint8 [h, w]: 2 where there is sound, 1 padding, 0 hidden."""
    width = -(-fmt.width // factor) * factor
    full = torch.nn.functional.pad(shown, (0, width - shown.shape[1]), value=1.0)
    visible = torch.nn.functional.avg_pool2d(full[None], factor)[0] > 0.5
    sounds = torch.arange(width // factor) < -(-columns // factor)
    return (visible * (1 + sounds.int())[None, :]).to(torch.uint8)


def encode_pixels(model: Any, pixels: Tensor) -> Tensor:
    """Pixels [N, 3, H, W] in −1 … 1 → scaled latents fp16 [N, 4, h, w]: the means of the VAE's posterior."""
    from sonopaint.painters.latents import window_of

    factor = model.latent_factor
    width = window_of(model) * factor
    pixels = torch.nn.functional.pad(pixels, (0, width - pixels.shape[-1], 0, 0), mode="replicate")
    parts = []
    for part in pixels.split(BATCH.get(model.device.type, 1)):
        mean = model.vae.encode(part.to(model.device, model.dtype)).latent_dist.mode()
        parts.append((mean.float() * model.vae_scale).half().cpu())
    return torch.cat(parts)
