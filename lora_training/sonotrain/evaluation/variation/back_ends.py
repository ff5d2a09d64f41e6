"""Variators as back-ends of the bench: candidates made once and kept, then chosen from, or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.hashes import sha256_of
from sonopaint.tasks.progress import Progress
from sonopaint.variations.judge import Judge
from sonopaint.variations.make import Maker
from sonopaint.variations.protocol import Ask, Candidate, Variator
from sonotrain.evaluation.bench.nouns import Make, Shot
from sonotrain.evaluation.tables import write_json
from sonotrain.evaluation.variation.references import Protocol
from sonotrain.files.json_files import read_json
from sonotrain.training.compute import memory_mb

logger = logging.getLogger(__name__)

UNCHOSEN, AT = " (not chosen)", " at "  # in names of rows: without choosing, and another strength
CHANGED = "changed.json"  # {file: the times that its back-end may have changed}


class Varying:
    """One method at one strength: `count` variations of each reference, chosen or the first that came.

    candidates: a folder that several such share, so that nothing is made twice.
    """

    suffix = ".flac"

    def __init__(
        self,
        name: str,
        variator: Variator,
        ask: Ask,
        protocol: Protocol,
        candidates: Path,
        ear: Judge,
        *,
        choose: bool = True,
    ) -> None:
        self.name, self.variator, self.ask, self.protocol = name, variator, ask, protocol
        self.candidates, self.ear, self.choose = candidates, ear, choose

    def shots(self, reference: Any) -> list[Shot]:
        """One for each variation; the seeds are the Maker's, who may pass some over."""
        prompt = self._ask(reference).prompt
        return [Shot(0, seed, prompt, prompt) for seed in range(self.ask.count)]

    def facts(self, reference: Any) -> dict[str, Any]:
        """What the variations hang on."""
        return {
            "made_by": self.described,
            "ask": asdict(self._ask(reference)),
            "choose": self.choose,
            "reference": sha256_of(reference.source)[:16],
            "standard": [self.protocol.rate, self.protocol.seconds],
        }

    def open(self, reference: Any) -> tuple[Make, dict[str, Any]]:
        """Makes and chooses all; what is returned writes them, one after another."""
        ask = self._ask(reference)
        source = read_clip(reference.source, duration_s=self.protocol.seconds)
        kept = KeptVariator(self.variator, self.candidates / self._key(reference))
        maker = Maker(kept, source, ask, choose=self.choose, judge=self.ear)
        found, told = [], ""
        try:
            with peak_memory() as memory:
                found = maker.make()
        except SonopaintError as error:  # of a back-end that made nothing: a failure to be counted
            told = str(error)
            logger.warning("%s, %s: %s", self.name, reference.name, told)
        spans: dict[str, Any] = {}

        def make(shot: Shot, file: Path) -> None:
            if shot.seed < len(found):
                one = found[shot.seed]
                clip = one.clip if torch.isfinite(one.clip.waveform).all() else _silence(source)
                spans[file.name] = one.changed
            else:
                clip = _silence(source)
            write_clip(self.protocol.standard(clip), file, subtype="PCM_16", force=True)
            write_json(file.parent / CHANGED, spans)

        figures: dict[str, Any] = {
            "candidates": len(maker.made),
            "left_out": maker.figures([])["left_out"],
            "made_s": kept.seconds / max(1, len(found)) if found else None,
            "memory_mb": memory.get("mb"),
        }
        return make, figures | ({"said": told} if told else {})

    def cost(self, reference: Any) -> dict[str, Any]:
        """Nothing came before."""
        return {}

    def _ask(self, reference: Any) -> Ask:
        return replace(self.ask, kind=reference.noun, seed=1000 * self.protocol.seed + self.ask.seed)

    @cached_property
    def described(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.variator.describe(), default=str))

    def _key(self, reference: Any) -> str:
        ask = self._ask(reference)
        told = [
            self.described,
            ask.prompt,
            ask.strength,
            self.facts(reference)["reference"],
            self.protocol.seconds,
        ]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        return f"{re.sub(r'[^a-z0-9-]+', '-', self.variator.name.lower())}-{reference.name}-{digest}"


class KeptVariator:
    """A variator whose candidates are kept on disk, each with the seconds that it took."""

    def __init__(self, variator: Variator, folder: Path) -> None:
        self.variator, self.folder, self.name = variator, folder, variator.name
        self.seconds = 0.0

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator; a failure is kept, too. What is not there yet is made together."""
        missing = [seed for seed in seeds if not self._facts(seed).is_file()]
        for seed in seeds:
            if seed in missing and not self._facts(seed).is_file():
                self._make(reference, ask, missing[missing.index(seed) :], progress)
            sound, known = self.folder / f"{seed}.wav", read_json(self._facts(seed))
            self.seconds += known["seconds"]
            if "failed" in known:
                raise SonopaintError(known["failed"])
            changed = known["changed"]
            spans = None if changed is None else tuple((start, end) for start, end in changed)
            clip = read_clip(sound) if sound.is_file() else _silence(reference)
            yield Candidate(clip, seed, spans, known["settings"])

    def _make(self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None) -> None:
        """Up to the first failure, which may be the first seed's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()

        def keep(seed: int, told: dict[str, Any]) -> None:
            nonlocal begin
            told["seconds"] = time.perf_counter() - begin
            write_json(self._facts(seed), json.loads(json.dumps(told, default=str)))
            begin = time.perf_counter()

        left = list(seeds)
        try:
            for one in self.variator.candidates(reference, ask, seeds, progress):
                left.remove(one.seed)
                if torch.isfinite(one.clip.waveform).all():
                    write_clip(one.clip, self.folder / f"{one.seed}.wav", subtype="FLOAT", force=True)
                keep(one.seed, {"changed": one.changed, "settings": one.settings})
        except SonopaintError as error:
            keep(left[0], {"failed": str(error)})

    def _facts(self, seed: int) -> Path:
        return self.folder / f"{seed}.json"

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return self.variator.describe()


def changed_of(file: Path) -> Sequence[Sequence[float]] | None:
    """The times of a made file that its back-end may have changed; None: all of it."""
    path = file.parent / CHANGED
    return read_json(path).get(file.name) if path.is_file() else None


def read_methods(
    texts: Sequence[str], open_one: Callable[[str], Variator]
) -> dict[str, tuple[str, Variator]]:
    """{name: (WHAT, its variator)} from NAME or NAME=WHAT; SonopaintError for a name given twice."""
    found: dict[str, tuple[str, Variator]] = {}
    for text in texts:
        name, _, what = text.partition("=")
        name = name.strip()
        if not name or name in found or {"/", "\\"} & set(name):
            raise SonopaintError(f"{text!r} is no method, or is there twice; write NAME or NAME=WHAT.")
        what = what.strip() or name
        found[name] = what, open_one(what)
    return found


@contextlib.contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """After the block, "mb": the most memory that was used within it, where the system tells it."""
    found: dict[str, float] = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield found
        found["mb"] = memory_mb()
        return
    try:  # Linux: the high-water mark of this process begins anew
        Path("/proc/self/clear_refs").write_text("5")
        yield found
        status = Path("/proc/self/status").read_text()
    except OSError:
        yield found
        return
    if mark := re.search(r"VmHWM:\s+(\d+)", status):
        found["mb"] = int(mark[1]) / 1024


def _silence(reference: Clip) -> Clip:
    return Clip(torch.zeros_like(reference.waveform[:1]), reference.sample_rate)
