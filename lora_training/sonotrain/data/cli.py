"""`sonotrain dataset SOURCE --out DATASET`: makes a dataset from a folder of sounds."""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from typing import Any

logger = logging.getLogger(__name__)
TOLD_EVERY_S = 3.0


def fill(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    from sonotrain.data.options import DatasetOptions
    from sonotrain.files.options import add_options, given

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.data.build import build_dataset

        options = DatasetOptions(**given(arguments, DatasetOptions))
        dataset = build_dataset(
            arguments.source,
            arguments.out,
            options,
            Told(),
            workers=arguments.workers,
            force=arguments.force,
        )
        sizes = ", ".join(
            f"{len(examples)} {split}" for split, examples in dataset.splits.items() if examples
        )
        print(f"{dataset.folder} holds {sizes} clips of {dataset.format.name}.")
        skipped = _skipped(dataset.folder / "skipped.jsonl")
        if skipped:
            print(f"Left out: {skipped}.")
        print(f"Look at {dataset.folder / 'report.html'}, then train on it.")
        return True

    parser.add_argument("source", help="folder of sounds, or a table (CSV, JSONL) that names them")
    parser.add_argument(
        "--out", required=True, help="folder of the dataset; called again, it is brought up to date"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one for each core)")
    parser.add_argument("--force", action="store_true", help="make a dataset with other options anew")
    add_options(parser, DatasetOptions)
    parser.set_defaults(run=run, resumable=False)


def fill_corpus(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base corpus`."""
    from sonoconvert.errors import SonopaintError
    from sonotrain.files.options import add_device

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.data.corpus import build_corpus

        if arguments.clips < 1 or arguments.workers < 1:
            raise SonopaintError("--clips and --workers must be at least 1.")
        device = "cpu" if arguments.device == "auto" else arguments.device
        done = build_corpus(
            arguments.out, arguments.clips, arguments.seed, arguments.workers, arguments.content, device
        )
        print(f"{done['clips']} clips in {arguments.out} ({done['clips_per_minute']:.0f} a minute)")
        return True

    parser.add_argument("--out", default="runs/corpus", help="folder of the corpus (default: runs/corpus)")
    parser.add_argument("--clips", type=int, default=12000, help="number of clips (default: 12000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all sounds (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--content",
        choices=("base", "mixed", "singles", "pairs", "scenes", "sung"),
        default="base",
        help="base: what Mini learns; mixed: more captions of two sounds, far sounds quieter; "
        "singles and pairs: one event, or two, of all kinds, for the classifiers; "
        "scenes: clips before and after a box was painted; "
        "sung: mixed, but half of them held and bent like a hum, for curves",
    )
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)


def _skipped(path: Any) -> str:
    """ "3 silent, 1 duplicate" from skipped.jsonl."""
    import json

    kinds = Counter(json.loads(line)["kind"] for line in path.read_text(encoding="utf-8").splitlines())
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


class Told:
    """Logs how far a build is and how long it still takes, every few seconds."""

    def __init__(self) -> None:
        self.said = 0.0
        self.first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        from sonotrain.files.pace import clock

        now = time.monotonic()
        if self.first is None and total:
            self.first = (now, done)
        if now - self.said < TOLD_EVERY_S:
            return
        self.said = now
        if not total or self.first is None:
            logger.info("%s", what)
            return
        rate = (done - self.first[1]) / max(now - self.first[0], 1e-9)
        left = f", {clock((total - done) / rate)} left" if rate > 0 else ""
        logger.info("%d of %d clips%s: %s", done, total, left, what)
