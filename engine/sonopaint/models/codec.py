"""Codec latents, continuous and discrete: EnCodec (Défossez et al. 2022) with weights from the user's disk.

"Diffusion models for EDM jingles", § 3.3.1: the continuous representation (D2) is the encoder's output with
the quantiser left out, [128, 75 Hz] for the 24 kHz model; the discrete one (D3) is the residual quantiser's
codes, 0 … 1023, 2 to 32 of them by bandwidth (table 3.1; 16 at 12 kbps is what the document uses). Nothing
is shipped or downloaded: `load_codec` takes a folder with config.json and model.safetensors.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sonoconvert.conversion.convert import mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip

logger = logging.getLogger(__name__)
_METADATA = "sonopaint.codec"


@dataclass(frozen=True)
class Encoded:
    """A clip in a codec's terms.

    Attributes:
        values: float [features, frames] (continuous), or int64 [codebooks, frames] (discrete).
        num_samples: of the clip at the codec's rate.
        scale: loudness that the codec divided by (48 kHz model only), else None.
        settings: how the clip was made.
    """

    values: torch.Tensor
    num_samples: int
    scale: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape or self.num_samples < 1:
            raise SonopaintError(
                f"Encoded sound needs values of [features, frames] and at least one sample, not "
                f"{list(self.values.shape)} and {self.num_samples}."
            )

    @property
    def discrete(self) -> bool:
        return not self.values.is_floating_point()


class Codec:
    """An EnCodec network; make it with `load_codec`."""

    def __init__(self, network: Any) -> None:
        self.network = network.eval().requires_grad_(False)
        self.config = network.config

    @property
    def sample_rate(self) -> int:
        return int(self.config.sampling_rate)

    @property
    def frame_rate(self) -> float:
        """Frames a second: 75 for the 24 kHz model."""
        return self.sample_rate / int(self.network.config.hop_length)

    @property
    def features(self) -> int:
        """Of the continuous latents: 128."""
        return int(self.config.hidden_size)

    @property
    def bandwidths(self) -> list[float]:
        """In kbps, for `codes`."""
        return [float(width) for width in self.config.target_bandwidths]

    def latents(self, clip: Clip, scale: float | None = None) -> Encoded:
        """The continuous representation: the encoder's output, the quantiser left out.

        scale: what a normalising codec divides by, in place of the clip's RMS.
        """
        wave, scale = self._prepared(clip, scale)
        with torch.no_grad():
            values = self.network.encoder(wave)[0]
        return Encoded(values.cpu(), wave.shape[-1], scale, dict(clip.settings))

    def codes(self, clip: Clip, bandwidth: float = 12.0) -> Encoded:
        """The discrete representation at a bandwidth in kbps.

        Raises:
            SonopaintError: a bandwidth that the codec does not have.
        """
        if bandwidth not in self.bandwidths:
            known = ", ".join(f"{width:g}" for width in self.bandwidths)
            raise SonopaintError(f"The codec has no bandwidth of {bandwidth:g} kbps; use one of {known}.")
        wave, scale = self._prepared(clip)
        with torch.no_grad():
            values = self.network.quantizer.encode(self.network.encoder(wave), bandwidth)[:, 0]
        return Encoded(values.cpu(), wave.shape[-1], scale, dict(clip.settings))

    def decode(self, encoded: Encoded) -> Clip:
        """Latents or codes back to a clip at the codec's rate and channels, of its length and level.

        Raises:
            SonopaintError: values that this codec can't have made.
        """
        values = encoded.values.to(self.network.device)[None]
        if encoded.discrete:
            books, size = int(self.config.num_quantizers), int(self.config.codebook_size)
            if values.shape[1] > books or int(values.min()) < 0 or int(values.max()) >= size:
                raise SonopaintError(
                    f"The codes are {values.shape[1]} of {int(values.min())}…{int(values.max())}, but this "
                    f"codec has {books} codebooks of 0…{size - 1}; use the codec that made them."
                )
        elif values.shape[1] != self.features:
            raise SonopaintError(
                f"The latents have {values.shape[1]} features, but this codec has {self.features}; use the "
                "codec that made them."
            )
        with torch.no_grad():
            latents = self.network.quantizer.decode(values.transpose(0, 1)) if encoded.discrete else values
            wave = self.network.decoder(latents)[0].float().cpu()
        wave = wave * (1.0 if encoded.scale is None else encoded.scale)
        wave = torch.nn.functional.pad(wave, (0, max(encoded.num_samples - wave.shape[-1], 0)))
        return Clip(wave[:, : encoded.num_samples], self.sample_rate, dict(encoded.settings))

    def _prepared(self, clip: Clip, scale: float | None = None) -> tuple[torch.Tensor, float | None]:
        mixed = mix_to(clip, int(self.config.audio_channels)).resampled(self.sample_rate)
        wave = mixed.waveform[None].to(self.network.device)
        if not self.config.normalize:
            return wave, None
        if scale is None:
            scale = float(wave.mean(dim=1).square().mean().sqrt()) + 1e-8
        return wave / scale, scale


@dataclass(frozen=True)
class CodecLatents:
    """A codec's continuous latents as a `sonoconvert.representations` one: float32 [features, frames].

    rms: what a codec that normalises loudness divides every clip by (others divide by nothing), so that
        latents keep the level.
    """

    codec: Codec
    rms: float = 0.1

    @property
    def sample_rate(self) -> int:
        return self.codec.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.codec.frame_rate

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (self.codec.features, -(-num_samples // int(self.codec.network.config.hop_length)))

    def header(self) -> dict[str, Any]:
        kept = ("sampling_rate", "audio_channels", "hidden_size", "upsampling_ratios", "normalize")
        facts = {name: getattr(self.codec.config, name) for name in kept}
        return {"kind": "codec-latents", **facts, "rms": self.rms}

    def encode(self, clip: Clip) -> torch.Tensor:
        return self.codec.latents(clip, self.rms).values

    def decode(self, tensor: torch.Tensor, num_samples: int | None = None) -> Clip:
        hop = int(self.codec.network.config.hop_length)
        length = tensor.shape[-1] * hop if num_samples is None else num_samples
        scale = self.rms if self.codec.config.normalize else None
        return self.codec.decode(Encoded(tensor, length, scale))


def load_codec(folder: str | os.PathLike[str], *, device: str = "cpu") -> Codec:
    """Load an EnCodec model from a folder in Hugging Face's layout; nothing is downloaded.

    Raises:
        SonopaintError: no such folder, another kind of model, a pickle, or missing weights.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise SonopaintError(
            f"{path} is not a codec: it needs config.json and model.safetensors, such as EnCodec 24 kHz's."
        )
    if not (path / "model.safetensors").is_file():
        raise SonopaintError(
            f"{path} has no model.safetensors; a pickle (pytorch_model.bin) can run code and is not loaded."
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SonopaintError(f"{path / 'config.json'} is damaged; get it again.") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "encodec":
        raise SonopaintError(f"{path} is a model of type {kind!r}, not EnCodec; use an EnCodec model.")
    try:
        from safetensors import SafetensorError
        from transformers import EncodecModel
    except ImportError as error:
        raise SonopaintError(
            "Codec latents need transformers, which is not installed: python install.py cli."
        ) from error
    try:
        network, report = EncodecModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise SonopaintError(f"{path} can't be loaded as an EnCodec model ({error}).") from error
    if report["missing_keys"]:
        raise SonopaintError(
            f"{path} lacks {len(report['missing_keys'])} tensors, such as "
            f"{sorted(report['missing_keys'])[0]}; get the file again."
        )
    return Codec(network.to(device))


def save_encoded(encoded: Encoded, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write latents or codes as safetensors (codes in 16 bits) with what is needed to decode them."""
    from safetensors.torch import save_file

    about = {"num_samples": encoded.num_samples, "scale": encoded.scale, "settings": encoded.settings}
    values = encoded.values.to(torch.int16) if encoded.discrete else encoded.values
    with atomic_path(path, force=force) as beside:
        save_file({"values": values.contiguous()}, beside, {_METADATA: json.dumps(about)})


def load_encoded(path: str | os.PathLike[str]) -> Encoded:
    """Read what `save_encoded` wrote.

    Raises:
        SonopaintError: not such a file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})[_METADATA])
            values = file.get_tensor("values")
        scale = None if about["scale"] is None else float(about["scale"])
        return Encoded(
            values if values.is_floating_point() else values.long(),
            int(about["num_samples"]),
            scale,
            dict(about["settings"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(f"{path} does not hold codec latents, or is damaged ({error}).") from error
