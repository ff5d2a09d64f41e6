"""What the painters around diffusers' audio pipelines share: settings, seeds, steps, what is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d, pad

from sonoconvert.errors import SonopaintError
from sonopaint.models.wave_families import BY_PIPELINE, WaveFamily
from sonopaint.painters.waves import Start, WaveJob
from sonopaint.tasks.progress import Progress, silent
from sonopaint.tasks.settings import PaintSettings


@dataclass(frozen=True)
class Call:
    """One call of a pipeline, with everything resolved. generator: seeded, on the CPU."""

    job: WaveJob
    prompt: str
    negative: str | None
    steps: int
    guidance: float
    generator: torch.Generator
    seconds: float

    @property
    def from_source(self) -> bool:
        return self.job.source is not None and self.job.strength < 1


class WavePipeline:
    """A pipeline of diffusers as a WavePainter. Not safe for two jobs at once.

    start: where a flow model begins below strength 1: "interpolated" is (1 − s) z + s ε, the path that it
    learnt; "added" is z + s ε, as the documents have it for ThinkSound.

    A family says how latents are made of sound (`encode`), what they look like at a step (`at_level`), along
    which axis their time runs, and how its pipeline is called (`run`).
    """

    pipeline: ClassVar[str]
    time_axis: ClassVar[int] = -1

    def __init__(self, pipe: Any, path: Path, start: Start = "interpolated") -> None:
        self.pipe, self.path, self.start = pipe, path, start
        self.pipe.set_progress_bar_config(disable=True)
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None  # latents, their noise, mask of what is kept

    @property
    def family(self) -> WaveFamily:
        return BY_PIPELINE[self.pipeline]

    @property
    def sample_rate(self) -> int:
        return int(self.pipe.vae.config.sampling_rate)

    @property
    def channels(self) -> int:
        return int(self.pipe.vae.config.audio_channels)

    @property
    def longest_s(self) -> float:
        return self.family.seconds

    # --- what a family says ---------------------------------------------------------------------------------

    def encode(self, wave: Tensor) -> Tensor:
        """Latents of [channels, samples], as the pipeline's transformer sees them, without any randomness."""
        raise NotImplementedError

    def at_level(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        """Latents at the noise level at which step number `step` begins; clean after the last one."""
        raise NotImplementedError

    def run(self, call: Call, progress: Progress) -> Tensor:
        """Call the pipeline: [channels, samples], at least as many as asked for."""
        raise NotImplementedError

    # --- painting -------------------------------------------------------------------------------------------

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """The family's own steps and guidance where nobody says; the sampler is the pipeline's."""
        family = self.family
        return replace(
            settings,
            steps=family.steps if settings.steps is None else settings.steps,
            guidance_scale=family.guidance if settings.guidance_scale is None else settings.guidance_scale,
            sampler=None,
            negative_prompt=settings.negative_prompt if family.negative else "",
            down_prompt="",
            up_prompt="",
        )

    def describe(self) -> dict[str, Any]:
        return {"model": self.path.name, "family": self.family.name, "start": self.start}

    @torch.no_grad()
    def paint_wave(
        self, job: WaveJob, prompt: str, settings: PaintSettings, progress: Progress | None = None
    ) -> Tensor:
        """See WavePainter."""
        seconds = job.samples / self.sample_rate
        if seconds > self.longest_s + 1e-6:
            raise SonopaintError(
                f"{self.path.name} paints at most {self.longest_s:g} s at once, not {seconds:.2f} s; "
                "choose a shorter sound or part."
            )
        settings = self.resolve(settings)
        call = Call(
            job,
            prompt,
            settings.negative_prompt or None,
            settings.steps or 1,
            settings.guidance_scale or 0.0,
            torch.Generator().manual_seed(settings.seed),
            seconds,
        )
        report = progress or silent
        report(0, call.steps, "Painting")
        self._kept = None
        try:
            with torch.random.fork_rng(devices=[]):  # some encoders draw without asking for a generator
                torch.manual_seed(settings.seed)
                wave = self.run(call, report)
        finally:
            self._kept = None
        wave = wave.detach().float().cpu()
        if not bool(torch.isfinite(wave).all()):
            raise SonopaintError(
                f"The model {self.path.name} painted values that are no numbers; load it in 32 bit, or lower "
                "the guidance."
            )
        return pad(wave, (0, max(job.samples - wave.shape[1], 0)))[:, : job.samples]

    # --- for the families -----------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return torch.device(self.pipe._execution_device)

    def on_vae(self, wave: Tensor) -> Tensor:
        """A batch of one, where and as the VAE wants it."""
        return wave[None].to(self.pipe.vae.device, self.pipe.vae.dtype)

    def noise(self, like: Tensor, call: Call) -> Tensor:
        """Seeded standard normal noise, the same on every device."""
        return torch.randn(like.shape, generator=call.generator).to(like)

    def keep(self, latents: Tensor, noise: Tensor, mask: Tensor | None) -> None:
        """Have the latents outside `mask` [samples] set again after every step (see ``after``)."""
        if mask is None:
            return
        frames = latents.shape[self.time_axis]
        painted = adaptive_max_pool1d((mask > 0).float()[None], frames)[0]
        shape = [1] * latents.ndim
        shape[self.time_axis] = frames
        self._kept = latents, noise, (1 - painted).view(shape).to(latents)

    def after(self, step: int, call: Call, latents: Tensor, progress: Progress) -> Tensor:
        """Tell that a step (0 …) is done; the latents, with what is kept at the next step's noise level."""
        progress(min(step + 1, call.steps), call.steps, "Painting")
        if self._kept is None:
            return latents
        clean, noise, kept = self._kept
        return latents * (1 - kept) + self.at_level(clean, noise, step + 1).to(latents) * kept

    def in_place(self, call: Call, progress: Progress) -> Any:
        """A callback(step, timestep, latents) of older pipelines, which keep what they hand out."""

        def tell(step: int, timestep: Any, latents: Tensor) -> None:
            latents.copy_(self.after(step, call, latents, progress))

        return tell

    def step_end(self, call: Call, progress: Progress) -> Any:
        """A callback_on_step_end of newer pipelines."""

        def tell(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            return {"latents": self.after(step, call, values["latents"], progress)}

        return tell

    def begun(self, latents: Tensor, noise: Tensor, level: float) -> Tensor:
        """Where a flow model begins: see `start`."""
        return latents * ((1 - level) if self.start == "interpolated" else 1.0) + noise * level
