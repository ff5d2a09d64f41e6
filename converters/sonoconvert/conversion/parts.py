"""Hours of sound as many pictures that belong together, and back, in bounded memory.

The parts are cut from one long spectrogram: column k of the whole is centred on sample k·hop wherever the
cuts are, so that they make no seam. Each part has its own peak (and thus its full range of greys); an index
beside them ("NAME.parts.json") says which parts there are, and their formats and peaks once more, so that
parts which a host wrote back without metadata are still understood.
"""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonoconvert.conversion import INDEX_SUFFIX
from sonoconvert.conversion.convert import mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import refuse_existing, write_text
from sonoconvert.files.clip import iter_clips, sound_header
from sonoconvert.files.writing import sound_writer
from sonoconvert.phase.search import PhaseSearch, reconstruct_blocks
from sonoconvert.pictures import mid_side
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.picture import MAX_PIXELS, Picture, load_picture, save_picture
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude, to_levels
from sonoconvert.progress import Progress

_READ_S = 10.0  # read and resampled at once
_BLOCK_COLUMNS = 1024  # decoded at once
_MAX_INDEX_BYTES = 1 << 26


@dataclass(frozen=True)
class Index:
    """What an index file says.

    Attributes:
        path: of the index; the parts lie beside it.
        num_samples: of the whole, at the format's rate.
        columns: of the whole.
        files, starts, peaks: of each part, in order: name, first column, magnitude of level 1.
    """

    path: Path
    format: SpectrogramFormat
    num_samples: int
    settings: dict[str, Any]
    files: list[str]
    starts: list[int]
    peaks: list[float | list[float] | None]

    @property
    def columns(self) -> int:
        return self.format.frames(self.num_samples)

    def picture(self, number: int) -> Picture:
        """Read one part (from 0).

        Raises:
            SonopaintError: it is missing, scaled beyond repair, or of another size or format.
        """
        name = self.path.with_name(self.files[number])
        picture = load_picture(name, format=self.format)
        stop = self.starts[number + 1] if number + 1 < len(self.starts) else self.columns
        if picture.format != self.format or picture.columns != stop - self.starts[number]:
            raise SonopaintError(
                f"{name} is {picture.columns} columns of {picture.format.name}, but its index wants "
                f"{stop - self.starts[number]} of {self.format.name}; use the part that belongs there."
            )
        return picture if picture.peak is not None else replace(picture, peak=self.peaks[number])


def encode_parts(
    source: str | os.PathLike[str],
    target: Path,
    format: str | SpectrogramFormat,
    part_s: float,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    depth: int = 8,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw a sound of any length as parts of `part_s` seconds, reading it once from beginning to end.

    Args:
        target: "folder/name.png" makes folder/name-0001.png … and folder/name.parts.json.
        depth: bits of the pictures, 8 or 16.

    Returns:
        The parts and, last, the index; it is written last, so that it stands for a finished job.

    Raises:
        SonopaintError: unreadable source, a part length that makes no picture, existing files without
            `force`.
    """
    fmt = get_format(format)
    width = fmt.columns(part_s)
    if width < 1 or width * fmt.rows > MAX_PIXELS:
        raise SonopaintError(
            f"Parts of {part_s:g} s would be {width} columns wide; choose from {fmt.seconds(1):.3f} s to "
            f"{fmt.seconds(MAX_PIXELS // fmt.rows) / 60:.0f} minutes."
        )
    index = target.with_name(target.stem + INDEX_SUFFIX)
    refuse_existing(index, force=force)
    header = sound_header(source)
    told = {"files": [], "first_columns": [], "peaks": []}  # type: dict[str, list[Any]]
    written: list[Path] = []
    total = 0
    expected = max((duration_s or header.frames / header.sample_rate - start_s) * fmt.sample_rate, 1)
    for first, mel, samples in _mel_parts(_samples(source, fmt, start_s, duration_s), fmt, width):
        peak = float(mel.max())
        levels, _ = to_levels(mel, fmt, peak)
        part = target.with_name(f"{target.stem}-{len(written) + 1:04d}.png")
        about = {**header.settings, "part": {"of": index.name, "first_column": first}}
        save_picture(Picture.from_levels(levels, fmt, peak, samples, about, depth=depth), part, force=force)
        written.append(part)
        told["files"].append(part.name)
        told["first_columns"].append(first)
        told["peaks"].append(peak)
        total = first * fmt.hop_length + samples
        if progress is not None:
            progress(min(total / expected, 1.0))
    content = {
        "sonopaint.parts": 1,
        "format": fmt.to_dict(),
        "num_samples": total,
        "source": Path(source).name,
        "settings": header.settings,
        **told,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_text(index, text, force=force)
    return [*written, index]


def decode_parts(
    index: str | os.PathLike[str] | Index,
    target: str | os.PathLike[str],
    search: PhaseSearch | None = None,
    *,
    subtype: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Turn all parts of an index into one sound file; each block continues the phase of the one before it.

    Args:
        search: as for `convert.decode`.
        subtype: as for `clip.write_clip`.

    Raises:
        SonopaintError: a part is missing or of another size, or an existing file without `force`.
    """
    whole = index if isinstance(index, Index) else read_index(index)
    fmt = whole.format
    reader = _Reader(whole)
    # All parts are looked at before hours of work.
    for name in whole.files:
        if not whole.path.with_name(name).is_file():
            raise SonopaintError(f"The part {whole.path.with_name(name)} of {whole.path.name} is missing.")
    blocks = reconstruct_blocks(
        reader.mel,
        whole.columns,
        fmt,
        search,
        length=whole.num_samples,
        block_columns=_BLOCK_COLUMNS,
        progress=progress,
    )
    if fmt.channels == "mid-side":
        blocks = _left_and_right(blocks, reader, fmt)
    with sound_writer(
        target,
        fmt.sample_rate,
        fmt.num_channels,
        whole.num_samples,
        subtype=subtype,
        settings=whole.settings,
        force=force,
    ) as write:
        for block in blocks:
            write(block)


class _Reader:
    """The mel magnitudes of an index's parts, by columns; keeps the parts that it read last."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.kept: dict[int, torch.Tensor] = {}

    def drawn(self, start: int, stop: int) -> torch.Tensor:
        """[planes, n_mels, stop − start]."""
        starts = [*self.index.starts, self.index.columns]
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, stop) - 1
        self.kept = {number: mel for number, mel in self.kept.items() if first <= number}
        for number in range(first, last + 1):
            if number not in self.kept:
                picture = self.index.picture(number)
                peaks = picture.peak if isinstance(picture.peak, list) else [picture.peak]
                known = torch.tensor([1.0 if peak is None else peak for peak in peaks])
                self.kept[number] = from_levels(picture.levels(), picture.format, known)
        parts = [self.kept[number] for number in range(first, last + 1)]
        return torch.cat(parts, dim=-1)[..., start - starts[first] : stop - starts[first]]

    def mel(self, start: int, stop: int) -> torch.Tensor:
        """[channels, n_mels, stop − start] as `reconstruct` wants them."""
        drawn = self.drawn(start, stop)
        return mid_side.middle_and_side(drawn) if self.index.format.channels == "mid-side" else drawn


def _left_and_right(
    blocks: Iterator[torch.Tensor], reader: _Reader, fmt: SpectrogramFormat
) -> Iterator[torch.Tensor]:
    """`mid_side.left_and_right` by and by: a sample depends on the columns within two windows of it."""
    hop = fmt.hop_length
    context = 2 * math.ceil(fmt.win_length / hop)
    held, begin, written = torch.zeros(2, 0), 0, 0  # samples from column `begin` on

    def joined(stop: int) -> torch.Tensor:
        drawn = reader.drawn(begin, min(begin + fmt.frames(held.shape[1]), reader.index.columns))
        return mid_side.left_and_right(held, drawn, fmt)[:, written - begin * hop : stop - begin * hop]

    for block in blocks:
        held = torch.cat([held, block], dim=1)
        ready = begin + held.shape[1] // hop - context
        if ready * hop > written and ready - begin >= 4 * context:
            yield joined(ready * hop)
            written = ready * hop
            keep = max(ready - context, begin)
            held, begin = held[:, (keep - begin) * hop :], keep
    yield joined(begin * hop + held.shape[1])


def read_index(path: str | os.PathLike[str]) -> Index:
    """Read an index file.

    Raises:
        SonopaintError: missing, damaged, or its parts don't follow each other.
    """
    source = Path(path)
    try:
        if source.stat().st_size > _MAX_INDEX_BYTES:
            raise SonopaintError(f"{source} is too large to be an index of parts.")
        content = json.loads(source.read_text(encoding="utf-8-sig"))
        fmt = get_format(content["format"])
        files, starts, peaks = (content[key] for key in ("files", "first_columns", "peaks"))
        samples, settings = content["num_samples"], content.get("settings", {})
    except OSError as error:
        raise SonopaintError(f"{source} can't be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(f"{source} is not an index of parts, or is damaged ({error!r}).") from error
    whole = all(isinstance(value, list) for value in (files, starts, peaks)) and isinstance(settings, dict)
    sound = (
        whole
        and 0 < len(files) == len(starts) == len(peaks)
        and all(isinstance(name, str) and Path(name).name == name for name in files)
        and all(type(start) is int for start in [*starts, samples])
        and starts[0] == 0
        and all(one < other for one, other in zip(starts, starts[1:], strict=False))
        and samples > 0
        and starts[-1] < fmt.frames(samples)
    )
    if not sound:
        raise SonopaintError(
            f"{source} is a damaged index: its parts don't follow each other; make it again."
        )
    return Index(source, fmt, samples, settings, files, starts, peaks)


def _samples(
    source: str | os.PathLike[str], fmt: SpectrogramFormat, start_s: float, duration_s: float | None
) -> Iterator[torch.Tensor]:
    """The sound at the format's rate and channels, [channels, n] by and by; what `encode` would see."""
    import soxr

    made = read = 0
    rate, stream = fmt.sample_rate, None
    for clip in iter_clips(source, _READ_S, start_s=start_s, duration_s=duration_s):
        rate = clip.sample_rate
        mixed = mix_to(clip, fmt.num_channels).waveform
        read += mixed.shape[1]
        if rate != fmt.sample_rate:
            if stream is None:
                stream = soxr.ResampleStream(rate, fmt.sample_rate, fmt.num_channels, "float32", quality="HQ")
            mixed = _resampled(stream, mixed.numpy())
        made += mixed.shape[1]
        yield mixed
    if stream is not None:
        rest = _resampled(stream, np.zeros((fmt.num_channels, 0), np.float32), last=True)
        wanted = max(round(read * fmt.sample_rate / rate) - made, 0)
        yield torch.nn.functional.pad(rest[:, :wanted], (0, max(wanted - rest.shape[1], 0)))


def _resampled(stream: Any, samples: np.ndarray, *, last: bool = False) -> torch.Tensor:
    frames = np.ascontiguousarray(samples.T)
    # One channel is a plain array there.
    result = stream.resample_chunk(frames[:, 0] if frames.shape[1] == 1 else frames, last=last)
    return torch.from_numpy(np.ascontiguousarray(np.atleast_2d(result.T), dtype=np.float32))


def _mel_parts(
    blocks: Iterator[torch.Tensor], fmt: SpectrogramFormat, width: int
) -> Iterator[tuple[int, torch.Tensor, int]]:
    """(first column, mel magnitudes [planes, n_mels, columns], samples) of parts of `width` columns."""
    hop = fmt.hop_length
    context = math.ceil(fmt.win_length / 2 / hop)  # columns whose windows reach over a cut
    held, begin, first = torch.zeros(0), 0, 0  # samples from column `begin` on
    collected: list[torch.Tensor] = []
    count = 0

    def part(stop: int) -> torch.Tensor:
        drawn = mid_side.planes(held) if fmt.channels == "mid-side" else held
        return mel_magnitude(drawn, fmt)[..., first - begin : stop - begin]

    for block in blocks:
        collected.append(block)
        count += block.shape[1]
        while begin * hop + count >= (first + width + context) * hop:
            held = torch.cat(collected, dim=1)
            after = (first + width + context - begin) * hop
            rest, held = held, held[:, :after]
            yield first, part(first + width), width * hop
            first += width
            keep = max(first - context, 0)
            collected, begin = [rest[:, (keep - begin) * hop :]], keep
            count = collected[0].shape[1]
    held = torch.cat(collected, dim=1)
    end = begin * hop + held.shape[1]
    while first < fmt.frames(end):
        stop = min(first + width, fmt.frames(end))
        yield first, part(stop), min(end - first * hop, (stop - first) * hop)
        first = stop
