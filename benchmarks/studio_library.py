"""Studio's library with many sounds: how long the index takes from nothing, and a search.

Writes folders as Studio does (a short sound with its settings in each), makes the index from the files, then
compares it with them again as at every start, and searches.

Run: python benchmarks/studio_library.py [--sounds 10000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sonoconvert.files.clip import Clip, write_clip

KINDS = ("dog barking", "train horn", "owl hooting", "glass breaking", "church bell", "didgeridoo")
PLACES = ("in a cave", "in the rain", "far away", "at night", "on a beach")
SEARCHES = ("dog", "train ra", "bell night", "zither")


def fill(root: Path, sounds: int) -> None:
    """`sounds` folders of 100 to a day, each with one WAV of 0.1 s."""
    chance = random.Random(0)
    samples = torch.zeros(1, 3200)
    for number in range(sounds):
        prompt = f"a {chance.choice(KINDS)} {chance.choice(PLACES)}"
        folder = root / f"2026-{1 + number // 2800:02d}-{1 + number // 100 % 28:02d}" / f"sound-{number}"
        folder.mkdir(parents=True)
        settings = {"task": "generate", "prompt": prompt, "seed": number, "model": "mini"}
        write_clip(Clip(samples, 32_000, settings=settings), folder / f"sound-{number}.wav")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    from sonopaint_studio.library import Library

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        fill(library.root, options.sounds)
        made = seconds(library.search)
        found = library.search(count=1).total
        assert found == options.sounds, f"{found} of {options.sounds} sounds are in the index"
        again = seconds(Library(library.root).search)
        searches = [seconds(lambda words=words: library.search(words)) for words in SEARCHES * 5]
        print(f"{options.sounds} sounds: index from nothing {made:.1f} s, at a start {again:.2f} s,")
        print(f"a search {1000 * statistics.median(searches):.1f} ms (median of {len(searches)})")


if __name__ == "__main__":
    main()
