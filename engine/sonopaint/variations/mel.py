"""Variations that start from the reference, by any model of this pack, or from what is known of it only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.nn.functional import pad

from sonopaint.painters.protocol import Painter, SeedsPainter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks.editing import vary
from sonopaint.tasks.following import exactly
from sonopaint.tasks.generation import generate
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import as_painter
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonoconvert.edits.canvas import Canvas
    from sonoconvert.files.clip import Clip
    from sonoconvert.pictures.picture import Picture
    from sonopaint.models.model import Model

LEAST_COLUMNS = (
    128  # of a spectrogram: on narrower ones models paint something else (Mini: lasers as cymbals)
)
SHORTEST_S = 1.0  # of what is painted from words
FIRMEST = 10.0  # guidance of the envelope back-end at strength 1: the document's scale for T-Foley


def painter_of(model: Model | Painter | WavePainter) -> Painter | WavePainter:
    """The painter itself, or the one around a model of spectrograms."""
    return model if isinstance(model, WavePainter) else as_painter(model)


class InBlocks:
    """A painter that paints neighbouring seeds together, which is quicker, and hands them out one by one.

    Which seeds are neighbours hangs on their numbers alone: a seed gives the same pixels whichever is asked
    for first.
    """

    def __init__(self, painter: SeedsPainter) -> None:
        self.painter, self.format = painter, painter.format
        self.resolve, self.describe = painter.resolve, painter.describe
        self.paint_between = painter.paint_between
        self.lead, self.knowledge = (getattr(painter, name, None) for name in ("lead", "knowledge"))
        self._of: tuple[Canvas, PaintSettings] | None = (
            None  # what was painted last, by the block's first seed
        )
        self._pictures: list[Picture] = []

    def paint(
        self, canvas: Canvas, prompt: str, settings: PaintSettings, progress: Progress | None = None
    ) -> Picture:
        """See Painter."""
        size = self.painter.together(canvas)
        place = settings.seed % size
        first = replace(settings, prompt=prompt, seed=settings.seed - place)
        if self._of is None or self._of[1] != first or not _same(self._of[0], canvas):
            seeds = range(first.seed, first.seed + size)
            self._pictures = self.painter.paint_seeds(canvas, prompt, first, seeds, progress)
            self._of = canvas, first
        return self._pictures[place]


def _same(one: Canvas, other: Canvas) -> bool:
    return np.array_equal(one.picture.pixels, other.picture.pixels) and np.array_equal(one.mask, other.mask)


class MelVariator:
    """From the reference: noised by `ask.strength`, painted back to its words.

    On spectrograms that is image-to-image; a model of waveforms starts as its family does (docs/models.md).
    settings: steps, guidance, sampler, negative prompt … (prompt, strength and seed are the ask's).
    curves: what each is to follow, in seconds of the reference. The painter follows them while it paints if
    it has `following`; exact: each is brought to them then.
    """

    def __init__(
        self,
        model: Model | Painter | WavePainter,
        settings: PaintSettings | None = None,
        name: str = "mini",
        *,
        curves: Curves | None = None,
        exact: bool = True,
    ) -> None:
        self.curves, self.exact = curves, exact
        painter = painter_of(model)
        if isinstance(painter, SeedsPainter):
            painter = InBlocks(painter)
        self.painter, self.settings, self.name = painter, settings or PaintSettings(), name

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        source, first = self._roomy(reference)
        curves = self._follow(first / reference.sample_rate, source.duration_s)
        for index, seed in enumerate(seeds):
            wanted = replace(self.settings, prompt=ask.prompt, strength=ask.strength, seed=seed)
            (result,) = vary(self.painter, source, wanted, progress=Part(progress, index, len(seeds)))
            if curves is not None and self.exact:
                result = exactly(result, curves)
            wave = result.clip.waveform[:, first : first + reference.num_samples]
            yield Candidate(replace(result.clip, waveform=wave), seed, None, result.settings)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, **self.painter.describe()}

    def _follow(self, begins_s: float, seconds: float) -> Curves | None:
        """The curves in seconds of what is painted, which the reference begins so late in."""
        if self.curves is None:
            return None
        curves = self.curves.part(-begins_s, seconds)
        painter = self.painter.painter if isinstance(self.painter, InBlocks) else self.painter
        if (now := getattr(painter, "following", None)) is not None:
            painter.following = replace(now, curves=curves)  # type: ignore[union-attr]
        return curves

    def _roomy(self, reference: Clip) -> tuple[Clip, int]:
        """(the reference with silence around it where it is too short for the model, where it begins)."""
        if isinstance(self.painter, WavePainter):
            return reference, 0
        fmt, rate = self.painter.format, reference.sample_rate
        column = fmt.hop_length / fmt.sample_rate * rate
        missing = round(LEAST_COLUMNS * column) - reference.num_samples
        if missing <= 0:
            return reference, 0
        before = min(round((getattr(self.painter, "lead", None) or 0) * column), missing)
        wave = pad(reference.waveform, (before, missing - before))
        return replace(reference, waveform=wave, exact=None), before


class EnvelopeVariator:
    """From words and the reference's loudness curve alone, as the documents use T-Foley (§ 3.4.2).

    The model follows the curve while it paints if an adapter lies beside it (docs/curves.md); exact: each is
    brought to it then. How firmly words and curve hold is the ask's strength: FIRMEST guidance at 1.
    """

    name = "envelope"

    def __init__(
        self, model: Model | Painter, settings: PaintSettings | None = None, *, exact: bool = True
    ) -> None:
        self.model, self.settings, self.exact = model, settings or PaintSettings(), exact

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        painter, curves = self._painter(reference)
        seconds = max(reference.duration_s, SHORTEST_S)
        wanted = replace(self.settings, prompt=ask.prompt, guidance_scale=FIRMEST * ask.strength)
        for index, seed in enumerate(seeds):
            tell = Part(progress, index, len(seeds))
            (result,) = generate(painter, replace(wanted, seed=seed), seconds=seconds, progress=tell)
            if self.exact:
                result = exactly(result, curves)
            yield Candidate(result.clip, seed, None, result.settings)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, **as_painter(self.model).describe()}

    def _painter(self, reference: Clip) -> tuple[Painter, Curves]:
        """(what paints so that it follows the reference's loudness, if it can; the loudness)."""
        from sonoconvert.curves.measure import measure
        from sonopaint.models.model import Model
        from sonopaint.painters.diffusers_painter import DiffusersPainter
        from sonopaint.painters.following import adapter_file, following

        curves = measure(reference, ("loudness",))
        if isinstance(self.model, Model) and adapter_file(self.model).is_file():
            return DiffusersPainter(self.model, following(self.model, curves)), curves
        return as_painter(self.model), curves


class SubjectVariator:
    """From words alone, in as few steps as the model takes: a subject's one step (its prompt names it).

    The reference gives length, loudness and what is kept; strength is not used.
    """

    def __init__(
        self, model: Model | Painter, settings: PaintSettings | None = None, name: str = "one-step"
    ) -> None:
        self.painter, self.settings, self.name = as_painter(model), settings or PaintSettings(), name

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        seconds = max(reference.duration_s, SHORTEST_S)
        for index, seed in enumerate(seeds):
            wanted = replace(self.settings, prompt=ask.prompt, seed=seed)
            tell = Part(progress, index, len(seeds))
            (result,) = generate(self.painter, wanted, seconds=seconds, progress=tell)
            yield Candidate(result.clip, seed, None, result.settings)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, **self.painter.describe()}
