"""Opens an audio model from the user's own folder; nothing is downloaded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError
from sonopaint.models.info import find_model, wave_family
from sonopaint.models.loading import load_model
from sonopaint.models.model import Model
from sonopaint.models.wave_families import FAMILIES
from sonopaint.painters.diffusers_waves.ace_step import AceStep
from sonopaint.painters.diffusers_waves.audioldm import AudioLDM, AudioLDM2
from sonopaint.painters.diffusers_waves.base import WavePipeline
from sonopaint.painters.diffusers_waves.dpmpp_3m_sde import Dpmpp3mSde
from sonopaint.painters.diffusers_waves.longcat import LongCat
from sonopaint.painters.diffusers_waves.stable_audio import StableAudioOpen
from sonopaint.painters.diffusers_waves.stable_audio_3 import StableAudio3
from sonopaint.painters.waves import Start

logger = logging.getLogger(__name__)

PAINTERS: dict[str, type[WavePipeline]] = {
    painter.pipeline: painter
    for painter in (AudioLDM, AudioLDM2, StableAudioOpen, StableAudio3, AceStep, LongCat)
}
ROOM = 1.3  # of a card's free memory over the weights, for a model to lie on it whole


def load_wave_painter(
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    start: Start = "interpolated",
) -> WavePipeline:
    """The painter of a folder in diffusers' layout.

    device: default CUDA, then MPS, then the CPU. dtype: default bfloat16 or float16 on a card and float32 on
    the CPU. A model that the card has no room for goes there part by part. Raises SonopaintError with one
    sentence for a folder that is none, not whole, or of a pipeline that the installed diffusers lacks.
    """
    folder = Path(folder)
    family = wave_family(folder)
    if family is None:
        known = ", ".join(family.name for family in FAMILIES)
        raise SonopaintError(
            f"{folder} is no audio model in diffusers' layout: a folder with model_index.json, of one of "
            f"{known}. Single files of audio models can't be opened."
        )
    device = torch.device(device or _best_device())
    dtype = dtype or _precision(device)
    pipe = _opened(folder, family.pipeline, dtype)
    if device.type == "cuda" and not _fits(pipe, device):
        logger.warning("%s does not fit on the card as a whole: its parts take turns there.", folder.name)
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.to(device)
    return PAINTERS[family.pipeline](pipe, folder, start)


def open_model(
    name_or_path: str | Path = "mini", *, device: str | torch.device | None = None, **options: Any
) -> Model | WavePipeline:
    """A model of either kind, by its name or path: spectrograms (options as in load_model) or waveforms.

    Raises SonopaintError as they do, and for LoRAs on a model of waveforms.
    """
    path = find_model(name_or_path)
    if wave_family(path) is None:
        return load_model(name_or_path, device=device, **options)
    if options.get("loras"):
        raise SonopaintError(f"{path.name} paints waveforms; LoRAs of spectrogram models don't fit it.")
    return load_wave_painter(path, device=device)


def _opened(folder: Path, name: str, dtype: torch.dtype) -> Any:
    import diffusers

    cls = getattr(diffusers, name, None)
    if cls is None:
        raise SonopaintError(
            f"{folder.name} needs diffusers' {name}, which the installed version {diffusers.__version__} "
            "lacks; upgrade diffusers."
        )
    given: dict[str, Any] = {}
    if name == "StableAudioPipeline":
        given["scheduler"] = Dpmpp3mSde()  # its own needs torchsde
    try:
        return cls.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True, **given
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError) as error:
        said = str(error).strip().splitlines()
        raise SonopaintError(
            f"{folder} can't be opened as {name} ({said[0] if said else type(error).__name__}); get the "
            "missing or damaged files anew, as safetensors."
        ) from error


def _fits(pipe: Any, device: torch.device) -> bool:
    """Whether the weights leave room on a card."""
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    size = sum(value.numel() * value.element_size() for part in parts for value in part.parameters())
    return size * ROOM < torch.cuda.mem_get_info(device)[0]


def _precision(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float32 if device.type == "cpu" else torch.float16


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
