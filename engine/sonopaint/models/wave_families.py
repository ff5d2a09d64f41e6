"""What models that paint waveforms can: one table, read by painters, lists of models and docs/models.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WaveFamily:
    """What models of one family can. rate: Hz; seconds: the longest that they were trained on.

    inpaint: "native", or "latents": what is kept is set again after every step (RePaint, Lugmayr et al. 2022,
    without its jumps). strength: how a reference is started from. negative: whether negative words are heard.
    steps, guidance: what is used where nobody says. memory_gb: on a card, in half precision, about.
    """

    name: str
    pipeline: str  # diffusers' class, as model_index.json says it
    rate: int
    channels: int
    seconds: float
    inpaint: Literal["native", "latents"]
    strength: str
    negative: bool
    steps: int
    guidance: float
    memory_gb: float
    licence: str


# One row for each; docs/models.md is made from it. Rate, channels and seconds are those of the published
# checkpoints; a loaded model says its own.
FAMILIES = (
    WaveFamily("AudioLDM", "AudioLDMPipeline", 16_000, 1, 10.24, "latents", "partial noise (DDIM)",
               True, 200, 2.5, 3, "CC-BY-NC-SA-4.0"),
    WaveFamily("AudioLDM 2", "AudioLDM2Pipeline", 16_000, 1, 10.24, "latents", "partial noise (DDIM)",
               True, 200, 3.5, 5, "CC-BY-NC-SA-4.0"),
    WaveFamily("Stable Audio Open", "StableAudioPipeline", 44_100, 2, 47.55, "latents",
               "init_noise_level (DPM++ 3M SDE)", True, 100, 7.0, 6, "Stability AI Community"),
    WaveFamily("Stable Audio 3", "StableAudio3Pipeline", 44_100, 2, 384.0, "native",
               "init_noise_level (rectified flow)", False, 8, 1.0, 8, "Stability AI Community"),
    WaveFamily("ACE-Step 1.5", "AceStepPipeline", 48_000, 2, 240.0, "native", "cover, and start (flow)",
               False, 8, 7.0, 9, "MIT"),
    WaveFamily("LongCat-AudioDiT", "LongCatAudioDiTPipeline", 24_000, 1, 30.0, "latents", "start (flow)",
               True, 16, 4.0, 5, "MIT"),
)  # fmt: skip
BY_PIPELINE = {family.pipeline: family for family in FAMILIES}
# The other pipelines of Stable Audio 3 take the same files.
BY_PIPELINE |= {
    name: BY_PIPELINE["StableAudio3Pipeline"]
    for name in ("StableAudio3InpaintPipeline", "StableAudio3AudioToAudioPipeline")
}
