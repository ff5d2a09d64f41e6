"""Which synthesiser makes this sound, and how its knobs stand then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.match.analyser import Analyser, levelled, load_analyser, shipped
from sonopaint.match.colour import colour, coloured
from sonopaint.match.draws import nearest
from sonopaint.match.event import Event, event_of
from sonopaint.match.metric import Described, described, even_steps, metric_of, secants, steps
from sonopaint.match.refine import refine
from sonopaint.match.sheet import Sheet
from sonopaint.match.synths import CORPUS, Synth, get_synth

logger = logging.getLogger(__name__)
Progress = Callable[[float], None]
STEPS = 12  # of the refinement
LIKELY = 3  # synthesisers that are tried
_NEAR = 8  # kept draws that are heard beside what the analyser says
_TRIED = 48  # random draws where none are kept
STEP = 0.03  # of ‖Φ‖: what one step of a slider changes; about what is just noticed
_TINT = 0.25  # of the original's colour: over which its slope is taken
_BEGIN = 2  # places that are refined at first; the nearer goes on
# Kinds of the shipped sound classifier, by the synthesiser that comes nearest.
KINDS = {
    "bell": ("church_bell", "bicycle_bell", "telephone", "notification", "metal_clang", "piano", "hammer"),
    "snare": ("snare_drum", "hi_hat", "cymbal", "gunshot", "machine_gun", "glass_break"),
    "kick": ("kick_drum", "heartbeat", "explosion"),
    "footsteps": ("footsteps", "horse_hooves", "keyboard_typing", "hand_saw"),
    "engine": ("engine", "helicopter", "drill", "snoring", "bee", "spaceship"),
    "siren": ("siren", "cat_meow", "baby_cry", "owl", "whistling", "flute"),
    "train_horn": ("train_horn", "car_horn", "cow", "trumpet", "violin"),
    "laser": ("laser", "robot", "bird_song", "power_up"),
    "wind": ("wind", "ocean_waves", "thunder", "vacuum_cleaner", "jet", "cheering"),
    "rain": ("rain", "stream", "fire", "applause", "waterdrops", "forest_ambience", "crickets"),
    "drum": ("door_knock", "door_slam", "acoustic_guitar", "clock_ticking"),
}
# ‖Φ(x) − Φ(y)‖ / ‖Φ(x)‖ of what one hears, in words.
WORDS = (
    (0.12, "hardly to be told apart"),
    (0.2, "close"),
    (0.3, "clearly alike"),
    (0.45, "of the same kind"),
    (9e9, "far off; no synth here makes this sound"),
)


def in_words(relative: float) -> str:
    """What a relative distance sounds like."""
    return next(words for most, words in WORDS if relative < most)


@dataclass(frozen=True)
class Matched:
    """A match: its sheet, what else was tried (names, distances), what is to be said, and the metric [D, D].

    steps: of each parameter and of "colour" in their ranges, all as large to the ear (`metric.even_steps`).
    analyser: distance of what the analyser said, before refinement; None without one.
    """

    sheet: Sheet
    event: Event
    metric: Tensor
    steps: Mapping[str, float]
    tried: tuple[tuple[str, float], ...] = ()
    analyser: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return in_words(self.sheet.relative or 0.0)


def _go_on(progress: Progress, done: float, more: float, parts: float, share: float) -> None:
    """Tell `progress` of `share` of the next `more` parts."""
    progress((done + share * more) / parts)


def match(
    clip: Clip,
    synth: str = "auto",
    *,
    count: int = STEPS,
    seed: int = 0,
    source: str = "",
    analyser: Analyser | None = None,
    progress: Progress = lambda share: None,
) -> Matched:
    """The nearest sound that a synthesiser makes; "auto": of those that are likely, the nearest.

    count: steps of the refinement, 0 for none. seed: of noise and random starts. analyser: another than the
    shipped ones. Raises SonopaintError for silence and unknown synthesisers.
    """
    if count < 0:
        raise SonopaintError(f"The refinement takes 0 steps or more, not {count}.")
    names = likely(clip) if synth == "auto" else [get_synth(synth).name]
    short = min(count, max(2, count // 3))  # all are refined a little; the nearest goes on
    parts = len(names) * short + (count - short) or 1
    found = []
    for number, name in enumerate(names):
        one = _Search(clip, get_synth(name), seed, analyser)
        one.go(short, partial(_go_on, progress, number * short, short, parts))
        found.append(one)
    best = min(found, key=lambda one: one.relative)
    best.narrow()
    done = len(names) * short
    best.go(count - short, partial(_go_on, progress, done, count - short, parts))
    tried = tuple(sorted(((one.synth.name, one.relative) for one in found), key=lambda pair: pair[1]))
    progress(1.0)
    return best.matched(source, tried)


def likely(clip: Clip, count: int = LIKELY) -> list[str]:
    """Names of the synthesisers that a sound might be of, the likeliest first.

    Half of it is what the analyser says, half what the sound classifier does; with neither, all of them.
    """
    chances = dict.fromkeys(CORPUS, 0.0)
    event = event_of(clip, get_synth(CORPUS[0]))
    if shipped(CORPUS[0]).is_file():
        for name, chance in load_analyser(shipped(CORPUS[0])).listen(event.wave)[1].items():
            chances[name] += chance
    for name, chance in _classified(clip, event).items():
        chances[name] += chance
    if not any(chances.values()):
        return list(CORPUS)
    return sorted(chances, key=lambda name: -chances[name])[:count]


def _classified(clip: Clip, event: Event) -> dict[str, float]:
    """What the shipped classifier says of the event, by synthesisers; nothing where it is not there."""
    from sonopaint.models.sound_classifier import load_classifier, shipped_classifier

    if not shipped_classifier().is_file():
        return {}
    first = int(event.start_s * clip.sample_rate)
    piece = clip.waveform[:, first : first + round(5.12 * clip.sample_rate)]
    said = dict(load_classifier()[0].classify(Clip(piece, clip.sample_rate)))
    return {name: sum(said.get(kind, 0.0) for kind in kinds) for name, kinds in KINDS.items()}


class _Search:
    """The search with one synthesiser."""

    def __init__(self, clip: Clip, synth: Synth, seed: int, analyser: Analyser | None = None) -> None:
        self.clip, self.synth, self.seed = clip, synth, seed
        self.event = event_of(clip, synth)
        self.transform = Scattering(synth.samples)
        self.descriptor: Described = described(synth, self.transform, seed)
        with torch.no_grad():
            self.wanted = self.transform(levelled(self.event.wave))
            self.analyser: float | None = None  # how far off what it says is
            self.places, self.distances = self._starts(analyser)

    def _starts(self, analyser: Analyser | None) -> tuple[Tensor, Tensor]:
        """Places to begin with [_BEGIN, D] and their distances: the nearest of draws and the analyser's."""
        tried = nearest(self.synth, self.wanted, _NEAR)
        if not len(tried):
            rng = np.random.default_rng(self.seed)
            tried = torch.from_numpy(rng.random((_TRIED, len(self.synth.parameters)))).float()
        said = self._said(analyser)
        if said is not None:
            tried = torch.cat([said[None], tried])
        away = torch.cat([(self.descriptor(part) - self.wanted).norm(dim=1) for part in tried.split(4)])
        if said is not None:
            self.analyser = float(away[0])
        best = away.argsort()[:_BEGIN]
        return tried[best], away[best]

    def _said(self, analyser: Analyser | None) -> Tensor | None:
        """The place that an analyser hears [D]; None without one of this synthesiser."""
        path = shipped(self.synth.name)
        if analyser is None and path.is_file():
            analyser = load_analyser(path)
        if analyser is None or self.synth.name not in analyser.synths:
            return None
        return analyser.listen(self.event.wave)[0][self.synth.name]

    def narrow(self) -> None:
        """Go on from the nearest place alone."""
        best = self.distances.argmin()[None]
        self.places, self.distances = self.places[best], self.distances[best]

    @property
    def relative(self) -> float:
        return float(self.distances.min() / self.wanted.norm())

    def go(self, count: int, progress: Progress) -> None:
        if count:
            self.places, self.distances = refine(
                self.descriptor, self.wanted, self.places, steps(self.synth, 3.0), count, progress
            )

    @torch.no_grad()
    def matched(self, source: str, tried: Sequence[tuple[str, float]]) -> Matched:
        synth, best = self.synth, int(self.distances.argmin())
        place = self.places[best]
        theta = synth.theta(place)
        made = synth.render(theta[None], seed=self.seed)[0]
        level = float(self.event.wave.square().mean().sqrt() / made.square().mean().sqrt().clamp_min(1e-9))
        at = self.descriptor(place[None])
        found = secants(self.descriptor, place[None], steps(synth), at)
        values = {n: p.checked(min(max(v, p.low), p.high)) for p, (n, v) in
                  zip(synth.parameters, synth.values(theta).items(), strict=True)}  # fmt: skip
        length = max(self.event.end_s - self.event.start_s, 0.1)
        missing = colour(self.event.wave, made * level, synth.rate)
        sheet = Sheet(
            synth, values, synth.seconds if synth.start < 0 else length, level, self.seed,
            missing, synth.seconds, float(self.distances[best]), self.relative, source,
        )  # fmt: skip
        tinted = self.transform(levelled(coloured(made, synth.rate, missing, synth.seconds, _TINT)))
        slopes = torch.cat([found[0].norm(dim=0), (tinted - at).norm(dim=1) / _TINT])
        even = even_steps(slopes, STEP * float(at.norm())).tolist()
        return Matched(
            sheet, self.event, metric_of(found)[0], dict(zip((*synth.names, "colour"), even, strict=True)),
            tuple(tried), self.analyser, self.event.notes,
        )  # fmt: skip


def siblings(sheet: Sheet, metric: Tensor, count: int, amount: float = 1.0, seed: int = 0) -> list[Sheet]:
    """Others like it: parameters drawn around its own, all about as far from it to the ear, and other noise.

    metric: [D, D] at its parameters. amount: 1 is about as far as ten just noticeable differences of each.
    """
    synth = sheet.synth
    rng = np.random.default_rng(seed)
    width = steps(synth, 10.0)
    # In units of ten noticeable steps, damped by its mean size: what can't be heard doesn't run away.
    scaled = width[:, None] * metric * width
    size = scaled.diagonal().mean()
    values, axes = torch.linalg.eigh(scaled + 0.1 * size * torch.eye(len(width)))
    place = synth.place(sheet.theta)
    made = []
    for number in range(count):
        z = torch.from_numpy(rng.standard_normal(len(width))).float()
        away = axes @ (z / z.norm() * (len(width) * size / values / len(width)).sqrt())
        moved = (place + amount * width * away).clamp(0, 1)
        theta = synth.values(synth.theta(moved))
        theta = {p.name: min(max(theta[p.name], p.low), p.high) for p in synth.parameters}
        made.append(replace(sheet, values=theta, seed=sheet.seed + number + 1, distance=None, relative=None))
    return made
