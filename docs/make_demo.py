"""Replay the documents' demonstration into docs/demo: python docs/make_demo.py (Mini, in Studio's engine).

A forest; "train horn" painted into its right half, its centre, its bottom-right corner and an irregular mask;
2.5 s more on the left with "train horn", then 2.5 s on the right with "dog bark"; then a part of the original
again. With --webui http://127.0.0.1:7860 the same is asked of a running WebUI (--api) and its checkpoint.

--tries N looks for seeds: 1, 2, 3 … until the shipped classifier hears the word, at most N, the best of them
otherwise. Without it the seeds in docs/demo/measurements.json are used again.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.plot import plot_spectrogram

DEMO = Path(__file__).resolve().parent / "demo"
FOREST = ("a calm forest", 4)  # prompt and seed: of eight seeds, the one that is most a forest to the judge
QUIET = 0.15  # the forest's level, below which there is room for a horn
SURE = 0.5  # a seed is good enough where the judge is as sure as this
STEPS, CFG = 20, 4.0  # what Mini's card recommends
STAMP = "sonopaint.weights"  # artefacts.py puts it beside the hosts: the weights that all this was made with
PIXELS_PER_S, HEIGHT, MARGINS = 84, 190, 116  # of the spectrograms


@dataclass(frozen=True)
class Step:
    """One edit. region, or seconds to add on a side; heard: seconds of the result that the judge is given."""

    name: str
    title: str
    source: str
    prompt: str
    kind: str
    heard: tuple[float, float]
    region: Region | None = None
    left: float = 0.0
    right: float = 0.0

    def offset(self, rate: int) -> int:
        """Samples before the source's first in the result."""
        return round(self.left * rate)

    def outline(self, duration_s: float) -> Region:
        """What to draw over the result, which lasts `duration_s`."""
        return self.region or Region((Box(0.0, self.left) if self.left else Box(duration_s - self.right),))


def irregular() -> np.ndarray:
    """A brush mask [128, 320] as a hand would draw it: one blob and two strokes; 1 = paint."""
    image = Image.new("L", (320, 128))
    draw = ImageDraw.Draw(image)
    draw.polygon([(70, 124), (84, 70), (118, 44), (160, 58), (178, 30), (214, 52), (232, 124)], fill=255)
    draw.line([(232, 112), (262, 92), (300, 104)], fill=255, width=18, joint="curve")
    draw.line([(24, 118), (48, 100), (76, 112)], fill=255, width=14, joint="curve")
    return np.asarray(image, dtype=np.float32) / 255


HORN = {"prompt": "train horn", "kind": "train_horn"}
STORY = (
    Step("half", "The right half", "forest", **HORN, heard=(2.56, 5.12), region=Region((Box(2.56),))),
    Step(
        "centre", "The centre", "forest", **HORN, heard=(1.28, 3.84),
        region=Region((Box(1.28, 3.84, 150, 6000),)),
    ),
    Step(
        "corner", "The bottom-right corner, below the birds", "forest", **HORN, heard=(2.56, 5.12),
        region=Region((Box(2.56, None, None, 2200),)),
    ),
    Step(
        "irregular", "An irregular mask", "forest", **HORN, heard=(1.12, 3.71),
        region=Region(brush=irregular()),
    ),
    Step("left", "2.5 s more on the left", "forest", **HORN, heard=(0.0, 2.5), left=2.5),
    Step(
        "right", "2.5 s more on the right", "left", "dog bark", "dog_bark", heard=(7.62, 10.12), right=2.5,
    ),
    Step(
        "over", "A part of the original again", "right", "an owl hooting", "owl", heard=(3.5, 6.5),
        region=Region((Box(3.5, 6.5),)),
    ),
)  # fmt: skip

Paint = Callable[[Step, Clip, int], Clip]


class Judge:
    """The shipped classifier on a part of a clip."""

    def __init__(self) -> None:
        from sonotrain.trainers.mini.sound_classifier import load_classifier

        self.model, _ = load_classifier()

    def __call__(self, clip: Clip, heard: tuple[float, float]) -> dict[str, float]:
        """{kind: probability}, most probable first."""
        first, stop = (round(second * clip.sample_rate) for second in heard)
        part = dataclasses.replace(clip, waveform=clip.waveform[:, first:stop])
        return dict(self.model.classify(part))


def with_mini() -> tuple[Paint, str]:
    """Mini in the tasks that Studio, the command line and the nodes share."""
    from sonopaint.models.loading import load_model
    from sonopaint.tasks import PaintSettings, extend, inpaint

    model = load_model("mini")

    def paint(step: Step, clip: Clip, seed: int) -> Clip:
        settings = PaintSettings(prompt=step.prompt, seed=seed)
        if step.region is not None:
            return inpaint(model, clip, step.region, settings)[0].clip
        return extend(model, clip, step.left, step.right, settings)[0].clip

    return paint, "Sonopaint Mini"


def in_webui(address: str) -> tuple[Paint, str]:
    """The checkpoint that a running WebUI has loaded, over the extension's API."""

    def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=1800) as answer:
            return json.load(answer)

    def paint(step: Step, clip: Clip, seed: int) -> Clip:
        with tempfile.TemporaryDirectory() as folder:
            sent, painted = Path(folder) / "sent.flac", Path(folder) / "painted.flac"
            write_clip(clip, sent)
            body = {
                "audio": base64.b64encode(sent.read_bytes()).decode("ascii"),
                "audio_format": "flac",
                "prompt": step.prompt,
                "seed": seed,
                "steps": STEPS,
                "cfg_scale": CFG,
                "sampler": "DPM++ 2M",
                "format": "sonopaint-mini",
            }
            if step.region is not None:
                answer = ask("/sonopaint/v1/inpaint", body | {"region": as_json(step.region, Path(folder))})
            else:
                sides = {"left": step.left, "right": step.right}
                answer = ask("/sonopaint/v1/outpaint", body | sides)
            painted.write_bytes(base64.b64decode(answer["sounds"][0]["audio"]))
            return read_clip(painted)

    return paint, str(ask("/sdapi/v1/options")["sd_model_checkpoint"]).split(" ")[0]


def as_json(region: Region, folder: Path) -> dict[str, Any]:
    """A region as the API takes it."""
    names = {"start": "start_s", "end": "end_s", "low": "low_hz", "high": "high_hz"}
    boxes = [{name: getattr(box, field) for name, field in names.items()} for box in region.boxes]
    if region.brush is None:
        return {"boxes": boxes}
    save_mask(region.brush, folder / "brush.png")
    return {"boxes": boxes, "brush": base64.b64encode((folder / "brush.png").read_bytes()).decode("ascii")}


def save_mask(brush: np.ndarray, path: Path) -> None:
    Image.fromarray((brush * 255).astype(np.uint8)).save(path, optimize=True)


def make_forest(judge: Judge) -> None:
    """docs/demo/forest.flac, from which everything starts."""
    from sonopaint.models.loading import load_model
    from sonopaint.tasks import PaintSettings, generate

    prompt, seed = FOREST
    clip = generate(load_model("mini"), PaintSettings(prompt=prompt, seed=seed))[0].clip
    clip = dataclasses.replace(clip, waveform=QUIET * clip.waveform)
    write_clip(clip, DEMO / "forest.flac", force=True)
    print(f"forest: the judge hears {told(judge(clip, (0, clip.duration_s)))}")


def told(chances: dict[str, float]) -> str:
    return ", ".join(f"{kind} {chance:.2f}" for kind, chance in list(chances.items())[:3])


def play(step: Step, source: Clip, paint: Paint, judge: Judge, seeds: range) -> tuple[Clip, dict[str, Any]]:
    """The step with the first seed that the judge is sure of, otherwise the best; and what was measured."""
    best: tuple[float, int, Clip] | None = None
    named = 0
    for seed in seeds:
        clip = through_a_file(paint(step, source, seed))
        chances = judge(clip, step.heard)
        named += next(iter(chances)) == step.kind
        print(f"{step.name}, seed {seed}: {told(chances)}", flush=True)
        if best is None or chances[step.kind] > best[0]:
            best = chances[step.kind], seed, clip
        if chances[step.kind] >= SURE:
            break
    assert best is not None
    chance, seed, clip = best
    before = judge(source, step.heard)[step.kind] if step.region is not None else None
    kept, changed = untouched(step, source, clip)
    return clip, {
        "prompt": step.prompt,
        "seed": seed,
        "tried": seed - seeds.start + 1 if chance >= SURE else len(seeds),
        "named": named,
        "seconds": round(clip.duration_s, 4),
        "kind": step.kind,
        "chance": round(chance, 3),
        "chance_before": None if before is None else round(before, 3),
        "heard": {kind: round(p, 3) for kind, p in list(judge(clip, step.heard).items())[:3]},
        "samples_outside": kept,
        "changed_outside": changed,
    }


def through_a_file(clip: Clip) -> Clip:
    """The clip as a 16-bit file holds it: what the next step, and a listener, gets."""
    with tempfile.TemporaryDirectory() as folder:
        write_clip(clip, Path(folder) / "sound.flac", subtype="16")
        return read_clip(Path(folder) / "sound.flac")


def untouched(step: Step, source: Clip, clip: Clip) -> tuple[int, int]:
    """Samples outside the mask and its feather, and how many of them are not the source's own."""
    rate, count = source.sample_rate, source.num_samples
    own = clip.waveform[:, step.offset(rate) : step.offset(rate) + count]
    outside = torch.ones(count, dtype=torch.bool)
    if step.region is not None:
        for start, end in step.region.time_support(source.duration_s):
            outside[int(start * rate) : int(np.ceil(end * rate)) + 1] = False
    return int(outside.sum()), int((own != source.waveform)[:, outside].any(dim=0).sum())


def draw(step: Step, source: Clip, clip: Clip, path: Path) -> None:
    """Before above, after below, at one scale of time."""

    def size(one: Clip) -> tuple[int, int]:
        return MARGINS + round(one.duration_s * PIXELS_PER_S), HEIGHT

    outline = step.outline(clip.duration_s)
    before = plot_spectrogram(source, size=size(source), region=step.region)
    after = plot_spectrogram(clip, size=size(clip), region=outline)
    sheet = Image.new("RGB", (after.width, 2 * HEIGHT), (255, 255, 255))
    sheet.paste(before, (round(step.left * PIXELS_PER_S), 0))
    sheet.paste(after, (0, HEIGHT))
    sheet.quantize(96).save(path, optimize=True)


def perform(folder: Path, paint: Paint, judge: Judge, tries: int, before: dict[str, Any]) -> dict[str, Any]:
    """The whole story into `folder`: NAME.ogg and NAME.png of each step; returns what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    clips, measured = {"forest": read_clip(DEMO / "forest.flac")}, {}
    for step in STORY:
        source, last = clips[step.source], before.get(step.name)
        seeds = range(1, tries + 1) if tries or last is None else range(last["seed"], last["seed"] + 1)
        clip, found = play(step, source, paint, judge, seeds)
        if last is not None and not tries:
            found |= {name: last[name] for name in ("tried", "named")}
        clips[step.name], measured[step.name] = clip, found
        write_clip(clip, folder / f"{step.name}.ogg", force=True)
        draw(step, source, clip, folder / f"{step.name}.png")
        outside = f"{found['changed_outside']} of {found['samples_outside']} samples outside changed"
        print(f"{step.name}: seed {found['seed']}, {found['seconds']} s, {outside}")
    return measured


HEAD = """# The demonstration

Spectrograms of edits, before (above) and after (below), with what was to be painted outlined in white. All of
this page is written by `docs/make_demo.py`; nothing is touched up.
"""
SOURCE = """## The forest

![A forest: wind in leaves, and birds between 2.5 and 4.5 s](forest.png)

[forest.flac](forest.flac) is Mini's own: `sonopaint generate "{prompt}" --seed {seed}`, made quieter. Of the
seeds 0 to 7 the classifier takes six for a forest, and this one most surely. With more words Mini's forests
mostly fail, see [its card](../../weights/mini/README.md).
"""
HOSTS = {
    "studio": """## With Sonopaint Mini, in Studio's engine

`python docs/make_demo.py` makes these again. Seeds were looked for with `--tries {most}` in this forest, a
little louder: 1, 2, 3 … until the shipped classifier, which hears the outlined seconds only, is at least 50 %
sure of the word; where it never is, the best of {most}. Mini paints the word, not the word in a forest: where
the horn ends, nothing is left.
""",
    "webui": """## In AUTOMATIC1111

The same masks, words and seeds, sent to the extension's [API](../webui_api.md) by
`python docs/make_demo.py --webui http://127.0.0.1:7860`, painted by the checkpoint `{model}`
([how Mini gets there](../webui.md)). The same seeds make nearly the same sounds as in Studio.
""",
}
TABLE = """| edit | words | seed | seeds tried | word heard first in | judge's chance of the word, before → after | judge hears | length | samples outside the mask: changed |
|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501


def page(measured: dict[str, Any]) -> str:
    """docs/demo/README.md."""
    parts = [HEAD, SOURCE.format(prompt=FOREST[0], seed=FOREST[1])]
    for host, about in HOSTS.items():
        if host not in measured:
            continue
        found = measured[host]["steps"]
        parts.append(about.format(model=measured[host]["model"], most=measured[host]["tries"]))
        rows = [row(step, host, found[step.name]) for step in STORY]
        parts.append(TABLE + "\n".join(rows) + "\n")
        parts += [
            f"### {step.title}: {step.prompt}\n\n![Before and after]({host}/{step.name}.png)\n"
            for step in STORY
        ]
    stamp = f"<!-- {STAMP}: {measured[STAMP]} -->\n" if STAMP in measured else ""
    return "\n".join(parts) + stamp


def row(step: Step, host: str, found: dict[str, Any]) -> str:
    before = "new time" if found["chance_before"] is None else f"{found['chance_before']:.0%}"
    cells = [
        f"[{step.title}]({host}/{step.name}.ogg)",
        found["prompt"],
        found["seed"],
        found["tried"],
        f"{found['named']} of {found['tried']}",
        f"{before} → **{found['chance']:.0%}**",
        ", ".join(f"{kind.replace('_', ' ')} {chance:.0%}" for kind, chance in found["heard"].items()),
        f"{found['seconds']:.2f} s",
        f"{found['changed_outside']} of {found['samples_outside']:,}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--webui", metavar="URL", help="ask this running WebUI instead of painting here")
    parser.add_argument("--tries", type=int, default=0, metavar="N", help="look for new seeds (see above)")
    parser.add_argument("--page", action="store_true", help="only write the README from what was measured")
    options = parser.parse_args()
    facts = DEMO / "measurements.json"
    DEMO.mkdir(exist_ok=True)
    measured = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {}
    if not options.page:
        judge = Judge()
        if not (DEMO / "forest.flac").exists():
            make_forest(judge)
        forest = read_clip(DEMO / "forest.flac")
        if not options.webui:
            size = (MARGINS + round(forest.duration_s * PIXELS_PER_S), HEIGHT)
            plot_spectrogram(forest, size=size).quantize(96).save(DEMO / "forest.png", optimize=True)
            save_mask(irregular(), DEMO / "irregular-mask.png")
        host = "webui" if options.webui else "studio"
        # The WebUI gets the seeds that Studio was given, unless it has, or is to look for, its own.
        last = measured.get(host) or measured.get("studio", {})
        paint, model = in_webui(options.webui.rstrip("/")) if options.webui else with_mini()
        steps = perform(DEMO / host, paint, judge, options.tries, last.get("steps", {}))
        tries = options.tries or last.get("tries", 1)
        measured[host] = {"model": model, "tries": tries, "steps": steps}
        facts.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (DEMO / "README.md").write_text(page(measured), encoding="utf-8")
    print(f"Wrote {DEMO / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
