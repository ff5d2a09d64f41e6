"""Blend: the coarse of one sound, the mid of another, the fine of a third."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.progress import shares
from sonopaint.blend.blending import HEAVIEST, LONGEST_S
from sonopaint.models.blend.pyramid import LEVELS
from sonopaint_studio import widgets
from sonopaint_studio.context import Context
from sonopaint_studio.generate_tab import chosen_seed
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Finished, Report, error_html, note_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound

MOST = 8
KEPT = 24  # cards on the page; the library has all
SAYS = {
    "coarse": "What changes by the half second.",
    "mid": "By the quarter second. Empty: as the first.",
    "fine": "By the eighth of a second. Empty: as the first.",
}
SWAPS = (("coarse", "mid"), ("mid", "fine"), ("coarse", "fine"))
SOURCE_ACTIONS = (("remove", "Take out"),)
ACTIONS = (("send", "Edit"), ("blend", "Blend"))
EMPTY = (
    "Drop two or three sounds on the left: a door, a rattle, gravel. They appear here, and what they make."
)


@dataclass
class Desk:
    """A tab's sources by level, and what was made, oldest first."""

    sources: dict[str, Sound] = field(default_factory=dict)
    made: list[Sound] = field(default_factory=list)


class BlendTab(JobPage):
    """The page and what its buttons do. Sources belong to the browser's tab; results to the library, too."""

    name = "blend"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cards: gr.HTML
        self.status: gr.HTML
        self.sources: gr.HTML

    # What the page shows --------------------------------------------------------------------------

    def shown(self, session: Session) -> tuple[Any, Any]:
        """(the sources, the results with a bar to compare them with the sources)."""
        desk = desk_of(session)
        sources = [
            sound.view() | {"key": f"{level}:{sound.key}", "title": f"{level.capitalize()}: {sound.title}"}
            for level, sound in in_order(desk)
        ]
        results = [sound.view() for sound in reversed(desk.made)]
        compare = None
        if sources and results:
            pairs = [(level.capitalize(), sound.view()) for level, sound in in_order(desk)]
            (label, before), *others = pairs
            compare = {"before": before, "label": label, "others": others, "offset": 0.0, "alone": True}
        return (
            widgets.cards_value(sources, actions=SOURCE_ACTIONS, empty=EMPTY),
            widgets.cards_value(results, actions=ACTIONS, compare=compare),
        )

    # Sources --------------------------------------------------------------------------------------

    def opened(self, level: str, request: gr.Request, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        """A sound was dropped or recorded for a level: yield (status, *shown)."""
        session = self.context.sessions.of(request)
        yield note_html("Reading …"), gr.skip(), gr.skip()
        try:
            _, sound = self.dropped(session, event.files[-1:])
        except SonopaintError as error:
            yield error_html(str(error)), gr.skip(), gr.skip()
            return
        desk_of(session).sources[level] = session.add(sound)
        yield note_html(f"{sound.title} is the {level}."), *self.shown(session)

    def take(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A sound of another page, or a result, for the first level that has none: (page, status, *shown)."""
        session = self.context.sessions.of(request)
        sound = self.context.sound(session, str(event.key))
        if sound is None:
            return gr.skip(), error_html("This sound is no longer there."), gr.skip(), gr.skip()
        desk = desk_of(session)
        level = next((level for level in LEVELS if level not in desk.sources), LEVELS[0])
        desk.sources[level] = sound
        told = note_html(f"{sound.title} is the {level}.")
        return gr.update(selected=self.name), told, *self.shown(session)

    def swap(self, one: str, other: str, request: gr.Request) -> tuple[Any, ...]:
        """Two levels change their sounds: (status, *shown)."""
        session = self.context.sessions.of(request)
        sources = desk_of(session).sources
        kept = {one: sources.pop(other, None), other: sources.pop(one, None)}
        sources.update({level: sound for level, sound in kept.items() if sound is not None})
        return note_html(""), *self.shown(session)

    def remove(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A level's sound is taken out: (status, *shown)."""
        session = self.context.sessions.of(request)
        desk_of(session).sources.pop(str(event.key).partition(":")[0], None)
        return note_html(""), *self.shown(session)

    # Gradio asks handlers for their annotations and whether they yield, which a partial does not say.

    def _opens(self, level: str) -> Callable[..., Any]:
        def opened(request: gr.Request, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
            yield from self.opened(level, request, event)

        return opened

    def _swaps(self, one: str, other: str) -> Callable[..., Any]:
        def swap(request: gr.Request) -> tuple[Any, ...]:
            return self.swap(one, other, request)

        return swap

    # Making ---------------------------------------------------------------------------------------

    def make(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Put blends into the queue and yield (status, seed, stop, *shown) while they are made."""
        session = self.context.sessions.of(request)
        *weights, seconds, count, seed, new_seed = values
        desk = desk_of(session)
        sources = dict(in_order(desk))
        try:
            if not sources:
                raise SonopaintError("Drop the sounds that are to be blended first.")
            first = chosen_seed(seed, new_seed)
        except SonopaintError as error:
            yield error_html(error), *[gr.skip()] * 4
            return
        names = ", ".join(dict.fromkeys(sound.title for sound in sources.values()))

        def work(report: Report) -> str:
            from sonopaint.blend.blending import Blender, Source

            clips = {sound.key: sound.clip() for sound in sources.values()}
            spare = next(iter(sources.values()))
            found = {
                level: Source(clips[sources.get(level, spare).key], float(weight))
                for level, weight in zip(LEVELS, weights, strict=True)
            }
            blends = Blender.load().blend(
                found, seconds=seconds or None, seed=first, count=int(count),
                progress=shares(report, "Blending"),
            )  # fmt: skip
            for number, one in enumerate(blends, first):
                told = {"source": names, "sources": {level: sound.title for level, sound in sources.items()}}
                clip = dataclasses.replace(one.clip, settings=one.clip.settings | told)
                sound = self.context.library.keep(
                    session.new_folder, clip, title=f"Blend {number}", stem=f"blend {names[:32]} {number}"
                )
                desk.made.append(sound)
            del desk.made[:-KEPT]
            return " ".join(blends[0].notes)

        size = int(count) * (seconds or max(sound.duration_s for sound in sources.values()))
        self.begin(session, f"Blend {names}", work, lane=PAINTING, size=size)
        yield gr.skip(), first, widgets.running(), gr.skip(), gr.skip()
        yield from self._follow(session)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``make`` does, first what this tab has."""
        session = self.context.sessions.of(request)
        yield gr.skip(), gr.skip(), gr.skip(), *self.shown(session)
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for event, told, stop in self.followed(session):
            views = self.shown(session) if isinstance(event, Finished) else (gr.skip(), gr.skip())
            yield told, gr.skip(), stop, *views

    def dice(self) -> tuple[int, bool]:
        """Another seed, which stays: (seed, new each time)."""
        return random.randrange(widgets.SEED_LIMIT), False  # noqa: S311 - a seed is no secret

    # The page -------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay the page out and wire it."""
        drops: dict[str, gr.HTML] = {}
        weights: list[gr.Slider] = []
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                for level in LEVELS:
                    drops[level] = widgets.dropzone(
                        level.capitalize(), SAYS[level], f"blend-{level}", single=True, record=True
                    )
                    weights.append(
                        gr.Slider(
                            0, HEAVIEST, 1, step=0.05, label=f"How much of the {level}",
                            elem_id=f"blend-{level}-weight",
                        )
                    )  # fmt: skip
                with gr.Row(elem_classes="sp-pair"):
                    seconds = gr.Number(
                        0, label="Seconds (0: same)", minimum=0, maximum=LONGEST_S, step=0.1,
                        min_width=140, elem_id="blend-seconds",
                    )  # fmt: skip
                    count = gr.Slider(
                        1, MOST, 2, step=1, label="How many", min_width=140, elem_id="blend-count"
                    )
                with gr.Row(elem_classes="sp-seed"):
                    seed = gr.Number(None, label="Seed", precision=0, min_width=80, elem_id="blend-seed")
                    dice = gr.Button("Dice", size="sm", min_width=50, elem_id="blend-dice")
                    new_seed = gr.Checkbox(True, label="new each time", min_width=100)
                go, stop = widgets.buttons("Blend", "blend-go")
                self.status = status = widgets.status("blend-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                self.sources = sources = widgets.cards("blend-sources", widgets.cards_value([], empty=EMPTY))
                with gr.Row(elem_classes="sp-bar"):
                    swaps = [
                        gr.Button(f"Swap {one} and {other}", size="sm", elem_id=f"blend-swap-{one}-{other}")
                        for one, other in SWAPS
                    ]
                self.cards = cards = widgets.cards("blends", widgets.cards_value([]))
        views = [sources, cards]
        self.outputs = [status, seed, stop, *views]
        for level, drop in drops.items():
            drop.files(self._opens(level), None, [status, *views], **widgets.LONG)
        for pair, button in zip(SWAPS, swaps, strict=True):
            button.click(self._swaps(*pair), None, [status, *views], **widgets.QUICK)
        sources.remove(self.remove, None, [status, *views], **widgets.EVERY)
        dice.click(self.dice, None, [seed, new_seed], **widgets.QUICK)
        inputs = [*weights, seconds, count, seed, new_seed]
        go.click(self.make, inputs, self.outputs, **widgets.LONG)
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)

    def wire(self, tabs: gr.Tabs, *cards: gr.HTML) -> None:
        """Sounds of other pages (`cards`) and results can become sources."""
        for others in (self.cards, *cards):
            others.blend(self.take, None, [tabs, self.status, self.sources, self.cards], **widgets.QUICK)


def desk_of(session: Session) -> Desk:
    """The tab's, made when it is new."""
    if session.blend is None:
        session.blend = Desk()
    desk: Desk = session.blend
    return desk


def in_order(desk: Desk) -> list[tuple[str, Sound]]:
    """The sources that are there, coarse first."""
    return [(level, desk.sources[level]) for level in LEVELS if level in desk.sources]
