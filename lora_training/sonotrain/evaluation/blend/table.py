"""The document's tables 1 to 5 and its maps, for any models that blend and the bare codec, by one command."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip
from sonotrain.data.scales.kept import Kept, Wanted, make
from sonotrain.evaluation.blend.coders import Coder, load_coders
from sonotrain.evaluation.blend.page import page, points_of
from sonotrain.evaluation.blend.probes import accuracy, melody_loss
from sonotrain.evaluation.blend.report import as_markdown
from sonotrain.evaluation.blend.swaps import Judge, pairs_of, swap
from sonotrain.evaluation.blend.timbre import train_timbre
from sonotrain.evaluation.embeddings import load_embedding
from sonotrain.evaluation.frechet import distance_of
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import option, use_threads
from sonotrain.training import common

logger = logging.getLogger(__name__)

TESTED = 3  # of so many notes and melodies one tests the probes that learn from the others
EMBEDDINGS = ("classifier", "clap")


@dataclass(frozen=True)
class BlendTable:
    models: tuple[str, ...] = option(
        (), "files of sonotrain blend train: ours and the baselines", metavar="FILE"
    )
    data: str = option("runs/blend-data", "folder in which training kept its sounds")
    notes: int = option(300, "notes that probes of instrument and pitch learn from and are asked of")
    tunes: int = option(150, "melodies, likewise")
    pairs: int = option(8, "swaps of notes, of melodies and of the corpus's sounds, each")
    steps: int = option(10, "of the sampler")
    embedding: str = option("classifier", "what measures the reconstruction", EMBEDDINGS)
    weights: str = option("", "its weights, where they are not in their place", free=True)
    mapped: int = option(90, "sounds of the page that can be heard")
    seed: int = option(0, "of notes, melodies, pairs, probes and noise")
    threads: int = common.threads()

    def __post_init__(self) -> None:
        if min(self.notes, self.tunes) < 12 or self.pairs < 2 or self.steps < 2:
            raise SonopaintError(
                f"{setting('notes')} and {setting('tunes')} must be 12 or more, {setting('pairs')} and "
                f"{setting('steps')} 2 or more."
            )


def make_table(out: str | Path, options: BlendTable) -> str:
    """table.json, table.md and maps.html in `out`; what was made for a model already is taken as it is."""
    out, start = Path(out), time.monotonic()
    use_threads(options.threads)
    data = Kept(options.data)
    told = data.settings
    asked = make(
        out / "asked",
        Wanted(corpus="", notes=options.notes, tunes=options.tunes, seconds=told["seconds"],
               space=told["space"], codec=told["codec"], seed=options.seed + 1000),
    )  # fmt: skip
    coders = load_coders(options.models, data)
    examined = _Examined(data, asked, options)
    rows = []
    for coder in coders:
        path = out / "rows" / f"{coder.name}.json"
        facts: dict[str, Any] = {
            "options": {k: v for k, v in vars(options).items() if k not in ("models", "threads", "mapped")}
        }
        facts["model"] = _recipe(coder)
        plain = json.loads(json.dumps(facts))  # as a file gives it back
        if path.is_file() and (found := read_json(path)).get("facts") == plain:
            rows.append(found)
            continue
        logger.info("%s …", coder.name)
        rows.append(examined.row(coder) | {"facts": plain})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, rows[-1])
    table = {
        "rows": rows, "sounds": examined.counts(), "embedding": examined.judge.hear.title,
        "machine": platform.processor() or platform.machine(), "seconds": round(time.monotonic() - start),
    }  # fmt: skip
    write_json(out / "table.json", table)
    text = as_markdown(table)
    write_text(out / "table.md", text, force=True)
    points = points_of([coder for coder in coders if coder.model], data, asked, options.mapped)
    write_text(out / "maps.html", page(points), force=True)
    return text


class _Examined:
    """The sounds, and what is asked of a coder."""

    def __init__(self, data: Kept, asked: Kept, options: BlendTable) -> None:
        self.data, self.asked, self.options = data, asked, options
        self.notes, self.tunes = (
            [n for n, one in enumerate(asked.labels) if one.group == g] for g in ("notes", "melodies")
        )
        corpus = [n for n, one in enumerate(data.labels) if one.group == "corpus"]
        often = _often(data, corpus)
        self.corpus = [n for n in corpus if data.labels[n].kind in often]
        held = set(data.held)
        self.held = [n for n in self.corpus if n in held]
        learnt = [n for n in range(len(data.labels)) if n not in held]
        kinds = [data.labels[n].kind for n in learnt]
        timbre = train_timbre(data.mel[learnt], kinds, options.seed)
        hear = load_embedding(options.embedding, options.weights)
        self.judge = Judge(data, timbre, hear, data.audio)
        self.asked_judge = Judge(asked, timbre, hear, asked.audio)

    def counts(self) -> dict[str, int]:
        """Of sounds that probes learn from and are asked of, and of swaps."""
        return {"notes": len(self.notes), "melodies": len(self.tunes), "corpus": len(self.corpus),
                "swaps": self.options.pairs}  # fmt: skip

    def row(self, coder: Coder) -> dict[str, Any]:
        row: dict[str, Any] = {"name": coder.name, "levels": list(coder.levels)}
        row["probes"] = {level: self._probes(coder, level) for level in coder.levels}
        clips: list[Clip] = []
        truths: list[Clip] = []
        row["swaps"] = {}
        for group, judge, numbers in (
            ("notes", self.asked_judge, self._with_audio(self.asked, self.notes)),
            ("melodies", self.asked_judge, self._with_audio(self.asked, self.tunes)),
            ("corpus", self.judge, self.held),
        ):
            pairs = pairs_of(judge.data, numbers, self.options.pairs, self.options.seed)
            if len(pairs) < 2:
                continue
            made = swap(coder, judge.data, group, pairs, judge, self.options.seed, self.options.steps)
            row["swaps"][group] = made.scores
            clips += made.clips
            truths += judge.sounds([pair.target for pair in pairs])
        if not clips:
            raise SonopaintError(
                "There are no two held-out sounds of different kinds to swap; give more notes or melodies."
            )
        hear = self.judge.hear
        sides = [hear(self.judge.waves(side)).clip for side in (clips, truths)]
        mels = [self.judge.mels(side) for side in (clips, truths)]
        row["frechet"] = distance_of(*sides)
        row["mel"] = float((mels[0] - mels[1]).abs().mean())
        return row

    def _probes(self, coder: Coder, level: str) -> dict[str, float]:
        seed = self.options.seed
        found: dict[str, float] = {}
        for name, data, numbers, asked in (
            ("kind", self.data, self.corpus, lambda n: self.data.labels[n].kind),
            ("instrument", self.asked, self.notes, lambda n: self.asked.labels[n].kind),
            ("pitch", self.asked, self.notes, lambda n: self.asked.labels[n].pitch),
        ):
            if len(numbers) >= 2 * TESTED:
                found[name] = self._accuracy(coder, level, data, numbers, asked, seed)
        learnt, held = _split(self.tunes)
        codes = [coder.codes(self.asked, part)[level] for part in (learnt, held)]
        found["melody"] = melody_loss(
            codes[0], self.asked.roll[learnt], codes[1], self.asked.roll[held], seed
        )
        return found

    @staticmethod
    def _accuracy(
        coder: Coder,
        level: str,
        data: Kept,
        numbers: Sequence[int],
        asked: Callable[[int], object],
        seed: int,
    ) -> float:
        learnt, held = _split(numbers)
        codes: list[Tensor] = [coder.codes(data, part)[level] for part in (learnt, held)]
        return accuracy(codes[0], [*map(asked, learnt)], codes[1], [*map(asked, held)], seed)

    @staticmethod
    def _with_audio(data: Kept, numbers: Sequence[int]) -> list[int]:
        held = set(data.held)
        return [n for n in numbers if n in held]


def _split(numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """To learn from, and to be asked of. Kinds come in turn, so every third of a shuffled row is asked."""
    order = [
        numbers[i] for i in torch.randperm(len(numbers), generator=torch.Generator().manual_seed(5)).tolist()
    ]
    return [n for k, n in enumerate(order) if k % TESTED], order[::TESTED]


def _often(data: Kept, numbers: Sequence[int]) -> set[str]:
    """Kinds with at least six sounds."""
    kinds = [data.labels[n].kind for n in numbers]
    return {kind for kind in set(kinds) if kinds.count(kind) >= 6}


def _recipe(coder: Coder) -> str:
    return "" if coder.model is None else str(coder.model.metadata.get("sonopaint.training", ""))
