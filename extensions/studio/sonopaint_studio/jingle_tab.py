"""Jingle: notes on a roll, played by an instrument."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.progress import shares
from sonopaint.jingles.notes import curves_of_notes, parse_notes, slots_of, text_of
from sonopaint_studio import widgets
from sonopaint_studio.generate_tab import chosen_seed
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Finished, Report, error_html, note_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, named

MOST = 8
KEPT = 24  # cards on the page; the library has all
TUNE = "C4:0.5:0.7 E4:0.5:0.7 G4:0.5:0.8 C5:1:1.00 -:0.25 B4:0.25:0.5 G4:1:0.6"
EMPTY = "Draw notes on the roll, choose an instrument and play them."
FREE = "any"
_ROLL_JS = "window.Sonopaint.mountRoll(element, { props, watch }, '#jingle-notes textarea');"


def roll_value(text: str) -> dict[str, Any]:
    """The notes of a text, for the roll. SonopaintError where it can't be read."""
    notes = slots_of(parse_notes(text)) if text.strip() else []
    return {"notes": notes, "text": text, "time": time.monotonic()}  # the same notes once more are news, too


class JingleTab(JobPage):
    """The page and what its buttons do. What was made belongs to the browser's tab, and to the library."""

    name = "jingle"

    def shown(self, session: Session) -> dict[str, Any]:
        """The cards, newest first."""
        return widgets.cards_value([sound.view() for sound in reversed(session.jingles)], empty=EMPTY)

    def typed(self, text: str) -> tuple[Any, str]:
        """The field was changed, by hand, by a file or by the roll: (roll, what is wrong)."""
        try:
            return roll_value(text), ""
        except SonopaintError as error:
            return gr.skip(), error_html(error)

    def read_midi(self, event: gr.EventData) -> tuple[Any, str]:
        """A MIDI file: (text, status)."""
        from sonoconvert.curves.midi import read_midi

        path, name = None, str(event.files[-1]["name"])
        try:
            path = self.context.sessions.uploaded(event.files[-1]["path"])
            text, said = text_of(read_midi(path))
            return text, note_html(" ".join(said))
        except SonopaintError as error:
            return gr.skip(), error_html(named(error, name, path))

    def play(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Put jingles into the queue and yield (status, seed, stop, cards) while they are made."""
        session = self.context.sessions.of(request)
        text, instrument, count, seed, new_seed = values
        try:
            curves = curves_of_notes(parse_notes(text or ""), "" if instrument == FREE else instrument)
            first = chosen_seed(seed, new_seed)
        except SonopaintError as error:
            yield error_html(error), *[gr.skip()] * 3
            return

        def work(report: Report) -> str:
            from sonopaint.jingles.make import make_jingles
            from sonopaint.models.jingles.file import shipped_jingle

            seeds = [first + number for number in range(int(count))]
            clips = make_jingles(
                shipped_jingle(), curves, seeds,
                progress=shares(report, "Playing"),
            )  # fmt: skip
            title = instrument if instrument != FREE else "jingle"
            for clip, number in zip(clips, seeds, strict=True):
                sound: Sound = self.context.library.keep(
                    session.new_folder, clip, title=f"{title}: {text[:40]}", stem=f"{title} {number}"
                )
                session.jingles.append(sound)
            del session.jingles[:-KEPT]
            return " ".join(curves.notes)

        size = int(count) * curves.duration_s
        self.begin(session, f"{instrument}: {text[:40]}", work, lane=PAINTING, size=size)
        yield gr.skip(), first, widgets.running(), gr.skip()
        yield from self._follow(session)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``play`` does, first what this tab has."""
        session = self.context.sessions.of(request)
        yield gr.skip(), gr.skip(), gr.skip(), self.shown(session)
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for event, told, stop in self.followed(session):
            yield told, gr.skip(), stop, self.shown(session) if isinstance(event, Finished) else gr.skip()

    def instruments(self) -> list[str]:
        """Those of the model, and whichever it likes; a page without a model says so when it is to play."""
        from sonopaint.models.jingles.file import shipped_jingle

        try:
            return [*shipped_jingle().controls.instruments, FREE]
        except SonopaintError:
            return ["piano", "violin", "trumpet", FREE]

    def build(self) -> None:
        """Lay the page out and wire it."""
        names = self.instruments()
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                text = gr.Textbox(
                    TUNE, label="Notes", lines=3, max_lines=6, elem_id="jingle-notes",
                    info="Name and octave, seconds, velocity up to 1; - is a rest.",
                )  # fmt: skip
                told = gr.HTML("", elem_id="jingle-told", apply_default_css=False)
                midi = widgets.dropzone(
                    "Or drop a MIDI file", "One note at a time is taken.", "jingle-midi", single=True
                )
                instrument = gr.Radio(names, value=names[0], label="Instrument", elem_id="jingle-instrument")
                count = gr.Slider(1, MOST, 1, step=1, label="How many", elem_id="jingle-count")
                with gr.Row(elem_classes="sp-seed"):
                    seed = gr.Number(None, label="Seed", precision=0, min_width=100, elem_id="jingle-seed")
                    new_seed = gr.Checkbox(True, label="new each time", min_width=100)
                go, stop = widgets.buttons("Play", "jingle-go")
                status = widgets.status("jingle-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                roll = widgets.mounted("jingle-roll", "roll", roll_value(TUNE), _ROLL_JS)
                cards = widgets.cards("jingles", widgets.cards_value([], empty=EMPTY))
        self.outputs = [status, seed, stop, cards]
        # Not `input`: Gradio's text fields tell that of keys only, not of what is pasted, cut or drawn.
        text.change(self.typed, text, [roll, told], **widgets.LATEST)
        midi.files(self.read_midi, None, [text, status], **widgets.EVERY)
        go.click(self.play, [text, instrument, count, seed, new_seed], self.outputs, **widgets.LONG)
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)
