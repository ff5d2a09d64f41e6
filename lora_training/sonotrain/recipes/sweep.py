"""`sonotrain sweep`: the report's experiments as recipes; one run for each variation, a table and a plot.

Perkins 2023, section 4: one class, five classes, AudioCaps, captions with and without "a spectrogram of",
learning rates, warm-up, Adam's second decay and weight decay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.pace import clock
from sonotrain.files.plots import plot
from sonotrain.trainers.lora.trainer import LoraTrainer
from sonotrain.training.curves import series
from sonotrain.training.run import train_once
from sonotrain.training.run_folder import read_log

logger = logging.getLogger(__name__)

FIVE = ("dog_bark", "cheering", "acoustic_guitar", "snare_drum", "train_horn")  # the report's
SIGNIFIER = "a spectrogram of"
PROMPTS = (  # the report's, at the end of its experiments
    "An animal hissing followed by a man mumbling then a pig oinking while birds chirp in the background",
    "Music plays and someone speaks before gunfire and an explosion occurs",
    "Someone is typing on a computer keyboard",
    "A horn honking followed by a man laughing then talking and plastic clanking on a hard surface",
    "A dog barking",
    "A train horn",
    "Bird song",
    "Birds chirping",
    "A snare drum",
    "Horse hooves clip-clop and voices in the background",
    "Sheep bleats",
)


@dataclass(frozen=True)
class Variation:
    """One run of a sweep: options over the sweep's own; `signifier` changes the dataset's captions."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    signifier: str = ""


@dataclass(frozen=True)
class Recipe:
    """A sweep. `kinds` are what the foley corpus gives where there is no dataset.

    `options` are those of all runs; `validation` and `test` the shares of the clips that are kept back.
    """

    about: str
    kinds: tuple[str, ...]
    variations: tuple[Variation, ...]
    options: dict[str, Any] = field(default_factory=dict)
    validation: float = 0.2
    test: float = 0.0


def _over(option: str, values: tuple[float, ...], kinds: tuple[str, ...], about: str, **more: Any) -> Recipe:
    label = option.replace("_", "-")
    runs = tuple(Variation(f"{label}-{value:g}", {option: value}) for value in values)
    return Recipe(about, kinds, runs, **more)


ONE = ("bicycle_bell",)
RECIPES: dict[str, Recipe] = {
    "one-class": Recipe("one kind of sound, two learning rates", ONE, (
        Variation("learning-rate-1e-4", {"learning_rate": 1e-4}),
        Variation("learning-rate-1e-5", {"learning_rate": 1e-5}),
    )),
    "five-classes": _over(
        "learning_rate", (1e-3, 1e-4, 1e-5, 1e-6), FIVE, "five kinds, four learning rates",
        validation=0.1, test=0.1,
    ),
    "audiocaps": _over(
        "learning_rate", (5e-4, 7e-4), FIVE, "many kinds with captions, the final models' learning rates",
        options={"epochs": 75, "warmup": 0.2, "preview_prompts": PROMPTS}, validation=0.1, test=0.1,
    ),
    "signifier": Recipe("captions with and without “a spectrogram of”", FIVE, (
        Variation("without"), Variation("with", signifier=SIGNIFIER),
    )),
    "learning-rate": _over("learning_rate", (1e-5, 1e-4, 5e-4, 7e-4, 1e-3, 3e-3), ONE, "learning rates"),
    "warmup": _over("warmup", (0.0, 0.05, 0.2, 0.5), ONE, "share of the steps that warm up"),
    "adam": Recipe("Adam's second decay and weight decay", ONE, (
        Variation("default"),
        Variation("beta2-0.99-weight-decay-0.03", {"beta2": 0.99, "weight_decay": 0.03}),
        Variation("beta2-0.99-weight-decay-0.003", {"beta2": 0.99, "weight_decay": 0.003}),
    )),
}  # fmt: skip


def run_sweep(
    recipe: str, out: str | Path, given: Mapping[str, Any], *, clips: int = 20, device: str = "auto"
) -> bool:
    """Trains every variation in OUT/NAME, then writes sweep.md, sweep.json and sweep.png.

    Called again it skips what is finished and resumes what broke off; a variation that exploded is a result.
    `given`: options of all runs; without a dataset, `clips` clips of each kind come from the foley corpus.
    True when all are done, False when it was stopped.
    """
    if recipe not in RECIPES:
        raise SonopaintError(f"There is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}.")
    chosen, out = RECIPES[recipe], Path(out)
    out.mkdir(parents=True, exist_ok=True)
    facts = {"recipe": recipe, "given": {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}}
    kept = out / "recipe.json"
    if kept.is_file() and read_json(kept) != facts:
        raise SonopaintError(
            f"{out} holds another sweep; give the same options again, or choose another {setting('out')}."
        )
    write_json(kept, facts)
    results: dict[str, dict[str, Any]] = {}
    for variation in chosen.variations:
        folder = out / variation.name
        if not (folder / "failed.json").is_file():
            dataset = _dataset(chosen, variation, given, out, clips)
            options = {"cache": str(out / "cache"), **chosen.options, **given, **variation.options}
            options["dataset"] = str(dataset)
            try:
                if not train_once(LoraTrainer, folder, options, device=device):
                    return False
            except SonopaintError as error:
                if "exploded" not in str(error):
                    raise
                logger.warning("%s", error)
                write_json(folder / "failed.json", {"reason": str(error)})
        results[variation.name] = result_of(folder)
    write_json(out / "sweep.json", results)
    write_text(out / "sweep.md", table(recipe, chosen, results), force=True)
    draw(out, list(results))
    return True


def result_of(folder: Path) -> dict[str, Any]:
    """The numbers of one finished (or exploded) run."""
    steps, values = series(read_log(folder), "validation_loss")
    found: dict[str, Any] = {"status": "finished"}
    if (folder / "failed.json").is_file():
        found = {"status": "exploded", "steps": steps[-1] if steps else 0}
    else:
        done = read_json(folder / "lora.json")
        found |= {name: done[name] for name in ("steps", "seconds", "validation_loss")}
    if values:
        found |= {"first": values[0], "best": min(values), "best_step": steps[values.index(min(values))]}
    return found


def table(name: str, recipe: Recipe, results: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table, best validation loss first."""
    lines = [f"# Sweep: {name}", "", f"{recipe.about[0].upper()}{recipe.about[1:]}.", ""]
    lines += [
        "| run | validation loss | best | at step | before training | steps | time |",
        "|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(
        results.items(), key=lambda pair: (pair[1]["status"] != "finished", pair[1].get("best", 9e9))
    )
    for run, found in ordered:
        last = f"{found['validation_loss']:.4f}" if found["status"] == "finished" else "exploded"
        cells = [run, last, *(_number(found.get(key)) for key in ("best", "best_step", "first", "steps"))]
        lines.append(f"| {' | '.join(cells)} | {clock(found.get('seconds', 0.0))} |")
    lines += [
        "",
        "Validation losses don't rank runs by how they sound: listen to the previews in each folder.",
    ]
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def draw(out: Path, names: list[str]) -> None:
    """sweep.png: validation loss of all runs over the steps."""

    def lines(figure: Any) -> None:
        axis = figure.subplots()
        for name in names:
            axis.plot(*series(read_log(out / name), "validation_loss"), marker=".", linewidth=1.4, label=name)
        axis.set(xlabel="step", ylabel="validation loss")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)

    plot(out / "sweep.png", (8, 4.5), lines)


def _dataset(recipe: Recipe, variation: Variation, given: Mapping[str, Any], out: Path, clips: int) -> Path:
    """The dataset to train on: as given, with the signifier in its captions where asked for."""
    from sonotrain.data.build import build_dataset
    from sonotrain.data.dataset import is_dataset
    from sonotrain.data.options import DatasetOptions

    source = Path(str(given.get("dataset", ""))).expanduser() if given.get("dataset") else None
    if source and is_dataset(source):
        if variation.signifier:
            raise SonopaintError(
                f"{source} is a dataset whose captions are made; for this recipe give the folder of sounds."
            )
        return source
    target = out / ("dataset-signifier" if variation.signifier else "dataset")
    if not source:
        source = out / "sounds"
        _synthesise(source, recipe.kinds, clips)
    options = DatasetOptions(
        model=str(given.get("model", "mini")), format=str(given.get("format", "")),
        trigger=str(given.get("trigger", "")), signifier=variation.signifier,
        validation=recipe.validation, test=recipe.test,
    )  # fmt: skip
    build_dataset(source, target, options)
    return target


def _synthesise(folder: Path, kinds: tuple[str, ...], clips: int) -> None:
    """Folders of foley clips, one for each kind."""
    from sonoconvert.files.clip import Clip, write_clip
    from sonotrain.data import foley

    for kind in kinds:
        wanted = [folder / kind.replace("_", " ") / f"{number:03d}.wav" for number in range(clips)]
        if all(path.exists() for path in wanted):
            continue
        made = foley.batch(clips, 31, [kind], relations=[("single", 1.0)])
        for path, waveform in zip(wanted, made.waveforms, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(Clip(waveform[None], foley.SAMPLE_RATE), path, force=True)
