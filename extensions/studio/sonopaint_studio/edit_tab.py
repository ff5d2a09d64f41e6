"""Edit: a sound whose spectrogram is painted on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.defaults import FEATHER_S, SURROUNDINGS, UNSAID_FORMAT
from sonoconvert.edits.region import Region
from sonoconvert.edits.source import is_png, open_source
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat, get_format
from sonopaint.samplers import SAMPLERS
from sonopaint.tasks.settings import EXTEND_S, VARY_STRENGTH
from sonopaint_studio import curves_part, heal_part, palette, widgets
from sonopaint_studio.context import Chosen, Context, ModelBar
from sonopaint_studio.disk import room
from sonopaint_studio.edit_part import asked, painting, read_region
from sonopaint_studio.generate_tab import paint_settings
from sonopaint_studio.history import Step
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Finished, error_html, note_html
from sonopaint_studio.recall import recall
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, keep, named

LABELS = {"Repaint": "Repaint", "Extend": "Extend", "Loop": "Make a loop", "Vary": "Vary", "Heal": "Heal"}
HINTS = {
    "Repaint": "Only what is marked changes. Every other sample stays as it is.",
    "Extend": "New sound before or after; the sound itself stays as it is.",
    "Loop": "Repaints around the ends, so that it plays round and round without a seam.",
    "Vary": "The whole sound, a little or very different.",
    "Heal": heal_part.HINT,
}
FITS = list(zip(("As around it", "Added to what is there", "As painted"), SURROUNDINGS, strict=True))
RESULT_ACTIONS = (("source", "Go on with this"),)
EMPTY = "The result appears here, to compare with the sound above."
MAX_TAKES = 8
FOLLOWING = ("Repaint", "Vary")  # what follows curves
CURVES = (
    "Draw how loud, how high and how bright it is to be, and when, over the time of the sound; what is not "
    "drawn is the model's choice. Or hum it. Vary keeps to them; Repaint does in what is marked."
)


class EditTab(JobPage):
    """The page and what its buttons do."""

    name = "edit"
    stopping = "Stopping after this step …"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.canvas: gr.HTML
        self.after: gr.HTML
        self.status: gr.HTML
        self.offer: gr.Button
        self.curves = curves_part.CurvesPart(context, "edit-curves", CURVES)
        self.fields: list[Any]  # that a page which is loaded again finds as they were

    # What the page shows --------------------------------------------------------------------------

    def shown(self, session: Session) -> tuple[Any, Any, Any, Any]:
        """Values of (canvas, after, offer to use the source's settings, lanes)."""
        now = session.history.now
        source = now.source if now else None
        canvas = widgets.editor_value(
            source.view() if source else None,
            undo=session.history.can_undo,
            redo=session.history.can_redo,
            takes=[take.key for take in now.takes] if now else [],
        )
        results = [take.view() for take in now.takes] if now else []
        after = widgets.cards_value(
            results,
            actions=RESULT_ACTIONS,
            empty=EMPTY if source else "",
            compare={"before": source.view(), "offset": _lead_s(now.takes[0])}
            if now and source and results
            else None,
        )
        offer = gr.update(visible=bool(source and source.settings.get("prompt")))
        got = session.edit_followed if results else None
        lanes = curves_part.value(got=got, seconds=source.duration_s) if source else gr.skip()
        return canvas, after, offer, lanes

    def views(self) -> list[Any]:
        return [self.canvas, self.after, self.offer, self.curves.lanes]

    # Where the sound comes from -------------------------------------------------------------------

    def opened(
        self, model: str | None, request: gr.Request, event: gr.EventData
    ) -> Iterator[tuple[Any, ...]]:
        """A dropped, chosen or recorded file: yield (status, picture format row, *views)."""
        session = self.context.sessions.of(request)
        name, skips = str(event.name), [gr.skip()] * 4
        yield note_html(f"Reading {name} …"), gr.update(visible=False), *skips
        path = None
        try:
            path = self.context.sessions.uploaded(event.path)
            self._open(session, path, name, self.context.store.format(model))
            yield note_html(""), gr.update(visible=False), *self.shown(session)
        except SonopaintError as error:
            bare = path is not None and path.exists() and _without_format(path)
            session.waiting_picture = path if bare else None
            sentence = (
                f"{name} doesn't say which kind of spectrogram it is: choose one below."
                if bare
                else named(error, name, path)
            )
            yield error_html(sentence), gr.update(visible=bare), *skips

    def open_as(self, preset: str, request: gr.Request) -> tuple[Any, ...]:
        """Open the picture that didn't say its format: (status, picture format row, *views)."""
        session = self.context.sessions.of(request)
        path = session.waiting_picture
        try:
            if path is None:
                raise SonopaintError("Drop the picture again.")
            self._open(session, path, path.name, None, picture_format=preset)
        except SonopaintError as error:
            return error_html(named(error, path.name if path else "", path)), gr.skip(), *[gr.skip()] * 4
        session.waiting_picture = None
        return note_html(""), gr.update(visible=False), *self.shown(session)

    def _open(
        self,
        session: Session,
        path: Path,
        name: str,
        form: SpectrogramFormat | None,
        picture_format: str | None = None,
        *,
        keep_file: bool = False,
    ) -> None:
        folder = session.new_folder()
        with room(folder, *(() if keep_file else (path,))):
            clip, picture = open_source(path, get_format(picture_format) if picture_format else None)
            sound = keep(folder, clip, title=name, stem=Path(name).stem, picture=picture, form=form)
        session.history.add(Step(session.add(sound)))

    def take(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A result becomes the sound to edit: (tabs, status, *views)."""
        session = self.context.sessions.of(request)
        sound = self.context.sound(session, str(event.key))
        if sound is None:
            return gr.skip(), error_html("This sound is no longer there: make it again."), *[gr.skip()] * 4
        session.history.add(Step(sound))
        return gr.update(selected="edit"), note_html(""), *self.shown(session)

    def demo(self, model: str | None, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """One of the sounds to begin with: (status, picture format row, *views)."""
        session = self.context.sessions.of(request)
        found = palette.demo(str(event.key))
        try:
            if found is None:
                raise SonopaintError("This sound is not there: open another one.")
            self._open(session, found[0], found[1], self.context.store.format(model), keep_file=True)
        except SonopaintError as error:
            return error_html(error), gr.skip(), *[gr.skip()] * 4
        return note_html(""), gr.update(visible=False), *self.shown(session)

    def take_demo(self, model: str | None, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """The same from another page: (tabs, status, *views)."""
        status, _, *views = self.demo(model, request, event)
        return gr.update(selected="edit"), status, *views

    def undo(self, request: gr.Request) -> tuple[Any, ...]:
        session = self.context.sessions.of(request)
        session.history.undo()
        return note_html(""), *self.shown(session)

    def redo(self, request: gr.Request) -> tuple[Any, ...]:
        session = self.context.sessions.of(request)
        session.history.redo()
        return note_html(""), *self.shown(session)

    def use_settings(self, request: gr.Request) -> tuple[Any, ...]:
        """The source's own settings: (status, prompt, negative, model, *knobs)."""
        now = self.context.sessions.of(request).history.now
        try:
            found = recall(now.source.settings if now else {}, self.context.store)
        except SonopaintError as error:
            return error_html(error), *[gr.skip()] * 8
        return (
            note_html(f"Using {found.note}."),
            found.prompt,
            found.negative_prompt,
            *widgets.recalled(found),
        )

    # Painting -------------------------------------------------------------------------------------

    def run(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Put an edit into the queue and yield (status, seed, stop, *views) while it is painted."""
        session = self.context.sessions.of(request)
        chosen, rest = Chosen.read(values)
        action, marks, feather, side, left, right, strength, fit, how, takes, *said = rest
        prompt, negative, *knob_values, drawn, exact = said
        now, skips = session.history.now, [gr.skip()] * 4
        try:
            if now is None:
                raise SonopaintError("There is no sound yet: drop one on the page, or record one.")
            if action not in LABELS:
                raise SonopaintError(f"There is no action {action!r}: choose one of {', '.join(LABELS)}.")
            region = Region()
            if action in ("Repaint", "Heal"):
                region = read_region(marks, feather_s=(feather or 0) / 1000, inverted=side == "The rest")
            settings = paint_settings(
                prompt,
                negative,
                *knob_values,
                strength=strength if action == "Vary" else 1.0,
                surroundings=fit,
            )
            if action == "Heal":
                title, work = heal_part.healing(
                    self.context.library, session, now.source, region, how, takes, settings.seed
                )
                size = now.source.duration_s
            else:
                edit, count = asked(action, region, left, right), int(takes or 1)
                curves = curves_part.read_lanes(drawn) if action in FOLLOWING else None
                title, work = painting(
                    self.context, session, now.source, chosen, action, edit, settings, count, curves,
                    bool(exact),
                )  # fmt: skip
                size = count * now.source.duration_s * (settings.steps or 1)
        except SonopaintError as error:
            yield error_html(error), gr.skip(), gr.skip(), *skips
            return
        self.begin(session, title, work, lane=PAINTING, size=size)
        yield gr.skip(), settings.seed, widgets.running(), *skips
        yield from self._follow(session)

    def find_marks(self, request: gr.Request) -> tuple[str, str]:
        """Clicks and dropouts of the sound: (status, boxes for the editor)."""
        now = self.context.sessions.of(request).history.now
        return heal_part.find_marks(now.source if now else None)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``run`` does, first the sound that was being edited."""
        session = self.context.sessions.of(request)
        yield gr.skip(), gr.skip(), gr.skip(), *self.shown(session)
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for event, told, stop in self.followed(session):
            if isinstance(event, Finished):
                made = event.value
                seed = made[0].settings["seed"]  # silence takes another one
                yield told, seed, stop, *self.shown(session)
            else:
                yield told, gr.skip(), stop, *[gr.skip()] * 4

    # Layout ---------------------------------------------------------------------------------------

    def build(self, bar: ModelBar) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page sp-edit"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                action = gr.Radio(
                    list(LABELS), value="Repaint", label="What to do", show_label=False, container=False,
                    elem_id="action", elem_classes="sp-segments",
                )  # fmt: skip
                hint = gr.HTML(note_html(HINTS["Repaint"]), apply_default_css=False, elem_id="edit-hint")
                prompt = gr.Textbox(
                    label="What should be there?",
                    placeholder="a train horn",
                    lines=2,
                    max_lines=5,
                    elem_id="edit-prompt",
                )
                widgets.unknown_note("edit-unknown", prompt, bar)
                negative = gr.Textbox(
                    label="What should not be in it?",
                    placeholder="voices, wind",
                    lines=1,
                    elem_id="edit-negative",
                )
                with gr.Row(elem_classes="sp-pair") as repaint_box:
                    side = gr.Dropdown(
                        ["The marks", "The rest"],
                        value="The marks",
                        label="Paint",
                        min_width=120,
                    )
                    feather = gr.Number(
                        round(1000 * FEATHER_S), label="Soft edge (ms)", precision=0, min_width=90
                    )
                with gr.Row(elem_classes="sp-pair", visible=False) as extend_box:
                    left = gr.Number(0, label="Seconds before", step=0.5, min_width=90, elem_id="extend-left")
                    right = gr.Number(
                        EXTEND_S, label="Seconds after", step=0.5, min_width=90, elem_id="extend-right"
                    )
                self.heal = heal_part.HealPart()
                self.heal.build()
                strength = gr.Slider(
                    0.05,
                    1,
                    VARY_STRENGTH,
                    step=0.05,
                    label="How different",
                    visible=False,
                    elem_id="strength",
                )
                fit = gr.Dropdown(
                    FITS,
                    value=SURROUNDINGS[0],
                    label="Level and background",
                    elem_id="surroundings",
                )
                takes = gr.Slider(1, MAX_TAKES, 1, step=1, label="How many takes", elem_id="edit-takes")
                self.curves.build()
                knobs = widgets.knobs(self.context.store.defaults(bar.model.value), list(SAMPLERS), "edit")
                self.knobs = knobs
                self.offer = gr.Button(
                    "Use the settings of this sound", size="sm", visible=False, elem_id="use-settings"
                )
                go, stop = widgets.buttons(LABELS["Repaint"], "edit-go")
                self.status = widgets.status("edit-status")
                with gr.Row(visible=False, elem_classes="sp-pair") as picture_row:
                    preset = gr.Dropdown(
                        list(PRESETS), value=UNSAID_FORMAT, label="Kind of picture", min_width=150
                    )
                    open_as = gr.Button("Open as this", size="sm", min_width=90, elem_id="open-as")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("edit")
                self.canvas = widgets.editor("editor")
                self.after = widgets.cards("after", widgets.cards_value([]))
        marks = gr.Textbox(visible="hidden", elem_id="marks")

        action.change(
            lambda name: (
                note_html(HINTS[name]),
                LABELS[name],
                gr.update(visible=name == "Repaint"),
                gr.update(visible=name == "Extend"),
                gr.update(visible=name == "Vary"),
                gr.update(visible=name not in ("Vary", "Heal")),
                gr.update(visible=name == "Heal"),
                *[gr.update(visible=name != "Heal")] * 2,
                gr.update(visible=name in FOLLOWING),
            ),
            action,
            [
                hint,
                go,
                repaint_box,
                extend_box,
                strength,
                fit,
                self.heal.box,
                prompt,
                negative,
                self.curves.box,
            ],  # fmt: skip
            **widgets.QUICK,
        )
        doing = [action, marks, feather, side, left, right, strength, fit, self.heal.how, takes]
        inputs = [*bar.inputs(), *doing, prompt, negative]
        place = inputs.index(marks)
        self.fields = [*doing[:1], *doing[2:], prompt, negative, *knobs.inputs()]
        self.outputs = [self.status, knobs.seed, stop, *self.views()]
        sent, read = self.curves.sent([*inputs, *knobs.inputs()])
        go.click(
            self.run,
            sent,
            self.outputs,
            js=f"(...values) => {{ values[{place}] = window.Sonopaint.region(); {read} return values; }}",
            **widgets.LONG,
        )
        self.heal.find.click(self.find_marks, None, [self.status, self.heal.found], **widgets.QUICK).then(
            None, self.heal.found, None, js="(text) => window.Sonopaint.mark(text)"
        )
        stop.click(self.stop, None, [self.status, stop], **widgets.QUICK)
        opening = [self.status, picture_row, *self.views()]
        self.canvas.opened(self.opened, bar.model, opening, **widgets.LONG)
        self.canvas.demo(self.demo, bar.model, opening, **widgets.LONG)
        open_as.click(self.open_as, preset, opening, **widgets.LONG)
        self.canvas.undo(self.undo, None, [self.status, *self.views()], **widgets.EVERY)
        self.canvas.redo(self.redo, None, [self.status, *self.views()], **widgets.EVERY)
        self.offer.click(
            self.use_settings,
            None,
            [self.status, prompt, negative, bar.model, *knobs.inputs()],
            **widgets.QUICK,
        )

    def wire(self, bar: ModelBar, tabs: gr.Tabs, results: gr.HTML, *cards: gr.HTML) -> None:
        """Results of Generate and of other pages (`cards`), and of this one, can become the sound to edit."""
        outputs = [tabs, self.status, *self.views()]
        results.demo(self.take_demo, bar.model, outputs, **widgets.LONG)
        for others in (results, *cards):
            others.send(self.take, None, outputs, **widgets.QUICK)
        self.after.source(self.take, None, outputs, **widgets.QUICK)


def _lead_s(take: Sound) -> float:
    """Seconds that a take begins earlier than its source: what was added before it."""
    return float(take.settings.get("left", 0.0)) if take.settings.get("task") == "extend" else 0.0


def _without_format(path: Path) -> bool:
    """Whether this is a healthy PNG that only lacks its format."""
    from sonoconvert.pictures.picture import load_picture

    if not is_png(path):
        return False
    for form in PRESETS.values():
        try:
            load_picture(path, format=form)
        except SonopaintError:
            continue
        return True
    return False
