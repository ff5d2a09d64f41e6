"""Sounds as AudioLDM's latents, their classes as its text vectors."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonoconvert.files.hashes import sha256_of
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.dataset import is_dataset, load_dataset
from sonotrain.data.esc50 import esc50, is_esc50, read_folds
from sonotrain.files.tensors import keep, kept

logger = logging.getLogger(__name__)

WINDOW, FLOOR = 1024, 1e-5  # AudioLDM's front end: Hann, magnitudes, natural logarithm
LEVEL = 0.5  # peak of every sound


@dataclass(frozen=True)
class Sounds:
    """Latents [N, 4, T, F] (scaled), text vectors [K + 1, 512] (the last of ""), and each clip's text [N]."""

    latents: Tensor
    texts: Tensor
    text_of: Tensor

    def __len__(self) -> int:
        return len(self.latents)


def labelled(folder: str | Path, folds: str = "") -> list[tuple[Path, str]]:
    """(sound, its class) of some folds of ESC-50, of a dataset's training part, or of a folder of classes.

    Raises SonopaintError for a folder without sounds and for sounds of no class.
    """
    root = Path(folder).expanduser()
    if is_esc50(root):
        return esc50(root, read_folds(folds))
    if is_dataset(root):
        examples = load_dataset(root).splits["train"]
        found = [(example.audio, example.label or example.text) for example in examples]
    else:
        found = [
            (path, path.relative_to(root).parts[0])
            for path in sorted(root.glob("*/**/*"))
            if path.suffix.lower() in SOUNDS
        ]
    if not found:
        raise SonopaintError(
            f"{root} has no sounds with classes; give ESC-50's folder, a dataset, or a folder with a "
            "folder of sounds for each class."
        )
    return [(path, text.replace("_", " ")) for path, text in found]


def log_mel(waveform: Tensor, vocoder: Any) -> Tensor:
    """What AudioLDM's VAE and vocoder know, [frames, bins], of a mono sound [T] at the vocoder's rate."""
    from librosa.filters import mel

    hop = int(torch.tensor(vocoder.upsample_rates).prod())
    rate, bins = vocoder.sampling_rate, vocoder.model_in_dim
    filters = torch.from_numpy(mel(sr=rate, n_fft=WINDOW, n_mels=bins, fmin=0, fmax=rate / 2))
    spectrum = torch.stft(
        waveform, WINDOW, hop, window=torch.hann_window(WINDOW), pad_mode="reflect", return_complex=True
    )
    return (filters @ spectrum.abs()).clamp_min(FLOOR).log().T


@torch.no_grad()
def prepare_sounds(
    pipe: Any, found: Sequence[tuple[Path, str]], seconds: float, device: torch.device, folder: Path
) -> Sounds:
    """Encodes sounds and classes; latents are kept in `folder`, and found again by content."""
    vocoder, factor = pipe.vocoder.config, pipe.vae_scale_factor
    hop = int(torch.tensor(vocoder.upsample_rates).prod())
    frames = round(seconds * vocoder.sampling_rate / hop / factor) * factor
    key = hashlib.sha256()
    for sound, _ in found:
        key.update(sha256_of(sound).encode())
    path = folder / f"latents-{key.hexdigest()[:24]}-{frames}-{vocoder.model_in_dim}.safetensors"
    stored = kept(path)
    if stored is None:
        parts = []
        for number, (sound, _) in enumerate(found, 1):
            clip = read_clip(sound, duration_s=seconds).mono().resampled(vocoder.sampling_rate)
            wave = clip.waveform[0] - clip.waveform[0].mean()
            wave = LEVEL * wave / wave.abs().max().clamp_min(1e-8)
            wave = F.pad(wave, (0, max(0, frames * hop - len(wave))))[: frames * hop]
            picture = log_mel(wave, vocoder)[:frames]
            posterior = pipe.vae.encode(picture[None, None].to(device)).latent_dist
            parts.append((posterior.mode() * pipe.vae.config.scaling_factor).float().cpu())
            if number % 100 == 0:
                logger.info("%d of %d sounds are encoded", number, len(found))
        stored = {"latents": torch.cat(parts)}
        keep(path, stored)
    names = list(dict.fromkeys(text for _, text in found))
    texts = torch.cat([text_vector(pipe, text, device) for text in [*names, ""]])
    return Sounds(stored["latents"], texts, torch.tensor([names.index(text) for _, text in found]))


@torch.no_grad()
def text_vector(pipe: Any, text: str, device: torch.device) -> Tensor:
    """CLAP's vector [1, 512] of a text, of length 1, as the pipeline gives it to the U-Net."""
    longest = min(pipe.tokenizer.model_max_length, 512)
    tokens = pipe.tokenizer(
        text, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
    )
    found = pipe.text_encoder(tokens.input_ids.to(device), attention_mask=tokens.attention_mask.to(device))
    return F.normalize(found.text_embeds.float(), dim=-1).cpu()
