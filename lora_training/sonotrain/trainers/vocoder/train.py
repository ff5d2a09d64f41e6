"""Trains the learned decoder (`sonoconvert.phase.vocoder`) of a format on synthesised sounds."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.phase.search import reconstruct
from sonoconvert.phase.vocoder import FAST, Vocoder, read, write
from sonoconvert.phase.vocoder_network import PATCH, VocoderNetwork, place_of
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import mel_magnitude
from sonotrain.data.waveforms import waveforms
from sonotrain.files.json_files import read_json
from sonotrain.files.options import option
from sonotrain.trainers.vocoder.crops import Crops, at_working_rate, quantised, through_model
from sonotrain.trainers.vocoder.losses import (
    SpectrogramDiscriminator,
    cell_losses,
    distances,
    stft_loss,
    waveform_of,
    waveform_of_steps,
)
from sonotrain.training import common
from sonotrain.training.compute import autocast, compiled, descend, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.losses import hinge_discriminator_loss
from sonotrain.training.muon import muon_and_adam
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final
from sonotrain.training.weights import facts_of, our_header

logger = logging.getLogger(__name__)

HELD_OUT = 12  # the first sounds: never trained on


@dataclass(frozen=True)
class VocoderOptions:
    format: str = option("riffusion-v1", "spectrogram format that is decoded")
    clips: int = option(1000, "synthesised sounds to learn from")
    start_from: str = option("", "another vocoder whose weights are the start: a file, or a run folder")
    batch: int = common.batch(3, "crops")
    crop: int = option(104, "frames of a crop that are judged, a multiple of twice `patch-frames`")
    width: int = option(48, "channels of the network")
    deep: int = option(64, "channels of the network at half the resolution")
    blocks: int = option(3, "blocks at half the resolution")
    patch_frames: int = option(2, "frames that one position of the network stands for: more are quicker")
    patch_bins: int = option(4, "bins that one position of the network stands for")
    model: str = option(
        "", "a model of the format, whose VAE blurs some of the sounds, and whose grain is on them"
    )
    model_clips: int = option(768, "corpus clips that go through it")
    learning_rate: float = option(0.02, "peak learning rate of the convolutions (Muon)")
    bias_rate: float = option(2e-3, "peak learning rate of the biases (Adam)")
    warmup: int = common.warmup(50)
    ema: float = common.ema(0.995)
    waveform_from: int = option(0, "step from which the waveform's STFT loss joins (0: never)")
    waveform_weight: float = option(0.3, "weight of the waveform's STFT loss")
    adversarial_weight: float = option(0.0, "weight of a discriminator's loss beside it (0: none)")
    seed: int = common.seed()
    workers: int = option(1, "processes that synthesise the sounds", free=True)
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes(2.0)
    preview_minutes: float = common.preview_minutes("measurements on held-out sounds")


class VocoderTrainer(Trainer):
    """vocoder.json holds the measures on held-out sounds."""

    command = "vocoder"
    Options = VocoderOptions
    options: VocoderOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        for name, value in (("patch_frames", options.patch_frames), ("patch_bins", options.patch_bins)):
            if not 1 <= value <= 16:
                raise SonopaintError(f"{setting(name)} must be from 1 to 16, not {value}.")
        whole = network_of(options).whole
        if options.crop < 16 or options.crop % whole:
            raise SonopaintError(
                f"{setting('crop')} must be a multiple of {whole} and at least 16, not {options.crop}."
            )
        if options.clips <= HELD_OUT:
            raise SonopaintError(f"{setting('clips')} must be above {HELD_OUT}, not {options.clips}.")
        wanted = get_format(options.format)
        if wanted.num_channels > 1:
            raise SonopaintError(
                f"{wanted.name} has {wanted.num_channels} channels, and each is decoded like a mono one: "
                f"train {wanted.with_channels('mono').name}."
            )
        self.fmt = at_working_rate(wanted)
        self.measured: dict[str, float] = {}

    def prepare(self) -> None:
        options, device = self.options, self.device
        torch.manual_seed(options.seed)
        self.place = place_of(self.fmt, device)
        self.network = network_of(options)
        if options.start_from:
            start = Path(options.start_from)
            before = read(start).network if start.is_file() else load_network(start)
            self.network.load_state_dict(before.state_dict())
        self.network.to(device).channels_last()
        self.fast_network = compiled(self.network, device)
        self.ema = Ema([self.network], options.ema)
        self.optimiser, self.biases = muon_and_adam(
            self.network.parameters(), options.learning_rate, options.bias_rate
        )
        self.discriminator = SpectrogramDiscriminator().to(device)
        self.critic = torch.optim.AdamW(self.discriminator.parameters(), 2e-4, betas=(0.5, 0.9))
        logger.info("synthesising %d sounds at %d Hz", options.clips, self.fmt.sample_rate)
        self.sounds = waveforms(options.clips, self.fmt.sample_rate, options.seed + 1, options.workers)
        self.crops = Crops(self.sounds[HELD_OUT:], self.fmt, self.device, self.network.edge)
        if options.model:
            self.crops.blurred = through_model(
                options.model, self.fmt, options.model_clips, options.seed, self.run
            )

    def parts(self) -> dict[str, Any]:
        parts = {
            "network": self.network, "ema": self.ema, "optimiser": self.optimiser, "biases": self.biases,
        }  # fmt: skip
        if self.options.adversarial_weight:
            parts |= {"discriminator": self.discriminator, "critic": self.critic}
        return parts

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser, self.biases]

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        logs, spectrum = self.crops.draw(options.batch, options.crop, step_generator(options.seed, number))
        with autocast(self.device):
            output = self.fast_network(logs, self.place)
        output = output[:, :, self.network.edge : -self.network.edge]
        values = cell_losses(output, spectrum, self.fmt)
        loss = values["log"] / 5 + values["linear"] + 2 * values["advance"] + 2 * values["across"]
        true = made = None
        if options.waveform_from and number >= options.waveform_from:
            made = waveform_of_steps(output, spectrum, self.fmt)
            true = waveform_of(spectrum, self.fmt)
            values["stft"] = stft_loss(made, true)
            loss = loss + options.waveform_weight * values["stft"]
            if options.adversarial_weight:
                judged = self.discriminator(made)
                values["fooled"] = -torch.stack([logits.mean() for logits in judged]).mean()
                loss = loss + options.adversarial_weight * values["fooled"]
        values["norm"] = descend(loss, self.network.parameters(), *self.optimisers())
        self.ema.update()
        if "fooled" in values and true is not None and made is not None:
            values["critic"] = self._train_critic(true, made.detach())
        return values

    def _train_critic(self, real: Tensor, fake: Tensor) -> Tensor:
        pairs = zip(self.discriminator(real), self.discriminator(fake), strict=True)
        loss = torch.stack([hinge_discriminator_loss(first, second) for first, second in pairs]).mean()
        descend(loss, self.discriminator.parameters(), self.critic, most=math.inf)
        return loss

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return self.measured

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """Mean spectral convergence and log-spectral distance (dB) over the held-out synthesised sounds."""
        found = []
        with self.ema.applied():
            network = VocoderNetwork(**self.network.config)
            network.load_state_dict(self.network.state_dict())
            vocoder = Vocoder(network.to(self.device), self.fmt)
            for samples in self.sounds[:HELD_OUT]:
                true = samples.to(self.device).float() / 32768
                mel = mel_magnitude(true[None], self.fmt)
                mel = quantised(mel, self.fmt, mel.amax(dim=(-1, -2)))
                made = reconstruct(mel, self.fmt, vocoder=vocoder, length=len(true))[0]
                found.append(distances(true, made, self.fmt.sample_rate))
        mean = torch.tensor(found).mean(dim=0).tolist()
        self.measured = {"spectral_convergence": mean[0], "log_spectral_distance": mean[1]}
        return self.measured


def network_of(options: VocoderOptions) -> VocoderNetwork:
    """The network that the options describe, untrained."""
    return VocoderNetwork(
        options.width, options.deep, options.blocks, options.patch_frames, options.patch_bins
    )


def load_network(folder: str | Path) -> VocoderNetwork:
    """The averaged network of a run folder."""
    parts, config = load_final(folder)
    options = config["options"]
    network = network_of(VocoderOptions(**options))
    network.load_state_dict(parts["network"])
    take_average([network], parts["ema"])
    return network.eval()


def export_vocoder(run: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Writes a run's averaged network as `out`/<format>.safetensors (fp16), its training in the header.

    One of larger cells is the format's quick one: <format>-fast.safetensors.
    """
    network, run = load_network(run), Path(run)
    options = read_json(run / "config.json")["options"]
    fmt = get_format(options["format"])
    data = f"{options['clips']} synthesised sounds (foley corpus, synthetic signals), no recordings"
    if options.get("model"):
        data += f"; {options['model_clips']} clips of the corpus as a model's VAE gives them back"
    facts = facts_of(run, "vocoder", data, options)
    ending = FAST if network.patch > PATCH else ""
    path = Path(out) / f"{fmt.name}{ending}.safetensors"
    write(path, network, fmt, our_header(f"Turns {fmt.name} pictures into sound.", facts), force=force)
    return path
