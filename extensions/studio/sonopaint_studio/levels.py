"""How loud what Generate made is handed over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip

FULL, PAINTED, LOUDNESS = "full", "painted", "loudness"
CHOICES = [
    ("Full: peaks at −1 dBFS", FULL),
    ("As painted: soft stays soft", PAINTED),
    ("A loudness", LOUDNESS),
]
LUFS = (-50.0, -8.0, -23.0)  # from, to, and what broadcasters want (EBU R 128)


def levelled(clip: Clip, settings: dict[str, Any], level: str, lufs: float) -> Clip:
    """A result of Generate (peak −1 dBFS) with one gain for all of it; never louder than it came."""
    from sonoconvert.edits.loudness import at_loudness

    if level == LOUDNESS:
        return at_loudness(clip, lufs)
    gain_db = min(-float(settings.get("gain_db", 0.0)), 0.0) if level == PAINTED else 0.0
    return replace(clip, waveform=clip.waveform * 10 ** (gain_db / 20)) if gain_db else clip
