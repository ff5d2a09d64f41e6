"""`sonotrain listen build`: references and methods as one offline page, blinded, and the key to it.

The protocol is Desbos 2026, section 3.8: a reference beside one variation of it, 1 to 5 for how surely both
are the same thing (S-MOS), all methods in one random list, a private key.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sonoconvert.edits.loudness import lufs
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip, read_clip
from sonotrain.data.charts import page
from sonotrain.evaluation.sets import SUFFIXES
from sonotrain.evaluation.tables import write_json
from sonotrain.files.options import option

logger = logging.getLogger(__name__)

REFERENCES, MADE = "references", "made"  # folders of a bench, too
VARIATION, REFERENCE, ANCHOR, PRACTICE = "variation", "reference", "anchor", "practice"
PAGE, KEY = "listening-test.html", "key.json"
CHECK_EVERY = 12  # of so many variations there is one hidden reference and one anchor, two of each at least
LOUD_LUFS, PEAK_DB = -23.0, -1.0  # loudness of every sound, and what no peak goes above, dBFS
HEAVY_MB = 60
# The document's vocabulary: realism, identity, transient sharpness, brightness, texture, reverberation.
WORDS = {
    "artificial": "artificial",
    "other-source": "another source",
    "softer-attack": "softer attack",
    "sharper-attack": "sharper attack",
    "duller": "duller",
    "brighter": "brighter",
    "other-texture": "other texture",
    "noisy": "noisy",
    "more-room": "more room",
    "less-room": "less room",
    "other-timing": "other timing",
    "clicks": "clicks or cuts",
}


@dataclass(frozen=True)
class ListenOptions:
    variations: int = option(5, "variations of each reference by each method")
    references: int = option(0, "references, spread over those that are there (0: all)")
    seconds: float = option(10.0, "what of a sound is heard at most")
    rate: int = option(
        16_000, "sample rate of all sounds in Hz, so that none tells its method (0: the lowest)"
    )
    title: str = option("Listening test", "heading of the page")
    seed: int = option(0, "seed of what is chosen")
    out: str = option("runs/listening", "folder for the page and the key")
    force: bool = option(False, "replace a test that is there")


@dataclass(frozen=True)
class Trial:
    """What a listener is asked once. kind: a variation, the reference itself, an anchor, or practice."""

    kind: str
    method: str
    reference: str
    file: Path


def build_test(folder: str | Path, options: ListenOptions) -> tuple[Path, Path]:
    """(the page, its key) of `folder`/references/NAME.wav and `folder`/made/METHOD/NAME/*.wav.

    Raises SonopaintError for a folder of another layout, a reference without variations of a method, and a
    test that is there already (unless forced).
    """
    if options.variations < 1 or options.references < 0 or options.seconds <= 0 or options.rate < 0:
        raise SonopaintError(
            f"{setting('variations')} must be at least 1, {setting('seconds')} above 0, "
            f"{setting('references')} and {setting('rate')} not below 0."
        )
    out = Path(options.out)
    if (out / PAGE).exists() and not options.force:
        raise SonopaintError(
            f"{out} has a test already, whose answers fit its own key only; choose another {setting('out')} "
            f"or replace it with {setting('force')}."
        )
    rng = random.Random(options.seed)
    references = _references(Path(folder), options.references)
    trials = choose_trials(Path(folder), references, options.variations, rng)
    sounds = matched([*references.values(), *(trial.file for trial in trials)], options)
    heard = [sounds[file] for file in references.values()]
    test = "s" + hashlib.sha256("".join([*sounds.values(), str(options.seed)]).encode()).hexdigest()[:10]
    # Spreadsheets make numbers of what looks like one (1e234), so every id begins with another letter.
    ids = [f"t{number:05x}" for number in rng.sample(range(16**5), len(trials))]
    numbers = {name: number for number, name in enumerate(references)}
    asked = [
        {
            "id": id,
            "reference": numbers[trial.reference],
            "sound": sounds[trial.file],
            "practice": trial.kind == PRACTICE,
        }
        for id, trial in zip(ids, trials, strict=True)
    ]
    rng.shuffle(asked)
    told = {"id": test, "title": options.title, "references": heard, "trials": asked}
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / PAGE, as_page(told), force=True)
    key = {
        "test": test,
        "title": options.title,
        "options": asdict(options),
        "trials": {
            id: {
                "kind": trial.kind,
                "method": trial.method,
                "reference": trial.reference,
                "file": str(trial.file),
            }
            for id, trial in zip(ids, trials, strict=True)
        },
    }
    write_json(out / KEY, key)
    if (size := (out / PAGE).stat().st_size / 1e6) > HEAVY_MB:
        logger.warning(
            "%s has %.0f MB, much for a phone; fewer variations, references or seconds make it smaller.",
            out / PAGE,
            size,
        )
    return out / PAGE, out / KEY


def choose_trials(
    folder: Path, references: Mapping[str, Path], variations: int, rng: random.Random
) -> list[Trial]:
    """Variations of every method and reference, hidden references, anchors, and one for practice.

    An anchor is another reference: a thing that nobody takes for this one.
    """
    methods = sorted(path.name for path in _subfolders(folder / MADE))
    if not methods:
        raise SonopaintError(
            f"{folder} has no {MADE}/METHOD/REFERENCE with sounds; put the variations there."
        )
    trials, spare = [], []
    for method in methods:
        for name in references:
            found = _sounds(folder / MADE / method / name)
            if not found:
                raise SonopaintError(
                    f"{folder / MADE / method} has no variations of {name}: put them into a folder of that "
                    "name, or leave the method out."
                )
            rng.shuffle(found)
            trials += [Trial(VARIATION, method, name, file) for file in found[:variations]]
            spare += [Trial(PRACTICE, method, name, file) for file in found[variations:] or found]
    names = list(references)
    checks = max(2, round(len(trials) / CHECK_EVERY))
    for number in range(checks):
        name = names[number % len(names)]
        trials.append(Trial(REFERENCE, "", name, references[name]))
        if others := [one for one in names if kind_of(one) != kind_of(name)]:
            trials.append(Trial(ANCHOR, "", name, references[rng.choice(others)]))
    if not any(trial.kind == ANCHOR for trial in trials):
        logger.warning("All references are of one kind, so there is no anchor; one of another kind gives it.")
    return [rng.choice(spare), *trials]


def kind_of(name: str) -> str:
    """What a reference is of, by its name without the number: "dog-2" → "dog"."""
    return name.rstrip("0123456789").rstrip("-_ ") or name


def matched(paths: Sequence[Path], options: ListenOptions) -> dict[Path, str]:
    """{file: data URI} of FLAC at one rate and one loudness, mono where all are; silent ones stay silent."""
    clips = {path: read_clip(path, duration_s=options.seconds) for path in dict.fromkeys(paths)}
    rate = options.rate or min(clip.sample_rate for clip in clips.values())
    mono = all(clip.num_channels == 1 for clip in clips.values())
    clips = {path: (clip.mono() if mono else clip).resampled(rate) for path, clip in clips.items()}
    # The sound with the highest crest decides, so that all are equally loud and none is clipped.
    own = {path: lufs(clip.waveform, rate) for path, clip in clips.items()}
    headroom = [
        PEAK_DB - 20 * math.log10(float(clip.waveform.abs().max())) + own[path]
        for path, clip in clips.items()
        if own[path] > -math.inf
    ]
    wanted = min([LOUD_LUFS, *headroom])
    return {path: _uri(clip, 10 ** ((wanted - own[path]) / 20)) for path, clip in clips.items()}


def _uri(clip: Clip, gain: float) -> str:
    import soundfile

    waveform = (clip.waveform.double() * gain).float() if math.isfinite(gain) else clip.waveform  # silence
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.T.numpy(), clip.sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def as_page(test: Mapping[str, Any]) -> str:
    """The whole page; it names no method and asks no other place for anything."""
    here = files("sonotrain.evaluation.listening")
    told = json.dumps({**test, "words": list(WORDS.items())}, ensure_ascii=False).replace("<", "\\u003c")
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    body = (
        f"<style>{style}</style><div id='place'></div>"
        "<noscript><p>This page needs JavaScript.</p></noscript>"
        f'<script id="test" type="application/json">{told}</script><script>{script}</script>'
    )
    return page(str(test["title"]), body)


def _references(folder: Path, count: int) -> dict[str, Path]:
    found = {path.stem: path for path in _sounds(folder / REFERENCES)}
    if not found:
        raise SonopaintError(
            f"{folder} has no {REFERENCES}/ with sounds; give the folder of a bench, or one with "
            f"{REFERENCES}/NAME.wav and {MADE}/METHOD/NAME/*.wav."
        )
    names = list(found)
    step = len(names) / min(count or len(names), len(names))
    return {name: found[name] for name in (names[int(i * step)] for i in range(round(len(names) / step)))}


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _sounds(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
