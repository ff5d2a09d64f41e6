"""CNN14 of PANNs (Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks", § II-A, Table I).

Written from the paper; names of the tensors as in the published files (Cnn14_mAP=0.431.pth and
Cnn14_16k_mAP=0.438.pth), so that they load. 80,753,615 trained parameters as the paper's Table XII says;
running statistics and the fixed front end (STFT kernels, mel filters) are not counted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError
from sonoconvert.files.hashes import sha256_of
from sonotrain.evaluation.embeddings.base import Embedded, windows_of
from sonotrain.evaluation.embeddings.weights import (
    fill,
    find_weights,
    read_state,
    weights_folder,
)

CLASSES = 527  # AudioSet's
CHANNELS = (64, 128, 256, 512, 1024, 2048)
MEL_BINS = 64
AMIN = 1e-10
STFT_KERNEL = "spectrogram_extractor.stft.conv_real.weight"
MEL_FILTERS = "logmel_extractor.melW"
WANTED = "CNN14 of PANNs (Cnn14_mAP=0.431.pth)"
SOURCE = "Zenodo record 3987831"
PATTERNS = ("*nn14_mAP*", "*nn14_16k*", "*nn14*")


@dataclass(frozen=True)
class FrontEnd:
    """Log-mel settings: rate and band in Hz, window and hop in samples.

    The paper speaks of a Hamming window; its code and the kernels in its files have a Hann window.
    """

    sample_rate: int = 32_000
    window: int = 1024
    hop: int = 320
    f_min: float = 50.0
    f_max: float = 14_000.0

    def mel_filters(self) -> Tensor:
        """librosa's filters with Slaney's scale and norm, [window // 2 + 1, 64]."""
        from librosa.filters import mel

        filters = mel(
            sr=self.sample_rate, n_fft=self.window, n_mels=MEL_BINS, fmin=self.f_min, fmax=self.f_max
        )
        return torch.from_numpy(np.ascontiguousarray(filters.T)).float()


# The published files by the length of their STFT.
FRONT_ENDS = {
    1024: FrontEnd(),
    512: FrontEnd(16_000, 512, 160, 50.0, 8_000.0),
    256: FrontEnd(8_000, 256, 80, 50.0, 4_000.0),
}


def log_mel(waveforms: Tensor, front: FrontEnd, filters: Tensor) -> Tensor:
    """Waveforms [B, T] → 10·log10 of mel power [B, frames, 64]: Hann, centred, reflected, floor 1e-10."""
    window = torch.hann_window(front.window, dtype=waveforms.dtype, device=waveforms.device)
    spectrum = torch.stft(
        waveforms,
        front.window,
        front.hop,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
    return 10.0 * (power @ filters.to(power)).clamp_min(AMIN).log10()


class ConvBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm and ReLU, then average pooling."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.bn2 = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor, pool: int) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, pool) if pool > 1 else x


class Cnn14(nn.Module):
    """Log-mel spectrograms [B, frames ≥ 32, 64] → (embedding [B, 2048] after ReLU, logits [B, 527])."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(MEL_BINS)
        inside = 1
        for number, channels in enumerate(CHANNELS, 1):
            self.add_module(f"conv_block{number}", ConvBlock(inside, channels))
            inside = channels
        self.fc1 = nn.Linear(inside, inside)
        self.fc_audioset = nn.Linear(inside, CLASSES)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        x = self.bn0(mel[:, None].transpose(1, 3)).transpose(1, 3)
        for number in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"conv_block{number}")(x, 2 if number < len(CHANNELS) else 1)
        x = x.mean(3)
        embedding = F.relu_(self.fc1(x.amax(2) + x.mean(2)))
        return embedding, self.fc_audioset(embedding)


class Panns:
    """CNN14 as an embedding: 2048 features and 527 logits of a clip, and features of 1 s windows."""

    name = "panns"
    kinds: list[str] = []
    window_s: float | None = 1.0
    longest_s: float | None = None
    version = 1

    def __init__(
        self,
        model: Cnn14,
        front: FrontEnd,
        filters: Tensor,
        *,
        file: str,
        hash: str,
        device: str | torch.device = "cpu",
    ) -> None:
        self.model, self.front, self.filters = model.to(device), front, filters.to(device)
        self.device = torch.device(device)
        self.file, self.hash = file, hash
        self.title = "PANNs CNN14" + ("" if front.sample_rate == 32_000 else f" {front.sample_rate // 1000}k")
        self.sample_rate = front.sample_rate
        self.least_samples = front.sample_rate
        self.details = (
            f"2048 features after fc1 and ReLU; log-mel {front.window}/{front.hop}, {MEL_BINS} bands "
            f"{front.f_min:g}–{front.f_max:g} Hz; 527 logits"
        )

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Embedded:
        waveforms = waveforms.to(self.device)
        clip, logits = self._embed(waveforms)
        parts = windows_of(waveforms, self.sample_rate)
        windows = clip[:, None]
        if parts.shape[1] > 1 or parts.shape[2] != waveforms.shape[1]:
            windows = torch.stack([self._embed(part)[0] for part in parts])
        return Embedded(clip.cpu(), windows.cpu(), logits.cpu())

    def _embed(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(log_mel(waveforms, self.front, self.filters))


def load_panns(weights: str | Path = "", device: str | torch.device = "cpu") -> Panns:
    """CNN14 with the user's weights (.pth as published, or .safetensors with the same names).

    The file's own STFT kernels say which front end it was trained with (32, 16 or 8 kHz); files without them
    are told by "16k" or "8k" in their name. SonopaintError where the file is missing or another network.
    """
    path = find_weights(PATTERNS, WANTED, SOURCE, weights)
    state = read_state(path)
    front = _front_end(state, path)
    filters = front.mel_filters()
    stored = state.get(MEL_FILTERS)
    if stored is not None:
        tolerance = 1e-3 * filters.max().item()
        if stored.shape != filters.shape or not torch.allclose(stored.float(), filters, atol=tolerance):
            raise SonopaintError(
                f"{path.name} was trained with other mel filters than {front.f_min:g}–{front.f_max:g} Hz at "
                f"{front.sample_rate} Hz; expected {WANTED}."
            )
        filters = stored.float()
    model = Cnn14()
    fixed = ("spectrogram_extractor.", "logmel_extractor.")
    fill(model, {name: value for name, value in state.items() if not name.startswith(fixed)}, path, WANTED)
    return Panns(model, front, filters, file=path.name, hash=sha256_of(path)[:10], device=device)


def panns_are_here() -> bool:
    """Whether the models folder holds a file that looks like CNN14."""
    return any(any(weights_folder().glob(pattern)) for pattern in PATTERNS)


def _front_end(state: Mapping[str, Tensor], path: Path) -> FrontEnd:
    kernel = state.get(STFT_KERNEL)
    if kernel is not None:
        size = kernel.shape[-1]
    else:
        size = 512 if "16k" in path.name.lower() else 256 if "8k" in path.name.lower() else 1024
    if size not in FRONT_ENDS:
        raise SonopaintError(f"{path.name} has an STFT of {size} samples; expected {WANTED}.")
    if kernel is not None and not torch.allclose(
        kernel[0].flatten().float(), torch.hann_window(size), atol=1e-3
    ):
        raise SonopaintError(f"{path.name} was trained with another window than Hann; expected {WANTED}.")
    return FRONT_ENDS[size]
