"""Synthesisers whose parameters people can name: differentiable, batched, the same for the same seed."""

from __future__ import annotations

from sonoconvert.errors import SonopaintError
from sonopaint.match.synths.arpeggio import ARPEGGIO, ARPEGGIO_AUTHORS
from sonopaint.match.synths.drum import DRUM
from sonopaint.match.synths.machines import ENGINE, LASER, SIREN, TRAIN_HORN
from sonopaint.match.synths.nature import RAIN, WIND
from sonopaint.match.synths.protocol import Parameter, Synth
from sonopaint.match.synths.struck import BELL, FOOTSTEPS, KICK, SNARE

__all__ = ["CORPUS", "SYNTHS", "Parameter", "Synth", "get_synth"]

_ALL = (BELL, SNARE, KICK, FOOTSTEPS, ENGINE, SIREN, TRAIN_HORN, LASER, WIND, RAIN, DRUM)
CORPUS = tuple(synth.name for synth in _ALL)  # those that one analyser hears together
SYNTHS = {synth.name: synth for synth in (*_ALL, ARPEGGIO, ARPEGGIO_AUTHORS)}


def get_synth(name: str) -> Synth:
    """A synthesiser by name. SonopaintError names those that there are."""
    try:
        return SYNTHS[name]
    except KeyError:
        raise SonopaintError(f"There is no synth {name!r}; use one of {', '.join(SYNTHS)}.") from None
