"""Does the result follow the curves? Mini alone, what is done after painting, the adapter, and both.

    python benchmarks/curves.py [--weights FILE …] [--kinds N|A,B] [--seeds N] [--hums N] [--out FILE]

Curves that no training saw, in captions of the plainest words: of fresh clips of each kind, smoothed as a
person would draw them ("clips"); and of hummed voices, for kinds that have a pitch ("hums"), moved by octaves
into the kind's register as doors do. One line for each way of making the sound, all from the same seeds:

mini: without curves. mini + after: its gain ridden and its pitch bent to the curves, the simple opponent.
NAME: the adapter alone (each of --weights; by default the one beside Mini). NAME + after: what doors do.

itself: the sound that the curves are of, through a picture: as near as a result can be. held: of hums, the
corpus's own sound of the kind, its steady part held and bent along the hum: what adapters learn from, and how
much of that the judge still takes for the kind. Of sketched curves,
both are smoothed by the same filters before they are compared: what is faster was not drawn.
loud r: correlation of the loudness in dB (60 dB below the loudest and less is silence), mean of the cases
whose loudness changes (by 2 dB, as deviation); of a steady one E-L1 tells.
E-L1: mean distance of the RMS envelopes, each as share of its loudest (T-Foley), and as share of mini's.
cents: share of the frames where a pitch is asked whose pitch is within 50 cents; octave: the same where
octaves don't count. bright r: correlation of the log of the brightness, where it is heard. top-1, top-3: the
shipped classifier hears the kind. s: seconds of processor time a sound.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.curves.curves import Curves, sketched
from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonopaint.models.curves import FOLLOWED
from sonopaint.models.curves_file import load_adapter
from sonopaint.models.loading import load_model
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.following import adapter_file, following, in_register
from sonopaint.tasks import PaintSettings, generate
from sonopaint.tasks.following import exactly
from sonotrain.data import foley
from sonotrain.data.foley.kinds import KINDS
from sonotrain.data.foley.sung import along
from sonotrain.data.humming import HIGH_HZ, LOW_HZ, course, hum
from sonotrain.trainers.mini.sound_classifier import load_classifier

SECONDS, RATE = 5.12, 62.5
PITCHED = ["train_horn", "violin", "flute", "owl", "siren", "cat_meow", "car_horn", "whistling"]
OTHERS = [
    "footsteps", "dog_bark", "rain", "ocean_waves", "engine", "hammer", "applause", "wind",
    "explosion", "snare_drum", "helicopter", "fire", "speech", "door_knock", "stream", "thunder",
]  # fmt: skip


HUMS = 100  # the first seed of what follows hums
SKETCHED_S = 0.1  # longest median filter of the clips' curves


def scores(asked: Curves, clip: Clip, seed: int | None = None) -> dict[str, float]:
    """How well a clip follows (see the module); `seed`: of the asked curves' sketch, None for a hum's own."""
    names = asked.names
    got = measure(clip, names, RATE).at(RATE, asked.frames)
    if seed is not None:  # a median's median is not quite the same
        asked, got = (sketched(curves, np.random.default_rng(seed), SKETCHED_S) for curves in (asked, got))
    found: dict[str, float] = {}

    def relative(values: np.ndarray) -> np.ndarray:
        return np.maximum(values - np.nanmax(values), -60.0)

    a, b = relative(asked.values["loudness"]), relative(got.values["loudness"])
    if a.std() >= 2:
        found["loud r"] = correlation(a, b)
    found["E-L1"] = float(np.abs(10 ** (a / 20) - 10 ** (b / 20)).mean())
    if "pitch" in names:
        wanted, own = asked.values["pitch"], got.values["pitch"]
        voiced = (wanted > 0) & (a > -40)
        if voiced.sum() >= 15:
            cents = 1200 * np.log2(np.maximum(own[voiced], 1e-3) / wanted[voiced])
            found["cents"] = float(np.mean((np.abs(cents) <= 50) & (own[voiced] > 0)))
            apart = np.abs((cents + 600) % 1200 - 600)
            found["octave"] = float(np.mean((apart <= 50) & (own[voiced] > 0)))
    if "brightness" in names:
        both = (
            ~np.isnan(asked.values["brightness"])
            & ~np.isnan(got.values["brightness"])
            & (a > -40)
            & (b > -40)
        )
        if both.sum() >= 15 and np.ptp(np.log2(asked.values["brightness"][both])) > 0.5:
            found["bright r"] = correlation(*(np.log(c.values["brightness"][both]) for c in (asked, got)))
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0


def cases(kinds: list[str], seeds: int, hums: int) -> list[tuple[str, str, int, Curves, Clip]]:
    """(group, kind, seed, curves, the sound that they are of)."""
    found = []
    for kind in kinds:
        sounds, _ = foley.synthesise(kind, seeds, torch.Generator().manual_seed(90_210))
        for seed, wave in enumerate(sounds):
            names = FOLLOWED if kind in PITCHED else ("loudness", "brightness", "onsets")
            clip = Clip(wave[None], foley.SAMPLE_RATE)
            asked = sketched(measure(clip, names, RATE), np.random.default_rng(seed), SKETCHED_S)
            found.append(("clips", kind, seed, asked, clip))
    for seed in range(hums):
        for kind in [kind for kind in kinds if kind in PITCHED]:
            voice = hum(np.random.default_rng([seed, len(kind)]))
            found.append(("hums", kind, HUMS + seed, measure(voice, ("loudness", "pitch"), RATE), voice))
    return found


def held(kind: str, seed: int) -> Clip:
    """The corpus's own sound of a kind along the hum of `cases`."""
    sounds, _ = foley.synthesise(kind, 1, torch.Generator().manual_seed(90_210 + seed))
    hum = course(
        np.random.default_rng([seed, len(kind)]), LOW_HZ, HIGH_HZ, sounds.shape[-1], foley.SAMPLE_RATE
    )
    wave, _ = along(sounds[0], kind, *hum, np.random.default_rng(seed))
    return Clip(0.97 * wave[None] / wave.abs().max(), foley.SAMPLE_RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="mini", help="a model's name (default: mini)")
    parser.add_argument(
        "--weights", nargs="*", type=Path, help="adapters to compare (default: beside the model)"
    )
    parser.add_argument("--kinds", default="24", help="how many, or which, with commas")
    parser.add_argument("--seeds", type=int, default=1, help="clips of each kind")
    parser.add_argument("--hums", type=int, default=1, help="hummed voices for each kind with a pitch")
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    if args.kinds.isdecimal():
        both = [kind for pair in zip(PITCHED, OTHERS, OTHERS[8:], strict=False) for kind in pair]
        kinds = both[: int(args.kinds)]
    else:
        kinds = args.kinds.split(",")
    model = load_model(args.model, device="cpu")
    judge, _ = load_classifier()
    weights = args.weights or [adapter_file(model)]
    adapters = {
        path.parent.name if path.stem == "curves" else path.stem: load_adapter(path) for path in weights
    }
    adapters = {f"{made.variant} ({name})": made for name, made in adapters.items()}
    table: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )

    def note(group: str, name: str, kind: str, asked: Curves, clip: Clip, seconds: float) -> None:
        row = table[group][name]
        for measure_name, value in scores(asked, clip, seed if group == "clips" else None).items():
            row[measure_name].append(value)
        ranks = [other for other, _ in judge.classify(clip)]
        row["top-1"].append(ranks[0] == kind)
        row["top-3"].append(kind in ranks[:3])
        row["s"].append(seconds)

    for group, kind, seed, drawn, sound in cases(kinds, args.seeds, args.hums):
        settings = PaintSettings(KINDS[kind].nouns[0].replace("|", " ").strip(), seed=1000 + seed)
        curves = in_register(drawn, DiffusersPainter(model).knowledge, settings.prompt)
        if group == "clips":
            note(group, "itself", kind, curves, decode(encode(sound, model.format)), 0.0)
        else:
            note(group, "held", kind, curves, decode(encode(held(kind, seed - HUMS), model.format)), 0.0)
        for name, adapter in {"mini": None, **adapters}.items():
            began = time.process_time()
            painter = model if adapter is None else DiffusersPainter(model, following(model, curves, adapter))
            result = generate(painter, settings, seconds=SECONDS)[0]
            painted = time.process_time()
            note(group, name, kind, curves, result.clip, painted - began)
            result = exactly(result, curves)
            note(group, f"{name} + after", kind, curves, result.clip, time.process_time() - began)

    lines = []
    for group, rows in table.items():
        count = max(len(row["s"]) for row in rows.values())
        names = ["loud r", "E-L1", "share", "cents", "octave", "bright r", "top-1", "top-3", "s"]
        lines += [f"**{group}** ({count} cases)", "", "| | " + " | ".join(names) + " |", "|---" * 10 + "|"]
        plain = float(np.mean(rows["mini"]["E-L1"]))
        for name, row in rows.items():
            cells = []
            for key in names:
                value = (
                    float(np.mean(row["E-L1"])) / plain
                    if key == "share"
                    else float(np.mean(row[key] or [np.nan]))
                )
                percent = key in ("cents", "octave", "top-1", "top-3", "share")
                cells.append("–" if np.isnan(value) else f"{value:.0%}" if percent else f"{value:.3g}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
