"""Models under examination, and the bare codec: codes of kept sounds, and sounds of codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.representations.protocol import Representation
from sonopaint.blend.blending import windowed
from sonopaint.models.blend.file import BlendModel, read_blend
from sonopaint.models.blend.network import WHOLE
from sonopaint.samplers.edm import SIGMA_DATA, EdmSettings, sample_edm
from sonotrain.data.scales.kept import Kept

CODEC = "codec"
Codes = dict[str, Tensor]
_AT_ONCE = 32


@dataclass(frozen=True)
class Coder:
    """name: for tables; model None: the codec itself, whose one code is the latents."""

    name: str
    space: Representation
    samples: int
    model: BlendModel | None = None

    @property
    def levels(self) -> tuple[str, ...]:
        return (CODEC,) if self.model is None else tuple(self.model.network.levels)

    @torch.no_grad()
    def codes(self, data: Kept, numbers: Sequence[int]) -> Codes:
        """[N, C, T] by level: each level's own, before the pyramid's sum."""
        latents, mel = data.latents[list(numbers)].float(), data.mel[list(numbers)]
        if self.model is None:
            return {CODEC: latents}
        frames = -(-latents.shape[-1] // WHOLE) * WHOLE
        more = frames - latents.shape[-1]
        scaled = F.pad(self.model.scaling.scaled(latents, SIGMA_DATA), (0, more), mode="replicate")
        longer = round(mel.shape[-1] * frames / latents.shape[-1]) - mel.shape[-1]
        mel = F.pad(mel, (0, longer))
        parts = [
            self.model.network.codes(mel[at : at + _AT_ONCE], scaled[at : at + _AT_ONCE], frames)
            for at in range(0, len(mel), _AT_ONCE)
        ]
        return {level: torch.cat([part[level] for part in parts]) for level in self.levels}

    @torch.no_grad()
    def sounds(self, codes: Mapping[str, Tensor], seed: int, steps: int) -> list[Clip]:
        """One of each row of codes; row n's noise is that of seed + n."""
        count = len(next(iter(codes.values())))
        if self.model is None:
            return [self.space.decode(one, self.samples) for one in codes[CODEC]]
        conditions = self.model.network.conditions(codes)
        shape = (self.model.network.config["channels"], conditions[-1].shape[-1])
        noise = torch.stack(
            [torch.randn(shape, generator=torch.Generator().manual_seed(seed + n)) for n in range(count)]
        )
        made = sample_edm(windowed(self.model, conditions), noise, EdmSettings(steps=steps))
        latents = self.model.scaling.back(made, SIGMA_DATA)[..., : self.space.shape(self.samples)[-1]]
        return [self.space.decode(one, self.samples) for one in latents]


def load_coders(paths: Sequence[str | Path], data: Kept) -> list[Coder]:
    """A model for each file, named by it, and the codec last."""
    models = [read_blend(path) for path in paths]
    if not models:
        raise SonopaintError("Name a model or more, as sonotrain blend train makes them.")
    if len({model.name for model in models} | {CODEC}) <= len(models):
        raise SonopaintError("Two of the models' files have one name, or one is called codec; rename one.")
    wrong = [model for model in models if model.space != data.settings["space"]]
    if wrong:
        raise SonopaintError(
            f"{wrong[0].name} works on {wrong[0].space}, but the sounds are kept as {data.settings['space']}."
        )
    space = models[0].representation(data.settings["codec"])
    samples = round(data.settings["seconds"] * space.sample_rate)
    found = [Coder(model.name, space, samples, model) for model in models]
    return [*found, Coder(CODEC, space, samples)]
