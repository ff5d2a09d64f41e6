"""What is healed all over a clip: its clipped peaks, and the band that it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.progress import Progress, silent
from sonopaint.heal.bridging import raised
from sonopaint.heal.declip import ceiling_of, declipped
from sonopaint.heal.heal import Healed, HealSettings
from sonopaint.models.bridge import load

LOWEST_HZ = 500.0
RAISED_RATE = 32_000  # of clips that have no room above their cut-off
ROOM = 1.25  # times the cut-off, that half the rate must be


def declip(clip: Clip, *, progress: Progress | None = None) -> Healed:
    """The clip with its clipped peaks rounded; every other sample is its own.

    Peaks may then exceed full scale. Raises SonopaintError where nothing is clipped.
    """
    tell, rows, notes, count = progress or silent, [], [], 0
    for channel, row in enumerate(clip.waveform):
        own = row.numpy()
        ceiling = ceiling_of(own)
        if ceiling is not None:
            count += int((np.abs(own) >= ceiling).sum())

            def tick(share: float, channel: int = channel) -> None:
                tell((channel + share) / clip.num_channels)

            mended = declipped(own, ceiling, tick=tick).astype(np.float32)
            row = torch.from_numpy(np.where(np.abs(own) >= ceiling, mended, own))
        rows.append(row)
    tell(1.0)
    if not count:
        raise SonopaintError("Nothing is clipped: no level is held at several peaks.")
    waveform = torch.stack(rows)
    notes.append(f"{count} clipped samples are new.")
    healed = replace(clip, waveform=waveform)
    if float(waveform.abs().max()) > 1.0:
        healed = replace(healed, subtype="FLOAT", exact=None)
        over = 20 * np.log10(float(waveform.abs().max()))
        notes.append(f"Peaks are now {over:.1f} dB above full scale; a WAV holds them as 32-bit floats.")
    return Healed(healed, (), tuple(notes))


def extend_band(
    clip: Clip, cutoff_hz: float, settings: HealSettings | None = None, *, progress: Progress | None = None
) -> Healed:
    """The clip with new sound above `cutoff_hz`: by the bridge, or copied up where it is not there.

    A clip whose rate has no room above the cut-off is brought to RAISED_RATE first. What is below the cut-off
    is the clip's own, but for rounding. Raises SonopaintError for a cut-off that can't be.
    """
    settings, tell = settings or HealSettings(), progress or silent
    notes: list[str] = []
    if not LOWEST_HZ <= cutoff_hz <= 0.9 * max(clip.sample_rate, RAISED_RATE) / 2:
        raise SonopaintError(
            f"{setting('bandwidth')} must be {LOWEST_HZ:g} to "
            f"{0.45 * max(clip.sample_rate, RAISED_RATE):g} Hz here, not {cutoff_hz:g} Hz."
        )
    if clip.sample_rate / 2 < ROOM * cutoff_hz:
        notes.append(
            f"{clip.sample_rate} Hz leave no room above {cutoff_hz:g} Hz: the result has {RAISED_RATE} Hz."
        )
        clip = clip.resampled(RAISED_RATE)
    bridge = load() if settings.method in ("auto", "bridge") else None
    rows = []
    for channel, row in enumerate(clip.waveform.numpy()):
        tell(channel / clip.num_channels)
        made = raised(
            bridge,
            row.astype(np.float64),
            cutoff_hz,
            clip.sample_rate,
            seed=settings.seed,
            steps=settings.steps,
            tick=lambda channel=channel: tell(channel / clip.num_channels),  # type: ignore[misc]
        )
        rows.append(torch.from_numpy(made.astype(np.float32)))
    tell(1.0)
    waveform = torch.stack(rows).clamp(-1.0, 1.0)
    return Healed(replace(clip, waveform=waveform, exact=None), (), tuple(notes))


def fitted(clip: Clip, suffix: str) -> tuple[Clip, list[str]]:
    """The clip turned down where its peaks exceed full scale and a file of this suffix can't hold that."""
    peak = float(clip.waveform.abs().max())
    if peak <= 1.0 or suffix.lower() == ".wav":
        return clip, []
    said = (
        f"All of it is {20 * np.log10(peak):.1f} dB quieter, so that the new peaks fit into a {suffix} file."
    )
    return replace(clip, waveform=clip.waveform / peak, exact=None, subtype=None), [said]
