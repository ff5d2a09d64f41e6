"""Make the sounds that Studio's empty page shows: python docs/make_palette.py

Every kind of sound that Mini knows, and three longer ones to begin with, painted by its one-step student. Of
some seeds the one is kept that the classifier hears as what it should be. Writes MP3, WebP and palette.json
(with the weights' hash) to extensions/studio/sonopaint_studio/assets/palette.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FORMAT
from sonoconvert.edits.loudness import at_loudness
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.view import grey
from sonopaint.knowledge import knowledge_of
from sonopaint.models.info import find_model
from sonopaint.models.loading import load_model
from sonopaint.models.sound_classifier import SoundClassifier, load_classifier
from sonopaint.models.students import with_student
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.tasks.generation import blank_canvas, sound_of
from sonopaint.tasks.result import record
from sonopaint.tasks.settings import ONE_STEP, PaintSettings
from sonotrain.data.foley import KINDS

logger = logging.getLogger("make_palette")
OUT = Path(__file__).resolve().parent.parent / "extensions/studio/sonopaint_studio/assets/palette"
DEMOS = {
    "dog": ("dog bark", "a dog barking"),
    "waves": ("ocean waves", "waves breaking on a beach"),
    "bell": ("church bell", "a church bell ringing"),
}
SEEDS = 2
SECONDS, FADE_S, LUFS = 2.6, 0.04, -20.0
SIZE = (160, 72)  # of a picture
WEBP_QUALITY = 62


def best(painter: DiffusersPainter, judge: SoundClassifier, kind: str, prompt: str) -> Clip:
    """The sound of the seed that the classifier is surest of."""
    fmt = painter.format
    canvas = blank_canvas(fmt, fmt.width, fmt.width * fmt.hop_length)
    place = judge.kinds.index(kind)
    found = []
    for seed in range(1, SEEDS + 1):
        item = PaintSettings(prompt=prompt, seed=seed, steps=1, guidance_scale=1.0, sampler=ONE_STEP)
        picture = painter.paint(canvas, item.prompt, item)
        with torch.no_grad():
            chance = judge(picture.levels()[:1]).softmax(1)[0, place].item()
        found.append((chance, item, picture))
    chance, item, picture = max(found, key=lambda one: one[0])
    logger.info("%s: seed %d, %.2f", item.prompt, item.seed, chance)
    clip = sound_of(picture, item)
    return replace(clip, settings=record("generate", painter, item, seconds=clip.duration_s))


def cut(clip: Clip) -> Clip:
    """The loudest SECONDS of it, with soft ends."""
    length, fade = round(SECONDS * clip.sample_rate), round(FADE_S * clip.sample_rate)
    power = torch.cat([torch.zeros(1), clip.waveform.square().sum(0).double().cumsum(0)])
    starts = torch.arange(0, clip.num_samples - length + 1, 320)
    first = int(starts[(power[starts + length] - power[starts]).argmax()])
    first = max(0, first - round(0.1 * clip.sample_rate))  # an attack is not cut into
    ramp = torch.ones(length)
    ramp[:fade], ramp[-fade:] = torch.linspace(0, 1, fade), torch.linspace(1, 0, fade)
    return replace(clip, waveform=clip.waveform[:, first : first + length] * ramp)


def done(name: str, model_hash: str) -> bool:
    """Whether a sound of these weights is there already: what was stopped goes on."""
    try:
        return read_clip(OUT / f"{name}.mp3", duration_s=0.1).settings["model_hash"] == model_hash
    except (SonopaintError, KeyError):
        return False


def save(clip: Clip, name: str) -> None:
    """NAME.mp3, and NAME.webp: its spectrogram in grey."""
    write_clip(clip, OUT / f"{name}.mp3", force=True)
    with atomic_path(OUT / f"{name}.webp", force=True) as beside:
        grey(encode(clip, get_format(FORMAT))).resize(SIZE).save(beside, format="WEBP", quality=WEBP_QUALITY)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    OUT.mkdir(parents=True, exist_ok=True)
    mini = find_model("mini")
    known, (judge, _) = knowledge_of(mini), load_classifier()
    assert known is not None
    path, loras = with_student(mini)
    painter = DiffusersPainter(load_model(path, loras=loras))
    kinds = []
    for kind in known.kinds:
        corpus = KINDS[kind.replace(" ", "_")]
        if not done(corpus.name, painter.model.hash):
            save(at_loudness(cut(best(painter, judge, corpus.name, corpus.doing[0])), LUFS), corpus.name)
        kinds.append({"name": corpus.name, "kind": kind, "group": corpus.group, "prompt": corpus.doing[0]})
    demos = []
    for name, (kind, prompt) in DEMOS.items():
        if not done(f"demo-{name}", painter.model.hash):
            save(best(painter, judge, kind.replace(" ", "_"), prompt), f"demo-{name}")
        demos.append({"name": f"demo-{name}", "prompt": prompt})
    about = {"model_hash": painter.model.hash, "kinds": kinds, "demos": demos}
    text = re.sub(r"\n {6,}|\n {4}(?=})", " ", json.dumps(about, indent=2))
    (OUT / "palette.json").write_text(text + "\n", encoding="utf-8")
    total = sum(path.stat().st_size for path in OUT.iterdir())
    logger.info("%d sounds, %.2f MB in %s", len(kinds) + len(demos), total / 1e6, OUT)


if __name__ == "__main__":
    main()
