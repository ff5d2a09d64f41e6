"""VGGish (Hershey et al. 2017), the embedding of the classic FAD (Kilgour et al. 2019).

Names of the tensors as in the PyTorch port of Google's weights (vggish-10086976.pth): `features.0.weight` …
`embeddings.4.bias`. No PCA and no quantisation; the last ReLU is left away, as AudioLDM's evaluation does.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.files.hashes import sha256_of
from sonotrain.evaluation.embeddings.base import Embedded
from sonotrain.evaluation.embeddings.weights import fill, find_weights, read_state

RATE = 16_000
WINDOW, HOP, N_FFT = 400, 160, 512  # 25 ms and 10 ms
MEL_BINS, F_MIN, F_MAX = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
FRAMES = 96  # of one window: 0.96 s
WANTED = "VGGish (vggish-10086976.pth)"


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """[257, 64]: triangles straight in mel (1127·ln(1 + f / 700)), of height 1, without the 0 Hz bin."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, N_FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(F_MIN), mel(F_MAX), MEL_BINS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    filters[0] = 0.0
    return torch.from_numpy(filters).float()


def examples(waveforms: Tensor) -> Tensor:
    """Waveforms [B, T ≥ 15,600] at 16 kHz → log-mel windows [B, K, 96, 64] of 0.96 s, not overlapping."""
    window = torch.hann_window(WINDOW, dtype=waveforms.dtype, device=waveforms.device)
    frames = waveforms.unfold(1, WINDOW, HOP) * window
    magnitude = torch.fft.rfft(frames, N_FFT).abs()
    log_mel = (magnitude @ mel_filters().to(magnitude) + LOG_OFFSET).log()
    count = log_mel.shape[1] // FRAMES
    return log_mel[:, : count * FRAMES].unflatten(1, (count, FRAMES))


class VggishNet(nn.Module):
    """Log-mel windows [N, 96, 64] → embeddings [N, 128] before the last ReLU. 72,141,184 parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 1
        for channels in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):
            if channels:
                layers += [nn.Conv2d(inside, channels, 3, padding=1), nn.ReLU()]
                inside = channels
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128)
        )

    def forward(self, windows: Tensor) -> Tensor:
        hidden = self.features(windows[:, None]).permute(0, 2, 3, 1)  # TensorFlow's order when flattened
        return self.embeddings(hidden.flatten(1))


class Vggish:
    """VGGish as an embedding: 128 features of 0.96 s windows; a clip's vector is their mean."""

    name = "vggish"
    title = "VGGish"
    kinds: list[str] = []
    sample_rate = RATE
    window_s: float | None = FRAMES * HOP / RATE
    longest_s: float | None = None
    least_samples = WINDOW + (FRAMES - 1) * HOP
    details = "128 features before the last ReLU, no PCA; log-mel 400/160, 64 bands 125–7500 Hz"
    version = 1

    def __init__(self, model: VggishNet, *, file: str, hash: str, device: str | torch.device = "cpu") -> None:
        self.model, self.device = model.to(device), torch.device(device)
        self.file, self.hash = file, hash

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Embedded:
        short = self.least_samples - waveforms.shape[1]
        parts = examples(F.pad(waveforms.to(self.device), (0, max(0, short))))
        windows = torch.stack([self.model(part) for part in parts]).cpu()
        return Embedded(windows.mean(1), windows, None)


def load_vggish(weights: str | Path = "", device: str | torch.device = "cpu") -> Vggish:
    """VGGish with the user's weights; SonopaintError where the file is missing or another network."""
    path = find_weights(("*vggish*",), WANTED, "release v0.1 of harritaylor/torchvggish", weights)
    state = {name: value for name, value in read_state(path).items() if not name.startswith("pproc.")}
    model = VggishNet()
    fill(model, state, path, WANTED)
    return Vggish(model, file=path.name, hash=sha256_of(path)[:10], device=device)
