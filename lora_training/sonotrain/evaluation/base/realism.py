"""Can a network tell a model's clips from the corpus's own? 50 % is perfect: it has to guess.

For each sort of clips the same small network learns, from the same weights and with the same split, to tell
them from real ones, and is asked about clips that it has not learnt (a two-sample test by a classifier,
Lopez-Paz & Oquab 2017). A ladder says where that comes from which gives a model away: other real clips, the
same after picture and phase search, after the VAE too, and painted ones. All are heard as sounds: made into
waveforms, then into pictures again.

Whatever was painted, heard or learnt is kept by its content, so that a run that broke off goes on, and
another model costs itself only.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT, quantise
from sonotrain.evaluation.base.examine import Evaluation, check_kinds, sampling
from sonotrain.evaluation.base.look import save_sheet
from sonotrain.evaluation.base.pictures import grain
from sonotrain.files.hashes import file_key
from sonotrain.files.json_files import write_json
from sonotrain.files.options import option
from sonotrain.files.tensors import keep, kept
from sonotrain.trainers.mini.sound_classifier import SoundClassifier
from sonotrain.training.compute import descend
from sonotrain.training.painting import paint, through_vae, to_sound

logger = logging.getLogger(__name__)

KEPT = "kept"  # the folder of what later runs need not make again
OTHERS, DECODED = "other real clips", "real, as picture and back"
CROP = 160  # columns that a network learns from at once: half a clip
BATCH = 32
LEARNING_RATE = 2e-3
RESAMPLES = 1000
SHOWN = 6  # kinds on the sheet
SAMPLING = ("steps", "guidance_scale", "sampler")


@dataclass(frozen=True)
class Realism:
    """What to compare, and how much of it. Empty or 0 where the model's default is meant."""

    models: tuple[str, ...] = option(
        ("weights/mini",), "models to compare: folder, file or name, or MODEL+LORA", name="--model"
    )
    per_kind: int = option(6, "clips of each kind, of each sort; raise it later")
    kinds: tuple[str, ...] = option((), "only these kinds, with commas between", commas=True)
    folds: int = option(2, "parts of the clips; each is asked of a network that learnt the others")
    learning: int = option(200, "training steps of each network")
    seed: int = option(7000, "seed of real clips, noise and networks")
    steps: int = option(0, "sampling steps (default: the model's)")
    guidance_scale: float = option(0.0, "guidance scale (default: the model's)", name="--guidance")
    sampler: str = option("", "sampler (default: the model's)")


@dataclass(frozen=True)
class Sort:
    """Clips of one sort as they are heard: uint8 levels [N, 128, 320], the kind and caption of each.

    They stand in rounds of one clip of each kind.
    """

    name: str
    levels: Tensor
    kinds: list[str]
    captions: list[str]


def realism(plan: Realism, out: str | Path, device: str = "auto") -> dict[str, Any]:
    """Paints, learns and writes realism.json, realism.md and realism.png into `out`; returns the JSON."""
    from sonotrain.data import foley

    kinds = list(plan.kinds or foley.BASE_KINDS)
    check_kinds(kinds)
    if not 2 <= plan.folds <= plan.per_kind:
        raise SonopaintError(
            f"{setting('folds')} is {plan.folds}; choose from 2 to {setting('per_kind')}, {plan.per_kind}."
        )
    folder = Path(out)
    (folder / KEPT).mkdir(parents=True, exist_ok=True)
    real = _real("real", kinds, plan.per_kind, plan.seed)
    others = _real(OTHERS, kinds, plan.per_kind, plan.seed + 1)
    sorts = [others, _sort(folder, DECODED, others, len(kinds), _as_it_is)]
    painted: list[dict[str, Any]] = []
    for name in plan.models:
        made, settings = _of_model(name, plan, folder, others, len(kinds), device)
        sorts += [sort for sort in made if sort.name not in {known.name for known in sorts}]
        painted.append({"model": name, **settings})
    rows: list[dict[str, Any]] = []
    told: dict[str, Tensor] = {}
    for sort in sorts:
        told[sort.name] = _told(folder, real, sort, plan, len(kinds))
        rows.append(_row(sort, real, told[sort.name]))
        logger.info("%s: %.1f %%", sort.name, 100 * rows[-1]["accuracy"])
    result = {
        "clips": len(real.kinds),
        "kinds": len(kinds),
        "seed": plan.seed,
        "folds": plan.folds,
        "learning": plan.learning,
        "painted": painted,
        "grain_real": grain(real.levels / 255.0),
        "rows": rows,
    }
    write_json(folder / "realism.json", result)
    write_text(folder / "realism.md", as_markdown(result), force=True)
    _sheet(others, sorts[-1], told[sorts[-1].name], folder / "realism.png")
    return result


def _real(name: str, kinds: Sequence[str], rounds: int, seed: int) -> Sort:
    """Rounds of one corpus clip of each kind, with seeds that no training has used."""
    from sonotrain.data import foley

    heard: list[Tensor] = []
    found: list[str] = []
    said: list[str] = []
    for number in range(rounds):
        clips = foley.batch(len(kinds), 7919 * seed + number, kinds, relations=[("single", 1.0)])
        heard.append(quantise(levels(clips.waveforms, get_format(FORMAT))))
        found += [kind for (kind,) in clips.kinds]
        said += clips.captions
    return Sort(name, torch.cat(heard), found, said)


def _of_model(
    name: str, plan: Realism, folder: Path, like: Sort, size: int, device: str
) -> tuple[list[Sort], dict[str, Any]]:
    """`like` through a model's VAE, and clips that it paints for the captions; how it paints."""
    from sonopaint.models.loading import load_model
    from sonotrain.training.compute import choose_device

    path, *loras = name.split("+")
    used = [(lora, 1.0) for lora in loras]
    model = load_model(path, device=choose_device(device), dtype=torch.float32, loras=used)
    settings = sampling(model, Evaluation(**{item: getattr(plan, item) for item in SAMPLING}))
    vae = _fingerprint(model.vae)
    painter = _fingerprint(model.unet, model.text_encoder, *([model.grain] if model.grain else []))

    def decoded(clips: Tensor, captions: Sequence[str], place: int) -> Tensor:
        return through_vae(model, clips)

    def made(clips: Tensor, captions: Sequence[str], place: int) -> Tensor:
        return paint(model, captions, seed=plan.seed + place, **settings)

    return [
        _sort(folder, f"real, through {path}'s VAE", like, size, decoded, "vae", vae),
        _sort(folder, f"painted by {name}", like, size, made, "painted", vae, painter, settings, plan.seed),
    ], settings


def _as_it_is(clips: Tensor, captions: Sequence[str], place: int) -> Tensor:
    return clips


def _sort(
    folder: Path,
    name: str,
    like: Sort,
    size: int,
    make: Callable[[Tensor, Sequence[str], int], Tensor],
    *facts: Any,
) -> Sort:
    """What `make` makes of `like`'s rounds (levels 0 … 1, captions, first clip's place), as it is heard.

    `facts` say what it hangs on besides.
    """

    def heard(first: int) -> Tensor:
        chosen = slice(first, first + size)
        pictures = make(like.levels[chosen] / 255.0, like.captions[chosen], first)
        return quantise(levels(to_sound(pictures), get_format(FORMAT)))

    rounds: list[Tensor] = []
    for first in range(0, len(like.kinds), size):
        about = (_digest(like.levels[first : first + size]), like.captions[first : first + size], first)
        rounds.append(_kept(folder, partial(heard, first), *(facts or ("decoded",)), *about))
        logger.info("%s: %d of %d clips", name, first + size, len(like.kinds))
    return Sort(name, torch.cat(rounds), like.kinds, like.captions)


def _told(folder: Path, real: Sort, sort: Sort, plan: Realism, size: int) -> Tensor:
    """Logit of "no real clip" of each clip, by a network that has not learnt it: [2, N], real ones first."""
    both = torch.stack([real.levels, sort.levels])
    fold = torch.arange(both.shape[1]) // size % plan.folds  # whole rounds: all kinds on both sides
    told = torch.zeros(both.shape[:2])
    for number in range(plan.folds):
        learnt, asked = both[:, fold != number], both[:, fold == number]
        answers = partial(tell_apart, learnt, asked, plan.learning, plan.seed)
        recipe = (plan.learning, plan.seed, CROP, BATCH, LEARNING_RATE)
        told[:, fold == number] = _kept(folder, answers, "told", _digest(learnt), _digest(asked), *recipe)
    return told


def tell_apart(learnt: Tensor, asked: Tensor, steps: int, seed: int) -> Tensor:
    """Logits [2, M] of "of the second sort" for uint8 levels `asked` [2, M, 128, W].

    The network learns on `learnt` [2, N, 128, W], as many of either sort, from random parts of half a clip.
    It is the sound classifier's, whose training data are varied too; but blur, noise and equalisers, which
    would hide what is looked for, are left out.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SoundClassifier(["first", "second"])
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1
    )
    wanted = torch.arange(2).repeat_interleave(BATCH // 2)
    for _ in range(steps):
        rows = torch.randint(learnt.shape[1], (2, BATCH // 2), generator=generator)
        start = int(torch.randint(learnt.shape[-1] - CROP + 1, (1,), generator=generator))
        chosen = torch.cat([learnt[side, rows[side], :, start : start + CROP] for side in (0, 1)])
        loss = F.cross_entropy(model(chosen / 255.0), wanted)
        descend(loss, model.parameters(), optimiser, most=math.inf)
        schedule.step()
    with torch.no_grad():
        logits = torch.cat([model(part / 255.0) for part in asked.flatten(0, 1).split(BATCH)])
    return (logits[:, 1] - logits[:, 0]).unflatten(0, asked.shape[:2])


def judged(told: Tensor) -> dict[str, float]:
    """Accuracy on both sorts alike with its 95 % interval (bootstrap over clips), and d′, of logits [2, N].

    d′ is how many standard deviations the two sorts' logits lie apart: it tells two sorts that are always
    told apart from each other.
    """
    right = torch.stack([told[0] < 0, told[1] > 0]).double().numpy()
    draws = np.random.default_rng(0).integers(right.shape[1], size=(2, RESAMPLES, right.shape[1]))
    again = (right[0][draws[0]].mean(1) + right[1][draws[1]].mean(1)) / 2
    low, high = np.quantile(again, [0.025, 0.975])
    spread = told.var(dim=1).mean().sqrt().clamp_min(1e-6)
    return {
        "accuracy": float(right.mean()),
        "low": float(low),
        "high": float(high),
        "d": float((told[1].mean() - told[0].mean()) / spread),
    }


def _row(sort: Sort, real: Sort, told: Tensor) -> dict[str, Any]:
    right: dict[str, list[bool]] = {kind: [] for kind in sorted(set(real.kinds))}
    for side, (kinds, logits) in enumerate(zip((real.kinds, sort.kinds), told, strict=True)):
        for kind, logit in zip(kinds, logits.tolist(), strict=True):
            right[kind].append(logit > 0 if side else logit < 0)
    by_kind = {kind: sum(answers) / len(answers) for kind, answers in right.items()}
    return {"sort": sort.name, **judged(told), "grain": grain(sort.levels / 255.0), "by_kind": by_kind}


def as_markdown(result: dict[str, Any]) -> str:
    """The ladder, then every kind, the most easily told of the last sort first."""
    rows = result["rows"]
    how = "; ".join(
        f"{one['model']}: {one['sampler']}, {one['steps']} steps, guidance {one['guidance_scale']:g}"
        for one in result["painted"]
    )
    lines = [
        f"{result['clips']} clips of {result['kinds']} kinds of each sort, against as many real ones, "
        f"heard as sounds (seed {result['seed']}; {how}). Each clip is asked of a network that learnt the "
        f"others ({result['folds']} folds, {result['learning']} steps). Accuracy: 50 % is perfect; with its "
        "95 % interval. d′: standard deviations between the sorts' logits. Grain: mean step between "
        f"neighbouring columns in dB, {result['grain_real']:.2f} in the real clips.",
        "",
        "| sort | told from real ones | 95 % | d′ | grain, dB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['sort']} | {row['accuracy']:.1%} | {row['low']:.1%} to {row['high']:.1%} | {row['d']:.2f} | "
        f"{row['grain']:.2f} |"
        for row in rows
    ]
    lines += ["", "| kind | " + " | ".join(row["sort"] for row in rows) + " |"]
    lines.append("|---" * (len(rows) + 1) + "|")
    last = rows[-1]["by_kind"]
    for kind in sorted(last, key=lambda name: (-last[name], name)):
        shares = " | ".join(f"{row['by_kind'][kind]:.0%}" for row in rows)
        lines.append(f"| {kind.replace('_', ' ')} | {shares} |")
    return "\n".join(lines) + "\n"


def _sheet(like: Sort, sort: Sort, told: Tensor, path: Path) -> None:
    """Of the kinds that are told most surely: the clip that sounds least real, beside its caption's."""
    surest: dict[str, int] = {}
    for place in told[1].argsort(descending=True).tolist():
        surest.setdefault(sort.kinds[place], place)
    rows = []
    for place in list(surest.values())[:SHOWN]:
        pair = ("corpus", like.levels[place]), ("painted", sort.levels[place])
        rows.append((sort.captions[place], [(label, picture / 255.0) for label, picture in pair]))
    save_sheet(rows, path)


def _kept(folder: Path, make: Callable[[], Tensor], what: str, *facts: Any) -> Tensor:
    """A tensor from a file that hangs on `facts`, else made and left there."""
    path = folder / KEPT / f"{what}-{file_key(*facts)}.safetensors"
    if found := kept(path):
        return found["made"]
    made = make()
    keep(path, {"made": made})
    return made


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def _fingerprint(*modules: torch.nn.Module) -> str:
    """Of all weights as they are, LoRAs included."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
