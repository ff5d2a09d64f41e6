"""The foley corpus on disk: shards of 8-bit mel levels beside JSON lines with what they hold."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.pace import Pace
from sonotrain.files.processes import several
from sonotrain.files.tensors import keep, rows_in

logger = logging.getLogger(__name__)

FORMAT = "sonopaint-mini"
SHARD_CLIPS = 500
MIXED = (("single", 0.5), ("parallel", 0.3), ("sequence", 0.2))
ALL_KINDS = {
    "singles": (("single", 1.0),),
    "pairs": (("parallel", 0.5), ("sequence", 0.5)),
}  # for classifiers
BATCH_CLIPS = 50  # clips synthesised at once: bounds the memory to about 200 MB a worker


@dataclass(frozen=True)
class Record:
    """What one clip is: its phrasings (the first is its caption), kinds in order, relation, attributes."""

    phrasings: list[str]
    kinds: list[str]
    relation: str
    attributes: list[str]


class Corpus:
    """All finished shards of a corpus folder in memory.

    `levels`: uint8 [N, 128, 320], row 0 = lowest frequency, 255 = 0 dB; `records`: N Records. A corpus of
    scenes has beside them `before`, the pictures before the box was painted, and `boxes`, int64 [N, 4]: first
    and last (exclusive) row, lowest first, and column of the box in cells of latents, 8 × 8 pixels.
    `limit` takes the first clips only; raises SonopaintError where there are none or fewer than `limit`.
    """

    def __init__(self, folder: str | Path, limit: int | None = None) -> None:
        self.folder = Path(folder)
        shards: list[dict[str, Tensor]] = []
        records: list[Record] = []
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if limit is not None and len(records) >= limit:
                break
            shards.append(_read_shard(path))
            records += _read_records(path.with_suffix(".jsonl"))
        if not records:
            raise SonopaintError(f'{self.folder} holds no corpus; make one with "sonotrain base corpus".')
        if limit is not None and len(records) < limit:
            raise SonopaintError(f"{self.folder} holds {len(records)} clips where {limit} are needed.")
        self.levels = torch.cat([shard["levels"] for shard in shards])[:limit]
        self.before = self.boxes = None
        if all("boxes" in shard for shard in shards):
            self.before = torch.cat([shard["before"] for shard in shards])[:limit]
            self.boxes = torch.cat([shard["boxes"] for shard in shards])[:limit].long()
        self.records = records[:limit]
        if len(self.levels) != len(self.records):
            raise SonopaintError(f"{self.folder} is damaged: captions and pictures differ in number.")

    def __len__(self) -> int:
        return len(self.records)

    def kinds(self) -> list[str]:
        """All kinds that occur, sorted."""
        return sorted({kind for record in self.records for kind in record.kinds})

    def attributes(self) -> list[str]:
        """All attributes that occur, sorted."""
        return sorted({name for record in self.records for name in record.attributes})


def to_pixels(levels: Tensor) -> Tensor:
    """uint8 levels [B, H, W] (row 0 = lowest) → the model's pictures [B, 3, H, W] in [−1, 1], top = high."""
    picture = levels.flip(-2).float().div_(127.5).sub_(1.0)
    return picture[:, None].repeat(1, 3, 1, 1)


def to_levels(pixels: Tensor) -> Tensor:
    """The model's pictures [B, 3, H, W] → levels, float [B, H, W] in 0 … 1, row 0 = lowest."""
    return pixels.float().mean(1).flip(-2).add(1.0).mul(0.5).clamp(0.0, 1.0)


def quantise(levels: Tensor) -> Tensor:
    """Levels 0 … 1 → uint8."""
    return (levels * 255.0).round().clamp(0, 255).to(torch.uint8)


def write_shard(folder: Path, index: int, tensors: dict[str, Tensor], records: Sequence[Record]) -> None:
    """Writes one shard; the picture file comes last, so a shard that exists is whole."""
    path = shard_path(folder, index)
    lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    write_text(path.with_suffix(".jsonl"), lines, force=True)
    keep(path, tensors, {"format": FORMAT})


def shard_path(folder: Path, index: int) -> Path:
    """Where a shard lies, or is to lie."""
    return folder / f"shard-{index:05d}.safetensors"


def synthesise(
    count: int, seed: int, content: str = "base", device: str = "cpu"
) -> tuple[dict[str, Tensor], list[Record]]:
    """`count` clips of the foley corpus: "levels" uint8 [count, 128, 320], and Records.

    `content` "base": what the base model learns; "mixed": the same with more captions of two sounds, and
    what is far away is quieter; "singles": single events of all kinds, held-out ones too; "pairs": two of
    them, as often at once as in turn; "scenes": clips before and after a box was painted (see Corpus);
    "sung": "mixed", but half of the clips are kinds that are held and bent like a hum.
    """
    if content == "scenes":
        return _synthesise_scenes(count, seed)
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import levels

    clips = sounds(count, seed, content, device)
    pictures = quantise(levels(clips.waveforms, get_format(FORMAT))).cpu()
    return {"levels": pictures}, _records(clips)


def sounds(count: int, seed: int, content: str = "base", device: str = "cpu") -> Any:
    """The FoleyBatch that `synthesise` draws, but for scenes: waveforms [count, 163840] at 32 kHz."""
    from sonotrain.data import foley

    # foley.batch deals its kinds out in turn, so a batch smaller than their number would miss the last ones
    if content == "sung":
        return foley.sung(count // 2, seed).and_then(sounds(count - count // 2, seed, "mixed", device))
    kinds = list(foley.KINDS if content in ALL_KINDS else foley.BASE_KINDS)
    random.Random(seed).shuffle(kinds)
    if content in ALL_KINDS:
        clips = foley.batch(count, seed, kinds, relations=ALL_KINDS[content], device=device)
    elif content == "mixed":
        clips = foley.batch(count, seed, kinds, relations=MIXED, device=device)
        far = torch.tensor([-12.0 if "distant" in names else 0.0 for names in clips.attributes])
        clips.waveforms.mul_((10 ** (far / 20))[:, None].to(clips.waveforms.device))
    else:
        clips = foley.batch(count, seed, kinds, device=device)
    return clips


def _records(clips: Any) -> list[Record]:
    columns = zip(clips.phrasings, clips.kinds, clips.relation, clips.attributes, strict=True)
    return [Record(list(p), list(k), r, list(a)) for p, k, r, a in columns]


def _synthesise_scenes(count: int, seed: int) -> tuple[dict[str, Tensor], list[Record]]:
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import levels
    from sonotrain.data.foley.scenes import ROWS, band_of, scenes

    fmt = get_format(FORMAT)
    made = scenes(count, seed)
    before, after = levels(made.before, fmt), levels(made.after, fmt)
    alone = levels(made.events.waveforms, fmt)
    rng = random.Random(seed)
    boxes = []
    for i, (first, last) in enumerate(made.spans):
        whole = after[i, :, 8 * first : 8 * last] if made.own[i] else alone[i]
        low, high = band_of(whole, rng) if rng.random() < 0.3 else (0, ROWS)
        kept = torch.ones_like(before[i], dtype=torch.bool)
        kept[8 * low : 8 * high, 8 * first : 8 * last] = False
        after[i] = torch.where(kept, before[i], after[i])
        boxes.append([low, high, first, last])
    tensors = {"levels": quantise(after), "before": quantise(before), "boxes": torch.tensor(boxes).short()}
    return tensors, _records(made.events)


def shard_seed(seed: int, shard: int, part: int) -> int:
    """A seed for each part of each shard, apart from all other corpora with other seeds."""
    return (seed * 1_000_003 + shard) * 1009 + part


def build_corpus(
    folder: str | Path,
    clips: int,
    seed: int,
    workers: int = 2,
    content: str = "base",
    device: str = "cpu",
    minutes: float | None = None,
) -> dict[str, Any]:
    """Fills `folder` up to `clips` clips; shards that are there already stay. Returns what was done.

    `minutes` stops it after the shard during which they run out. On an accelerator one process does it all.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(folder, seed, content)
    jobs = [
        (str(folder), index, min(SHARD_CLIPS, clips - start), seed, content, device)
        for index, start in enumerate(range(0, clips, SHARD_CLIPS))
        if rows_in(shard_path(folder, index), "levels") != min(SHARD_CLIPS, clips - start)
    ]
    wanted = sum(job[2] for job in jobs)
    logger.info("%d of %d clips are there; making %d with %d workers", clips - wanted, clips, wanted, workers)
    pace, made, a_minute = Pace(), 0, 0.0
    with several(min(workers, len(jobs)) if device == "cpu" else 1) as run:
        for count in run(_make_shard, jobs):
            made += count
            a_minute = 60 * made / max(pace.seconds, 1e-9)
            told = (made, wanted, a_minute, pace.left(made, wanted - made))
            logger.info("%d of %d clips, %.0f clips a minute, %s left", *told)
            if minutes is not None and pace.seconds > 60 * minutes:
                break
    return {"clips": clips - wanted + made, "made": made, "clips_per_minute": a_minute}


def _check_settings(folder: Path, seed: int, content: str) -> None:
    """One folder, one seed, one content: a corpus is never mixed from two."""
    path = folder / "corpus.json"
    if not path.exists():
        settings = {"format": FORMAT, "seed": seed, "content": content, "shard_clips": SHARD_CLIPS}
        write_json(path, settings)
        return
    found = read_json(path)
    made = (found.get("seed"), found.get("content", "base"))
    if made != (seed, content):
        raise SonopaintError(
            f"{folder} was made with seed {made[0]} and content {made[1]}; choose another {setting('out')} "
            "or the same."
        )


def _make_shard(job: tuple[str, int, int, int, str, str]) -> int:
    folder, index, count, seed, content, device = job
    parts: list[dict[str, Tensor]] = []
    records: list[Record] = []
    for part, first in enumerate(range(0, count, BATCH_CLIPS)):
        tensors, batch = synthesise(
            min(BATCH_CLIPS, count - first), shard_seed(seed, index, part), content, device
        )
        parts.append(tensors)
        records += batch
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    write_shard(Path(folder), index, joined, records)
    return count


def _read_shard(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SonopaintError(
            f'{path} is damaged; delete it and run "sonotrain base corpus" again.'
        ) from error


def _read_records(path: Path) -> list[Record]:
    try:
        with open(path, encoding="utf-8") as handle:
            return [Record(**json.loads(line)) for line in handle]
    except (OSError, ValueError, TypeError) as error:
        raise SonopaintError(
            f'{path} is damaged; delete its shard and run "sonotrain base corpus" again.'
        ) from error
