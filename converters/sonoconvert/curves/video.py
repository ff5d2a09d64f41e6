"""Curves from moving pictures: how much moves, and when it begins to; and sound put under a video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from sonoconvert.curves.curves import RATE_HZ, Curves
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip

LONGEST_S = 300.0
_SIDE = 96  # pixels of the small grey pictures that are compared
_STILL = 0.2  # grey steps of 255 that noise and compression change
QUIETEST_DB = -60.0


def video_curves(path: str | os.PathLike[str], rate: float = RATE_HZ) -> Curves:
    """loudness and onsets that follow the motion in a video: the mean change from one picture to the next.

    The most motion is 0 dB. At most five minutes are read (a note says so). Raises SonopaintError where
    there is no video, or no motion in it.
    """
    times, motion = _motion(Path(path))
    notes = []
    if times[-1] >= LONGEST_S:
        notes.append(f"The video is longer than {LONGEST_S:g} s; the rest is left out.")
    if motion.max() <= _STILL:
        raise SonopaintError(f"Nothing moves in {path}; choose another video, or draw the curve.")
    frames = max(2, round(times[-1] * rate))
    grid = np.arange(frames) / rate
    energy = np.interp(grid, times, motion) / motion.max()
    loudness = np.maximum(20 * np.log10(np.maximum(energy, 1e-6)), QUIETEST_DB)
    return Curves(rate, {"loudness": loudness, "onsets": _begins(energy, rate)}, tuple(notes))


def _begins(energy: np.ndarray, rate: float) -> np.ndarray:
    """1 where the motion rises to a local maximum of its increase, at most ten times a second."""
    rise = np.maximum(np.diff(energy, prepend=energy[0]), 0)
    width = max(1, round(0.1 * rate))
    padded = np.pad(rise, width)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1).max(1)
    marks = (rise >= highest) & (rise > 0.15 * rise.max())
    found = np.zeros(len(energy), np.float32)
    last = -width
    for place in np.flatnonzero(marks).tolist():
        if place - last >= width:
            found[place] = 1.0
            last = place
    return found


def has_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file has moving pictures (False without PyAV; cover art is none)."""
    try:
        with _opened(Path(path)) as container:
            return any(not _is_cover(stream) for stream in container.streams.video)
    except SonopaintError:
        return False


def put_under(
    video: str | os.PathLike[str], clip: Clip, path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write the video with `clip` in place of its sound (AAC), its pictures as they are. Needs PyAV."""
    av, path = _av(), Path(path)
    if path.suffix.lower() not in (".mp4", ".mov", ".mkv"):
        raise SonopaintError(f"{path.name}: videos are written as .mp4, .mov or .mkv.")
    rate = 48_000
    wave = clip.resampled(rate).waveform.clamp(-1, 1).numpy()[:2]
    kind = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}[path.suffix.lower()]
    try:
        with (
            atomic_path(path, force=force) as part,
            _opened(Path(video)) as source,
            av.open(str(part), "w", format=kind) as target,
        ):
            pictures = target.add_stream_from_template(source.streams.video[0])
            sound = target.add_stream("aac", rate=rate, layout="mono" if len(wave) == 1 else "stereo")
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = pictures
                    target.mux(packet)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(wave, np.float32), format="fltp", layout=sound.layout.name
            )
            frame.sample_rate, frame.pts = rate, 0
            fifo = av.AudioFifo()
            fifo.write(frame)
            while piece := fifo.read(1024, partial=True):
                target.mux(sound.encode(piece))
            target.mux(sound.encode(None))
    except (av.error.FFmpegError, IndexError) as error:
        raise SonopaintError(f"The sound can't be put under {video} ({error}); give an MP4.") from error


def _av() -> Any:
    try:
        import av
    except (ImportError, OSError) as error:
        raise SonopaintError("Videos are read through PyAV; install it with: pip install av") from error
    return av


def _opened(path: Path) -> Any:
    av = _av()
    try:
        return av.open(
            str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise SonopaintError(f"{path} is no video that can be read ({error}).") from error


def _is_cover(stream: Any) -> bool:
    return bool(int(stream.disposition) & 0x400)  # attached picture


def _motion(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times [N] in seconds, and the mean change of grey since the picture before [N]."""
    av = _av()
    times: list[float] = []
    motion: list[float] = []
    before = None
    with _opened(path) as container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            raise SonopaintError(f"{path} has no moving pictures; give a video.")
        try:
            for frame in container.decode(streams[0]):
                now = float(frame.time or 0.0)
                if times and now <= times[-1]:
                    continue
                grey = (
                    frame.reformat(width=_SIDE, height=_SIDE, format="gray").to_ndarray().astype(np.float32)
                )
                motion.append(0.0 if before is None else float(np.abs(grey - before).mean()))
                times.append(now)
                before = grey
                if now >= LONGEST_S:
                    break
        except av.error.FFmpegError as error:  # what came before the damage is used
            if len(times) < 2:
                raise SonopaintError(f"{path} is no video that can be read ({error}).") from error
    if len(times) < 2:
        raise SonopaintError(f"{path} holds a single picture; give a video.")
    return np.array(times) - times[0], np.array(motion)
