"""How near two sounds are: copies, takes of one thing, sounds of one kind, sounds of different kinds.

The thresholds of ``sonopaint.variations.judge`` come from here:

    python benchmarks/variation_thresholds.py
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import torch

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonopaint.variations.judge import COPY, DRIFT, Judge, distances
from sonopaint.variations.measures import onset
from sonotrain.data.foley import BASE_KINDS
from sonotrain.data.foley.corpus import batch
from sonotrain.data.foley.subjects import SUBJECTS, subject_clips

RATE = 32_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=6, help="of each kind")
    parser.add_argument("--seed", type=int, default=777, help="Mini and the classifier saw other ones")
    args = parser.parse_args()
    judge, fmt = Judge(), get_format("sonopaint-mini")
    kinds = list(BASE_KINDS)[::2]
    made = batch(args.clips * len(kinds), args.seed, kinds, relations=(("single", 1.0),), captions=1)
    names = [pair[0] for pair in made.kinds]
    print(f"a copy: below {COPY:g}; drifted: above {DRIFT:g}; {len(names)} clips of {len(kinds)} kinds\n")
    print(f"{'pairs':34} {'1 %':>7} {'10 %':>7} {'50 %':>7} {'90 %':>7} {'99 %':>7}")
    some = [Clip(wave[None], RATE) for wave in made.waveforms[:: args.clips]]
    again = [decode(encode(clip, fmt)) for clip in some]
    tell(
        "through a picture and back", distances(*(judge.hear(set_).features for set_ in (some, again))).diag()
    )
    for seconds in (None, 1.0):
        length = "whole" if seconds is None else f"{seconds:g} s"
        features = judge.hear([cut(wave, seconds) for wave in made.waveforms]).features
        apart = distances(features, features)
        pairs = list(itertools.combinations(range(len(names)), 2))
        for same, label in ((True, "one kind"), (False, "different kinds")):
            chosen = [apart[i, j] for i, j in pairs if (names[i] == names[j]) == same]
            tell(f"{label}, {length}", torch.stack(chosen))
        for subject in SUBJECTS:
            heard = judge.hear([cut(wave, seconds) for wave in subject_clips(subject, 12, 3)]).features
            tell(f"takes of {subject}, {length}", distances(heard, heard)[~torch.eye(12, dtype=torch.bool)])


def cut(wave: torch.Tensor, seconds: float | None) -> Clip:
    """A clip, or `seconds` of it from its onset on."""
    if seconds is None:
        return Clip(wave[None], RATE)
    count = round(seconds * RATE)
    start = min(max(onset(wave[None]) - RATE // 100, 0), len(wave) - count)
    return Clip(wave[None, start : start + count], RATE)


def tell(label: str, values: torch.Tensor) -> None:
    print(f"{label:34} " + " ".join(f"{v:7.4f}" for v in np.percentile(values.numpy(), [1, 10, 50, 90, 99])))


if __name__ == "__main__":
    main()
