"""Foley corpus: procedural, captioned sound effects, made from a seed and free of rights."""

from .corpus import FoleyBatch, batch, synthesise
from .draw import DURATION_S, NUM_SAMPLES, SAMPLE_RATE
from .kinds import BASE_KINDS, HELD_OUT, KINDS, Kind
from .sung import sung

__all__ = [
    "BASE_KINDS",
    "DURATION_S",
    "HELD_OUT",
    "KINDS",
    "NUM_SAMPLES",
    "SAMPLE_RATE",
    "FoleyBatch",
    "Kind",
    "batch",
    "sung",
    "synthesise",
]
