"""The document's table 4.1, small: formalisms × representations, trained equally long on one dataset."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip
from sonopaint.models.jingles.file import read_jingle
from sonotrain.data.pvt.build import PvtDataset
from sonotrain.evaluation.embeddings.corpus import load_corpus_classifier
from sonotrain.evaluation.frechet import distance_of
from sonotrain.evaluation.hearing import waves
from sonotrain.evaluation.jingles.measures import followed, right_instruments
from sonotrain.evaluation.jingles.play import play, real_clips, write_all
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import option, use_threads
from sonotrain.trainers.jingles.train import JingleTrainer
from sonotrain.training import common
from sonotrain.training.loop import Budget
from sonotrain.training.run import train_once

logger = logging.getLogger(__name__)

# What each cell is trained with beside the shared options; sizes that a processor core can train.
CELLS: dict[str, dict[str, Any]] = {
    "edm-latents": {"formalism": "edm", "space": "latents", "width": 64, "batch": 16},
    "ddpm-latents": {"formalism": "ddpm", "space": "latents", "width": 64, "batch": 16},
    "discdpm-codes": {
        "formalism": "discdpm", "space": "codes", "width": 64, "batch": 16, "up_multipliers": (6, 4, 2)
    },
    "edm-cqt": {"formalism": "edm", "space": "cqt", "patch": 8, "width": 24, "batch": 4, "frames": 240},
    "ddpm-cqt": {"formalism": "ddpm", "space": "cqt", "patch": 8, "width": 24, "batch": 4, "frames": 240},
}  # fmt: skip


@dataclass(frozen=True)
class JingleTable:
    data: str = option("runs/pvt", "dataset with the spaces of the cells")
    cells: tuple[str, ...] = option(tuple(CELLS), "which to train and compare", metavar="NAME")
    minutes: float = option(5.0, "minutes of training a cell")
    clips: int = option(16, "held-out melodies that each plays")
    seed: int = option(0, "of weights, order and noise")
    threads: int = common.threads()

    def __post_init__(self) -> None:
        if wrong := [name for name in self.cells if name not in CELLS]:
            raise SonopaintError(f"There is no cell {wrong[0]!r}; choose from {', '.join(CELLS)}.")
        if self.clips < 2 or self.minutes <= 0:
            raise SonopaintError(f"{setting('clips')} must be 2 or more, and {setting('minutes')} above 0.")


def make_table(out: str | Path, options: JingleTable) -> str:
    """Trains what is not trained yet, plays, measures; table.json and table.md in `out`."""
    out = Path(out)
    use_threads(options.threads)
    judge = _Judge(options)
    rows = [judge.row("recordings", judge.real)]
    for name in options.cells:
        path = out / name / "row.json"
        if not path.is_file():
            row = _cell(out / name, name, options, judge)
            write_json(path, row)
        rows.append(read_json(path))
        _write(out, rows, options)
    return _write(out, rows, options)


class _Judge:
    """The held-out melodies, and their own sounds as an embedding hears them."""

    def __init__(self, options: JingleTable) -> None:
        space = str(CELLS[options.cells[0]]["space"]) if options.cells else "latents"
        self.data = PvtDataset(options.data, space)
        # Every second one is played; the others are the reference.
        self.numbers, self.others = self.data.held[::2][: options.clips], self.data.held[1::2]
        if len(self.numbers) < options.clips or len(self.others) < 2:
            raise SonopaintError(
                f"{options.data} has {len(self.data.held)} held-out clips; {2 * options.clips} are needed."
            )
        self.hear = load_corpus_classifier()
        self.samples = round(self.data.seconds * self.hear.sample_rate)
        self.real = real_clips(self.data, self.numbers)
        self.reference = self.features(real_clips(self.data, self.others))

    def features(self, clips: Sequence[Clip]) -> Tensor:
        return self.hear(waves(clips, self.hear.sample_rate, self.samples)).clip

    def row(self, name: str, clips: Sequence[Clip]) -> dict[str, Any]:
        features = self.features(clips)
        kinds, others = self.data.kind[self.numbers], self.data.kind[self.others]
        rate = self.data.pitch.shape[1] / self.data.seconds
        told = followed(clips, self.data.pitch[self.numbers], self.data.velocity[self.numbers], rate)
        return {
            "name": name,
            "frechet": distance_of(features, self.reference),
            "instruments": right_instruments(features, kinds, self.reference, others),
            **asdict(told),
        }


def _cell(folder: Path, name: str, options: JingleTable, judge: _Judge) -> dict[str, Any]:
    given = {
        **CELLS[name], "data": options.data, "seed": options.seed, "ema": 0.99, "warmup": 20,
        "control_channels": 32, "name": name, "preview_minutes": 1000.0,
    }  # fmt: skip
    if not train_once(JingleTrainer, folder, given, Budget(minutes=options.minutes), device="cpu"):
        raise KeyboardInterrupt
    made = read_json(folder / "jingles.json")
    dataset = PvtDataset(options.data, str(CELLS[name]["space"]))
    played = play(read_jingle(folder / f"{name}.safetensors"), dataset, judge.numbers, options.seed)
    write_all(played.clips, folder / "sounds", name)
    share = 8 / len(judge.numbers)
    return judge.row(name, played.clips) | {
        "parameters": made["parameters"], "steps": made["steps"], "minutes": made["seconds"] / 60,
        "seconds": played.seconds * share, "decoding": played.decoding * share, "held": made["held"],
    }  # fmt: skip


def _write(out: Path, rows: list[dict[str, Any]], options: JingleTable) -> str:
    seconds = PvtDataset(options.data, str(CELLS[options.cells[0]]["space"])).seconds
    lines = [
        f"| | parameters | minutes (steps) of training | s for 8 × {seconds:.1f} s | + decoding | "
        "Fréchet ↓ | pitch ↑ | velocity ↑ | instrument ↑ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost = (
            f"{row['parameters'] / 1e6:.2f} M | {row['minutes']:.1f} ({row['steps']}) | "
            f"{row['seconds']:.1f} | {row['decoding']:.1f}"
            if "parameters" in row
            else "| | | "
        )
        lines.append(
            f"| {row['name']} | {cost} | {row['frechet']:.1f} | {row['pitch']:.0%} | {row['velocity']:.2f} | "
            f"{row['instruments']:.0%} |"
        )
    text = "\n".join(lines) + "\n"
    write_json(
        out / "table.json", {"options": asdict(options), "machine": platform.processor(), "rows": rows}
    )
    write_text(out / "table.md", text, force=True)
    return text
