"""docs/demo/variations: three soundbanks by `sonopaint variations`, with their figures and pages.

python docs/make_variation_demo.py [--count 8]

The references are single events of the foley corpus, from a seed that no training saw; of some, the one
that the classifier is surest of.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from sonoconvert.files.clip import Clip, write_clip
from sonopaint.cli import main as sonopaint
from sonopaint.variations.deliver import LIST, REFERENCE
from sonopaint.variations.judge import Judge
from sonopaint.variations.reference import events, part
from sonotrain.data.foley.corpus import synthesise

RATE = 32_000
# name: (kind of the corpus, words, seconds, strength)
BANKS = {
    "footstep": ("footsteps", "footsteps", 0.4, 0.7),
    "laser": ("laser", "a laser gun firing", 0.7, 0.5),
    "dog": ("dog_bark", "a dog barking", 0.6, 0.6),
}
CLIPS, SEED = 8, 2026


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "demo/variations")
    args = parser.parse_args()
    for name, (kind, words, seconds, strength) in BANKS.items():
        folder = args.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        source = args.out / f"{name}.wav"
        write_clip(reference(kind, seconds), source, force=True)
        command = ["variations", str(source), words, "--count", str(args.count), "--strength", str(strength)]
        if sonopaint([*command, "--seed", "1", "--name", name, "-o", str(folder), "--quiet", "--force"]):
            raise SystemExit(f"{name} could not be made")
        source.unlink()  # it lies in the folder as reference.wav
    write_readme(args.out)


def reference(kind: str, seconds: float) -> Clip:
    """One event of a kind, cut to its first `seconds`."""
    judge = Judge()
    waves, _ = synthesise(kind, CLIPS, torch.Generator().manual_seed(SEED))
    found: list[tuple[float, Clip]] = []
    for wave in waves:
        whole = Clip(0.9 * wave[None], RATE)
        for start, end in events(whole)[1:4] or events(whole):
            if end - start < 0.15:
                continue
            clip = part(whole, start, min(seconds, whole.duration_s - start))
            length = round(seconds * RATE)
            own = torch.nn.functional.pad(clip.waveform, (0, max(length - clip.num_samples, 0)))
            stop = min(round((end - start) * RATE), length)
            fade = torch.ones(length)
            fade[stop:] = 0
            reach = min(RATE // 100, stop)
            fade[stop - reach : stop] = torch.linspace(1, 0, reach)
            clip = Clip((own * fade).contiguous(), RATE)
            heard = judge.hear([clip])
            found.append((float(heard.chances[0, list(heard.kinds).index(kind)]), clip))
    return max(found, key=lambda one: one[0])[1]


def write_readme(folder: Path) -> None:
    """The figures that variations.json says."""
    lines = [
        "# Three soundbanks",
        "",
        "Made by `python docs/make_variation_demo.py` with Mini on a processor, from events of the foley "
        "corpus that no training saw. Each folder has its own page (`index.html`), which plays it offline.",
        "",
        "| bank | variations | of candidates | left out | diversity | alignment | largest |onset| (ms) | "
        "largest loudness difference (LU) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in BANKS:
        facts = json.loads((folder / name / LIST).read_text(encoding="utf-8"))
        all_, each = facts["figures"], facts["variations"]
        left = ", ".join(f"{count} {why}" for why, count in all_["left_out"].items()) or "none"
        lines.append(
            f"| [{name}]({name}/index.html) | {all_['count']} | {all_['candidates']} | {left} | "
            f"{all_['diversity']:.3f} | {all_['alignment']:.3f} | "
            f"{max(abs(v['onset_ms']) for v in each):g} | {max(abs(v['loudness_lu']) for v in each):.2f} |"
        )
    lines = [line.replace("largest |onset| (ms)", "largest onset deviation (ms)") for line in lines]
    for name in BANKS:
        lines += ["", f"![{name}: {REFERENCE} framed, then its variations]({name}/sheet.png)"]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
