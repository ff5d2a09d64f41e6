"""Match: the knobs of a synthesiser that make a given sound, to turn them and hear it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.progress import shares
from sonopaint_studio import widgets
from sonopaint_studio.context import Context
from sonopaint_studio.convert_tab import link, zipped
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Report, error_html, note_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, file_stem, keep

if TYPE_CHECKING:
    from sonopaint.match.matching import Matched
    from sonopaint.match.sheet import Sheet

MANY = 20  # others like it
STANDS = 1e-6  # a knob nearer than this was not turned
ACTIONS = (("send", "Edit"), ("blend", "Blend"))
EMPTY = (
    "Drop a sound: a bell, a step, an engine. What a synthesiser makes of it appears here, with its knobs."
)
AUTO = "the nearest"


@dataclass
class Bench:
    """A tab's recording, its match, and the knobs as they stand."""

    original: Sound
    matched: Matched | None = None
    sheet: Sheet | None = None
    colour: float = 0.0
    shown: Sound | None = None
    others: list[Sound] = field(default_factory=list)
    link: str = ""
    asked: int = 0  # the browser's number of the newest turn of its knobs, and of the one that is answered
    turn: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def knobs(self) -> dict[str, Any]:
        """What knobs.js shows."""
        if self.matched is None or self.sheet is None:
            return bare()
        synth = self.sheet.synth
        places = dict(zip(synth.names, synth.place(self.sheet.theta).tolist(), strict=True))
        marks = synth.place(self.matched.sheet.theta).tolist()
        rows = [
            {"name": p.name, "unit": p.unit, "low": p.low, "high": p.high, "log": p.log, "says": p.says,
             "place": places[p.name], "mark": mark, "step": self.matched.steps[p.name]}
            for p, mark in zip(synth.parameters, marks, strict=True)
        ]  # fmt: skip
        rows.append({
            "name": "colour", "unit": "", "low": 0.0, "high": 1.0, "log": False,
            "place": self.colour, "mark": 0.0, "step": self.matched.steps["colour"],
            "says": "more of the original's colour, which the synthesiser can't say",
        })  # fmt: skip
        audio = str(self.shown.clip_path) if self.shown else None
        return {"knobs": rows, "audio": audio, "turn": self.turn}

    def turn_to(self, places: Mapping[str, float]) -> None:
        """Turn the knobs that stand elsewhere than at `places` (0 to 1 each)."""
        import torch

        assert self.sheet is not None
        parameters = {parameter.name: parameter for parameter in self.sheet.synth.parameters}
        for knob in self.knobs()["knobs"]:
            name, place = knob["name"], min(max(float(places[knob["name"]]), 0.0), 1.0)
            if abs(place - knob["place"]) < STANDS:
                continue
            if name == "colour":
                self.colour = place
                continue
            value = float(parameters[name].from_unit(torch.tensor(place)))
            value = min(max(value, parameters[name].low), parameters[name].high)
            self.sheet = replace(self.sheet, values={**self.sheet.values, name: value})


def bare() -> dict[str, Any]:
    """The knobs where there are none."""
    return {"knobs": [], "audio": None}


class MatchTab(JobPage):
    """The page and what its buttons do. What was matched belongs to the browser's tab."""

    name = "match"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cards: gr.HTML

    def shown(self, session: Session) -> tuple[Any, Any, Any, Any]:
        """(the original's card, the cards, the knobs, the link to the others)."""
        bench: Bench | None = session.match
        if bench is None:
            return widgets.cards_value([], empty=EMPTY), widgets.cards_value([]), bare(), ""
        sounds = [*filter(None, [bench.shown]), *bench.others]
        compare = None
        if bench.matched is not None:
            event = bench.matched.event
            compare = {
                "before": bench.original.view(), "label": "Original", "alone": True,
                "offset": event.lead_s - event.start_s,
                "names": ["Match", *map(str, range(1, len(sounds)))],
            }  # fmt: skip
        cards = widgets.cards_value([sound.view() for sound in sounds], actions=ACTIONS, compare=compare)
        return widgets.cards_value([bench.original.view()]), cards, bench.knobs(), bench.link

    def opened(self, request: gr.Request, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        """A dropped sound: yield (status, *shown)."""
        session = self.context.sessions.of(request)
        yield note_html("Reading …"), *[gr.skip()] * 4
        try:
            _, sound = self.dropped(session, event.files)
        except SonopaintError as error:
            yield error_html(str(error)), *[gr.skip()] * 4
            return
        session.match = Bench(session.add(sound))
        yield note_html(f"{event.files[0]['name']} is here. Press Match."), *self.shown(session)

    def make(self, synth: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Put the search into the queue; yield (status, stop, *shown) while it goes on."""
        session = self.context.sessions.of(request)
        bench: Bench | None = session.match
        if bench is None:
            yield error_html(SonopaintError("Drop the sound that is to be matched first.")), *[gr.skip()] * 5
            return

        def work(report: Report) -> str:
            from sonopaint.match.matching import match

            found = match(
                bench.original.clip(), synth or "auto", source=bench.original.title,
                progress=shares(report, "Matching"),
            )  # fmt: skip
            with bench.lock:
                bench.matched, bench.sheet, bench.others, bench.link = found, found.sheet, [], ""
                bench.colour, bench.turn = 0.0, 0
                self._render(session, bench)
            return told(found)

        self.begin(session, f"Match {bench.original.title}", work, lane=PAINTING, size=60)
        yield gr.skip(), widgets.running(), *[gr.skip()] * 4
        yield from self._follow(session)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``make`` does, first what this tab has."""
        session = self.context.sessions.of(request)
        yield gr.skip(), gr.skip(), *self.shown(session)
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for _, said, stop in self.followed(session):
            yield said, stop, *self.shown(session)

    def turned(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Knobs were turned: (status, *shown), the sound made anew; nothing if turned since."""
        session = self.context.sessions.of(request)
        bench: Bench | None = session.match
        if bench is None or bench.sheet is None or bench.matched is None:
            return error_html("Match a sound first."), *[gr.skip()] * 4
        number = bench.asked = max(bench.asked, int(event.turn))
        with bench.lock:
            if int(event.turn) < bench.asked:
                return (gr.skip(),) * 5
            bench.turn = number
            bench.turn_to(event.places)
            self._render(session, bench)
            return note_html(told(bench.matched)), *self.shown(session)

    def back(self, request: gr.Request) -> tuple[Any, ...]:
        """All knobs to their marks: as ``turned``."""
        session = self.context.sessions.of(request)
        bench: Bench | None = session.match
        if bench is None or bench.matched is None:
            return error_html("Match a sound first."), *[gr.skip()] * 4
        with bench.lock:
            bench.sheet, bench.colour, bench.turn = bench.matched.sheet, 0.0, 0
            self._render(session, bench)
        return note_html(told(bench.matched)), *self.shown(session)

    def many(self, request: gr.Request) -> tuple[Any, ...]:
        """Others like it, all about as far from it to the ear: as ``turned``."""
        session = self.context.sessions.of(request)
        bench: Bench | None = session.match
        if bench is None or bench.sheet is None or bench.matched is None:
            return error_html("Match a sound first."), *[gr.skip()] * 4
        from sonopaint.match.matching import siblings

        sheets = siblings(bench.sheet, bench.matched.metric, MANY)
        bench.others = [
            self._kept(session, bench, one, f"Like it {number}") for number, one in enumerate(sheets, 1)
        ]
        paths = [sound.clip_path for sound in bench.others]
        archive = zipped(paths, session.new_folder() / f"{file_stem(bench.original.title)}-like-it.zip")
        bench.link = f'<p class="sp-all">{link(archive, "Save all as ZIP")}</p>'
        return note_html(f"{told(bench.matched)} Twenty like it lie below."), *self.shown(session)

    def sheet(self, request: gr.Request) -> tuple[Any, Any]:
        """(status, link to the parameters as JSON)."""
        session = self.context.sessions.of(request)
        bench: Bench | None = session.match
        if bench is None or bench.sheet is None:
            return error_html("Match a sound first."), gr.skip()
        path = session.new_folder() / f"{file_stem(bench.original.title)}.match.json"
        bench.sheet.write(path)
        return note_html(""), f'<p class="sp-all">{link(path, "Save the parameters (JSON)")}</p>'

    def _render(self, session: Session, bench: Bench) -> None:
        assert bench.sheet is not None
        bench.shown = self._kept(session, bench, bench.sheet, bench.sheet.synth.title)

    def _kept(self, session: Session, bench: Bench, sheet: Sheet, title: str) -> Sound:
        stem = f"{file_stem(bench.original.title)}-{sheet.synth.name}-{sheet.seed}"
        clip = sheet.play(bench.colour)
        return session.add(keep(session.new_folder(), clip, title=title, stem=stem, like=bench.original))

    def build(self) -> None:
        """Lay the page out and wire it."""
        from sonopaint.match.synths import CORPUS, SYNTHS

        names = [*CORPUS, "arpeggio"]
        choices = [(AUTO, "auto"), *((SYNTHS[name].title, name) for name in names)]
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                drop = widgets.dropzone(
                    "Drop a sound here", "What is to be made again.", "match-drop", single=True, record=True
                )
                synth = gr.Dropdown(choices, value="auto", label="Synthesiser", elem_id="match-synth")
                go, stop = widgets.buttons("Match", "match-go")
                status = widgets.status("match-status")
                knobs = widgets.turning("match-knobs")
                with gr.Row(equal_height=True):
                    back = gr.Button("Back to the match", size="sm", elem_id="match-back", min_width=80)
                    many = gr.Button("Twenty like this", size="sm", elem_id="match-many", min_width=80)
                    save = gr.Button("Parameters", size="sm", elem_id="match-save", min_width=80)
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                saved = gr.HTML("", elem_id="match-saved", apply_default_css=False)
                original = widgets.cards("match-original", widgets.cards_value([], empty=EMPTY))
                self.cards = cards = widgets.cards("match-cards", widgets.cards_value([]))
        views = [original, cards, knobs, saved]
        self.outputs = [status, stop, *views]
        drop.files(self.opened, None, [status, *views], **widgets.LONG)
        go.click(self.make, synth, self.outputs, **widgets.LONG)
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)
        knobs.turned(self.turned, None, [status, *views], **widgets.EVERY)
        back.click(self.back, None, [status, *views], **widgets.QUICK)
        many.click(self.many, None, [status, *views], **widgets.LONG)
        save.click(self.sheet, None, [status, saved], **widgets.QUICK)


def told(found: Matched) -> str:
    """How good a match is, in words."""
    from sonopaint.match.synths import SYNTHS

    others = ", ".join(f"{SYNTHS[name].title.lower()} {far:.0%}" for name, far in found.tried[1:])
    line = f"{found.sheet.synth.title}: {found.sheet.relative:.0%} away, {found.words}."
    return " ".join([line, f"Others: {others}." if others else "", *found.notes])
