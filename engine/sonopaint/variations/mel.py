"""Variations by a model that paints spectrograms: Mini, SD 1.5, Riffusion, with LoRAs; also in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonopaint.painters.protocol import Painter
from sonopaint.tasks.editing import vary
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import as_painter
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip
    from sonopaint.models.model import Model


class MelVariator:
    """Image-to-image on the reference's spectrogram: noised by `ask.strength`, painted back to its words.

    settings: steps, guidance, sampler, negative prompt … (prompt, strength and seed are the ask's).
    """

    def __init__(
        self, model: Model | Painter, settings: PaintSettings | None = None, name: str = "mini"
    ) -> None:
        self.painter, self.settings, self.name = as_painter(model), settings or PaintSettings(), name

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        for index, seed in enumerate(seeds):
            wanted = replace(self.settings, prompt=ask.prompt, strength=ask.strength, seed=seed)
            (result,) = vary(self.painter, reference, wanted, progress=Part(progress, index, len(seeds)))
            yield Candidate(result.clip, seed, None, result.settings)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, **self.painter.describe()}
