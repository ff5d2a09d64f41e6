"""docs/demo/blend: ten blends with their sources, spectrograms, and how near each result is to each source.

python docs/make_all.py blend_demo    (or python docs/make_blend_demo.py [--model FILE] [--out FOLDER])

Sources are clips of the foley corpus that no training saw (of a few, the one that the classifier is surest
of), and two recordings of tests/fixtures. README.md holds the table, index.html plays everything offline.
"""

from __future__ import annotations

import argparse
import html
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonopaint.blend.blending import Blender, Source
from sonopaint.models.blend.pyramid import LEVELS
from sonopaint.variations.judge import Judge
from sonotrain.data.foley.corpus import synthesise

DOCS = Path(__file__).parent
FIXTURES = DOCS.parent / "tests/fixtures"
SECONDS, RATE, CLIPS, SEED = 3.0, 32_000, 4, 2026
CURVES_HZ = 31.25
# What is blended: coarse, mid, fine, and weights other than 1.
BLENDS: list[tuple[str, str, str, dict[str, float]]] = [
    ("door_knock", "glass_break", "rain", {}),
    ("footsteps", "metal_clang", "fire", {}),
    ("horse_hooves", "snare_drum", "waterdrops", {}),
    ("dog_bark", "cow", "engine", {}),
    ("church_bell", "violin", "wind", {}),
    ("train_horn", "trumpet", "stream", {}),
    ("clock_ticking", "keyboard_typing", "keyboard_typing", {}),
    ("speech.flac", "speech.flac", "ocean_waves", {}),
    ("bell.oga", "piano", "piano", {}),
    ("applause", "machine_gun", "fire", {"fine": 1.4}),
]
SIZE = (240, 128)
MARGIN = 18  # for a line of text above each picture
Figures = dict[str, float | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model of sonotrain blend train (the shipped one)")
    parser.add_argument("--out", type=Path, default=DOCS / "demo/blend")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    names = dict.fromkeys(name for blend in BLENDS for name in blend[:3])
    sources = {name: source(name) for name in names}
    known = {name: curves_of(clip) for name, clip in sources.items()}
    for name, clip in sources.items():
        write_clip(clip, args.out / f"{stem(name)}.ogg")
    blender, entries = Blender.load(args.model), []
    for number, (*levels_of, weights) in enumerate(BLENDS, 1):
        given = dict(zip(LEVELS, levels_of, strict=True))
        made = blender.blend(
            {level: Source(sources[name], weights.get(level, 1.0)) for level, name in given.items()}, seed=1
        )[0]
        write_clip(replace(made.clip, settings={}), args.out / f"blend-{number:02}.ogg")
        sheet(number, given, sources, made.clip).save(args.out / f"blend-{number:02}.png", optimize=True)
        own = curves_of(made.clip)
        figures = {level: near(own, known[name]) for level, name in given.items()}
        entries.append({"sources": given, "weights": weights, "near": figures})
    text = {"seconds": SECONDS, "seed": 1, "model": blender.model.name, "blends": entries}
    (args.out / "measurements.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    (args.out / "README.md").write_text(readme(entries), encoding="utf-8")
    (args.out / "index.html").write_text(page(entries), encoding="utf-8")


def stem(name: str) -> str:
    return name.partition(".")[0]


def spoken(name: str) -> str:
    return stem(name).replace("_", " ")


def source(name: str) -> Clip:
    """Three seconds of a fixture or of a kind of the corpus, at peak 0.9, from where it is heard."""
    if "." in name:
        clip = read_clip(FIXTURES / name).mono().resampled(RATE)
    else:
        judge = Judge()
        waves, _ = synthesise(name, CLIPS, torch.Generator().manual_seed(SEED))
        clips = [Clip(wave[None], RATE) for wave in waves]
        heard = judge.hear(clips)
        clip = clips[int(heard.chances[:, list(heard.kinds).index(name)].argmax())]
    wave = clip.waveform
    loud = (wave.abs()[0] > 0.05 * wave.abs().max()).nonzero()
    begin = max(int(loud[0]) - RATE // 50, 0)
    wave = wave[:, begin : begin + round(SECONDS * RATE)]
    wave = torch.nn.functional.pad(wave, (0, round(SECONDS * RATE) - wave.shape[1]))
    return Clip(0.9 * wave / wave.abs().max(), RATE)


def curves_of(clip: Clip) -> Curves:
    return measure(clip, ("loudness", "pitch", "brightness"), CURVES_HZ, quick=True)


def near(result: Curves, origin: Curves) -> Figures:
    """How near a result is to a source, by their curves.

    envelope: correlation of the loudness in dB, 40 dB below the loudest and less being silence. pitch:
    median distance in semitones where both have one; None where that is under a tenth of the time.
    centroid: distance of the mean brightness in octaves.
    """
    one, other = result.values, origin.values
    frames = min(len(one["loudness"]), len(other["loudness"]))
    loud = [np.maximum(v["loudness"][:frames], np.max(v["loudness"]) - 40) for v in (one, other)]
    envelope = float(np.corrcoef(*loud)[0, 1]) if min(np.std(v) for v in loud) > 0.1 else None
    pitches = [v["pitch"][:frames] for v in (one, other)]
    both = (pitches[0] > 0) & (pitches[1] > 0)
    semitones = np.abs(12 * np.log2(pitches[0][both] / pitches[1][both]))
    octaves = [np.nanmean(np.log2(v["brightness"])) for v in (one, other)]
    return {
        "envelope": envelope,
        "pitch": float(np.median(semitones)) if both.mean() >= 0.1 else None,
        "centroid": float(abs(octaves[0] - octaves[1])),
    }


def sheet(number: int, given: dict[str, str], sources: dict[str, Clip], result: Clip) -> Image.Image:
    """The sources and the result side by side."""
    shown = [(f"{level}: {spoken(name)}", sources[name]) for level, name in given.items()]
    shown.append((f"blend {number}", result))
    image = Image.new("RGB", (len(shown) * (SIZE[0] + 6) - 6, SIZE[1] + MARGIN), "white")
    pen, fmt = ImageDraw.Draw(image), get_format("sonopaint-mini")
    for column, (title, clip) in enumerate(shown):
        wave = clip.resampled(RATE).mono().waveform
        grey = levels(wave, fmt)[0].flip(0)[:, : fmt.frames(wave.shape[1])]
        part = Image.fromarray(grey.mul(255).clamp(0, 255).byte().numpy()).resize(SIZE)
        x = column * (SIZE[0] + 6)
        image.paste(part.convert("RGB"), (x, MARGIN))
        pen.text((x + 2, 3), title, fill="black")
    return image.quantize(32, dither=Image.Dither.NONE)


def table(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Rows: blend, level, source, envelope, pitch, centroid; what is nearest in a blend is in bold."""
    rows = []
    for number, entry in enumerate(entries, 1):
        best = {key: nearest(entry["near"], key) for key in ("envelope", "pitch", "centroid")}
        for level, name in entry["sources"].items():
            figures, weight = entry["near"][level], entry["weights"].get(level)
            said = [
                written(figures[key], form, name == entry["sources"].get(best[key]))
                for key, form in (("envelope", "{:.2f}"), ("pitch", "{:.1f}"), ("centroid", "{:.2f}"))
            ]
            rows.append([str(number), f"{level} × {weight:g}" if weight else level, name, *said])
    return rows


def nearest(figures: dict[str, Figures], key: str) -> str | None:
    """The level whose source is nearest; None where none can be compared."""
    known = {level: one[key] for level, one in figures.items() if one[key] is not None}
    chosen = max if key == "envelope" else min
    return chosen(known, key=lambda level: known[level] or 0.0) if known else None


def written(value: float | None, form: str, best: bool) -> str:
    said = "–" if value is None else form.format(value)
    return f"**{said}**" if best and value is not None else said


def tally(entries: list[dict[str, Any]]) -> list[str]:
    """Of the blends of three different sounds: how often each level's source is the nearest."""
    three = [entry for entry in entries if len(set(entry["sources"].values())) == len(LEVELS)]
    lines = [f"Of the {len(three)} blends of three different sounds, the nearest source is that of the", ""]
    lines += ["| | coarse | mid | fine |", "|---|---|---|---|"]
    for key in ("envelope", "pitch", "centroid"):
        found = [nearest(entry["near"], key) for entry in three]
        lines.append(f"| {key} | " + " | ".join(str(found.count(level)) for level in LEVELS) + " |")
    return lines


def readme(entries: list[dict[str, Any]]) -> str:
    lines = [
        "# Ten blends",
        "",
        "Made by `python docs/make_blend_demo.py` with the shipped model on a processor, all with seed 1, "
        "from clips of the foley corpus that no training saw and from two recordings. "
        "[index.html](index.html) plays them offline. What is measured of each result beside each source: "
        "*envelope*, the correlation of the loudness in dB; *pitch*, the median distance in semitones where "
        "both have one; *centroid*, the distance of the mean brightness in octaves. The nearest source of a "
        "blend is in bold.",
        "",
        *tally(entries),
        "",
    ]
    rows = table(entries)
    for number, entry in enumerate(entries, 1):
        own = [row for row in rows if row[0] == str(number)]
        lines += [
            f"## {number}: " + ", ".join(dict.fromkeys(map(spoken, entry["sources"].values()))),
            "",
            f"![Spectrograms of the sources and of blend {number}](blend-{number:02}.png)",
            "",
            f"**[The blend](blend-{number:02}.ogg)**",
            "",
            "| from | sound | envelope | pitch | centroid |",
            "|---|---|---|---|---|",
            *(
                f"| {level} | [{spoken(name)}]({stem(name)}.ogg) | {' | '.join(said)} |"
                for _, level, name, *said in own
            ),
            "",
        ]
    lines.append(
        "`bell.oga` is of the freedesktop.org sound theme, © Dr. Richard Boulanger et al., CC BY 3.0."
    )
    return "\n".join(lines) + "\n"


def page(entries: list[dict[str, Any]]) -> str:
    """A page that plays all of it, without a network."""

    def heard(name: str, title: str) -> str:
        return f'<td>{html.escape(title)}<br><audio controls preload="none" src="{name}.ogg"></audio></td>'

    rows = []
    for number, entry in enumerate(entries, 1):
        cells = [heard(stem(name), f"{level}: {spoken(name)}") for level, name in entry["sources"].items()]
        cells.append(heard(f"blend-{number:02}", f"blend {number}"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
        picture = f'<img alt="Spectrograms of blend {number}" src="blend-{number:02}.png">'
        rows.append(f'<tr><td colspan="4">{picture}</td></tr>')
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.4 system-ui,sans-serif;margin:1rem auto;"
        "max-width:64rem}table{width:100%;table-layout:fixed}audio{width:100%}img{width:100%}"
    )
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Ten blends</title><style>{style}</style><h1>Ten blends</h1>"
        f"<table>{''.join(rows)}</table></html>\n"
    )


if __name__ == "__main__":
    main()
