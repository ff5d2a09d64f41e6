"""What the learned decoder is trained on: crops of sounds, as pictures and as spectra."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.phase.vocoder_network import features, reference_of
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.grid import working_grid
from sonoconvert.pictures.spectrogram import (
    analyse,
    frame,
    from_levels,
    mel_basis,
    mel_magnitude,
    pad_ends,
    to_levels,
)
from sonopaint.models.grain import with_grain
from sonopaint.models.loading import load_model
from sonotrain.data import foley
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept
from sonotrain.training.painting import through_vae
from sonotrain.training.run import Run

BLURRED = 0.3  # share of the batches that went through a model's VAE, where one is named
_AT_ONCE = 16  # corpus clips that are made together
_TOLD_S = 15.0  # between words about how far the VAE is


class Crops:
    """Draws batches.

    sounds: int16 [N, samples]; fmt: at its working rate; edge: frames beside a crop that the network sees
    without being judged by them; blurred: what `through_model` gives, or None.
    """

    def __init__(self, sounds: Tensor, fmt: SpectrogramFormat, device: torch.device, edge: int) -> None:
        self.sounds, self.fmt, self.device, self.edge = sounds, fmt, device, edge
        self.basis = torch.from_numpy(mel_basis(fmt)).float().to(device)
        self.blurred: Mapping[str, Tensor] | None = None

    def draw(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Network input [B, 2, crop + 2·edge, bins] and the true spectrum, complex [B, crop, bins].

        Both relative to the reference.
        """
        if self.blurred is not None and bool(torch.rand((), generator=generator) < BLURRED):
            return self._blurred(self.blurred, batch, crop, generator)
        return self._plain(batch, crop, generator)

    def _plain(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One batch in six shows the mirrored ends of a sound, as `pad_ends` makes them; half are played
        backwards; half are quiet parts of a louder clip."""
        fmt, beside = self.fmt, self.edge
        hop, size = fmt.hop_length, fmt.win_length
        edge = bool(torch.rand((), generator=generator) < 1 / 6)
        frames = crop if edge else crop + 2 * beside
        length = frames * hop if edge else (frames - 1) * hop + size
        count, total = self.sounds.shape
        index = torch.randint(count, (batch,), generator=generator)
        start = torch.randint(total - length + 1, (batch,), generator=generator)
        picked = [self.sounds[i, s : s + length] for i, s in zip(index.tolist(), start.tolist(), strict=True)]
        sound = self._heard(torch.stack(picked), generator)
        if bool(torch.rand((), generator=generator) < 0.5):
            sound = sound.flip(-1)
        framed = frame(pad_ends(sound, size, hop) if edge else sound, size, hop)[:, :frames]
        mel = (analyse(framed, fmt.n_fft, size).abs() @ self.basis.T).transpose(-1, -2)
        headroom = 10 ** (torch.rand(batch, generator=generator) * 2.5 - 1.0).clamp_min(0)
        headroom = headroom.to(self.device)
        mel = quantised(mel, fmt, mel.amax(dim=(-1, -2)) * headroom)
        reference = reference_of(mel, fmt) * headroom
        logs = features(mel, fmt, reference)
        spectrum = analyse(framed, size, size) / reference[:, None, None]
        if edge:
            return F.pad(logs, (0, 0, beside, beside), mode="reflect"), spectrum
        return logs, spectrum[:, beside:-beside]

    def _blurred(
        self, blurred: Mapping[str, Tensor], batch: int, crop: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Pictures that a model's VAE gave back, and the spectra of the sounds that they were before."""
        fmt, beside = self.fmt, self.edge
        hop, size, frames = fmt.hop_length, fmt.win_length, crop + 2 * beside
        index = torch.randint(len(blurred["waves"]), (batch,), generator=generator)
        start = torch.randint(fmt.width - frames + 1, (batch,), generator=generator)
        crops = [slice(first, first + frames) for first in start.tolist()]
        sound = self._heard(blurred["waves"][index], generator)
        framed = frame(pad_ends(sound, size, hop), size, hop)
        framed = torch.stack([clip[part] for clip, part in zip(framed, crops, strict=True)])
        levels = blurred["levels"][index].to(self.device).float() / 255
        whole = from_levels(levels, fmt, blurred["peaks"][index].to(self.device))
        mel = torch.stack([clip[:, part] for clip, part in zip(whole, crops, strict=True)])
        reference = reference_of(whole, fmt)
        spectrum = analyse(framed, size, size) / reference[:, None, None]
        return features(mel, fmt, reference), spectrum[:, beside:-beside]

    def _heard(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Sound of int16 samples: digital silence has no phase, so there is a last bit of noise."""
        sound = samples.to(self.device).float() / 32768
        return sound + 1e-5 * torch.randn(sound.shape, generator=generator).to(self.device)


def through_model(name: str, fmt: SpectrogramFormat, clips: int, seed: int, run: Run) -> dict[str, Tensor]:
    """Corpus clips, and their pictures as a model's VAE gives them back, with its grain.

    They are kept in the run's folder.

    Returns:
        waves int16 [N, samples], levels uint8 [N, n_mels, width], peaks [N]; fmt at its working rate.
    """
    path = run.path / "blurred.safetensors"
    if found := kept(path):
        return found
    model, pace = load_model(name, device="cpu", dtype=torch.float32), Pace(_TOLD_S)
    if model.format.name != fmt.name:
        raise SonopaintError(
            f"{setting('model')} paints {model.format.name}, and the decoder is for {fmt.name}."
        )
    samples = fmt.width * fmt.hop_length
    waves, levels, peaks = [], [], []
    for first in range(0, clips, _AT_ONCE):
        for sound in foley.batch(min(_AT_ONCE, clips - first), seed * 10_009 + first).waveforms:
            wave = Clip(sound[None], foley.SAMPLE_RATE).resampled(fmt.sample_rate).waveform[0, :samples]
            wave = F.pad(wave, (0, samples - len(wave))).clamp(-1, 1)
            picture, peak = to_levels(mel_magnitude(wave[None], fmt)[..., : fmt.width], fmt)
            drawn = through_vae(model, picture)
            drawn = drawn if model.grain is None else with_grain(model.grain, drawn)
            waves.append((wave * 32767).round().to(torch.int16))
            levels.append((drawn[0].clamp(0, 1) * 255).round().to(torch.uint8))
            peaks.append(peak.reshape(()))
        if pace.due():
            left = pace.left(len(waves), clips - len(waves))
            run.preparing(f"through the VAE: {len(waves)} of {clips} clips, {left} left")
    made = {"waves": torch.stack(waves), "levels": torch.stack(levels), "peaks": torch.stack(peaks)}
    keep(path, made)
    return made


def at_working_rate(fmt: SpectrogramFormat) -> SpectrogramFormat:
    """The same picture format for sound at the rate of its `working_grid`."""
    grid = working_grid(fmt)
    return dataclasses.replace(
        fmt,
        sample_rate=grid.rate,
        n_fft=2 * round(fmt.n_fft * grid.win / fmt.win_length / 2),
        win_length=grid.win,
        hop_length=grid.hop,
    )


def quantised(mel: Tensor, fmt: SpectrogramFormat, peak: Tensor) -> Tensor:
    """Mel magnitudes [B, n_mels, frames] as an 8-bit picture gives them back; peak [B]."""
    levels, _ = to_levels(mel, fmt, peak)
    steps = levels * 255
    # What `Picture` does: inverted pictures are floored, in grey, and read in the middle of a step.
    steps = (steps.ceil() - 0.5).clamp_min(0) if fmt.inverted else steps.round()
    return from_levels(steps / 255, fmt, peak)
