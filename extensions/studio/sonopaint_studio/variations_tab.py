"""Variations: many sounds like one, judged and chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint_studio import curves_part, widgets
from sonopaint_studio.context import Chosen, Context, ModelBar
from sonopaint_studio.convert_tab import link, zipped
from sonopaint_studio.generate_tab import chosen_seed
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Report, error_html, note_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, file_stem, keep

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonopaint.variations.make import Maker, Variation
    from sonopaint.variations.protocol import Variator

MOST = 40  # on one page
ACTIONS = (("reject", "Reject"),)
EMPTY = "Drop a sound: a step, a bark, a door. Its variations appear here, to compare with it."
CURVES = (
    "Each variation follows what is drawn over the time of the sound: how loud, how high, how bright. What "
    "is not drawn is its own. Drop the sound itself here, too, to keep its loudness or its pitch."
)
WORDS = (
    (0.35, "hardly another one"),
    (0.55, "another take"),
    (0.75, "a sibling"),
    (1.01, "only the class stays"),
)


def in_words(strength: float) -> str:
    """What a strength does, for people."""
    return next(words for most, words in WORDS if strength <= most)


class VariationsTab(JobPage):
    """The page and what its buttons do. What was made belongs to the browser's tab."""

    name = "variations"
    stopping = "Stopping; what is finished stays …"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.curves = curves_part.CurvesPart(context, "variations-curves", CURVES)

    # What the page shows --------------------------------------------------------------------------

    def shown(self, session: Session) -> tuple[Any, Any, Any]:
        """(the cards, the link to all of them, the lanes)."""
        bank = session.variations
        if bank is None:
            return widgets.cards_value([], empty=EMPTY), "", gr.skip()
        views = [bank.sounds[seed].view() for seed in bank.order]
        compare = {"before": bank.reference.view(), "offset": 0.0, "alone": True} if views else None
        lanes = curves_part.value(got=bank.followed(), seconds=bank.reference.duration_s)
        return widgets.cards_value(views, actions=ACTIONS, empty=EMPTY, compare=compare), bank.link, lanes

    def opened(self, request: gr.Request, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        """A dropped sound: yield (status, class, cards, link, lanes)."""
        session = self.context.sessions.of(request)
        yield note_html("Listening …"), *[gr.skip()] * 4
        from sonopaint.variations.judge import Judge
        from sonopaint.variations.reference import checked, events

        try:
            clip, sound = self.dropped(session, event.files)
        except SonopaintError as error:
            yield error_html(str(error)), *[gr.skip()] * 4
            return
        try:
            kind, chance = Judge().guess(checked(clip))
        except SonopaintError as error:
            yield error_html(error), *[gr.skip()] * 4
            return
        session.variations = Bank(sound)
        count = len(events(clip))
        said = f"{event.files[0]['name']}: sounds like {kind} ({chance:.0%})."
        if count > 1:
            said += f" It holds {count} events; cut it in Edit, or vary it as a whole."
        yield note_html(said), kind if chance >= 0.5 else gr.skip(), *self.shown(session)

    # Making ---------------------------------------------------------------------------------------

    def make(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Put variations into the queue and yield (status, seed, stop, cards, link, lanes) meanwhile."""
        session = self.context.sessions.of(request)
        chosen, rest = Chosen.read(values)
        kind, count, strength, kept, choose, seed, new_seed, drawn, exact = rest
        from sonopaint.variations.protocol import Ask, Keep

        try:
            bank = session.variations
            if bank is None:
                raise SonopaintError("Drop the sound that is to be varied first.")
            if not str(kind or "").strip():
                raise SonopaintError("Say what the sound is: the class is empty.")
            keeps = Keep.of(kept or ())
            ask = Ask(str(kind).strip(), int(count), float(strength), chosen_seed(seed, new_seed), "", keeps)
            asked = curves_part.read_lanes(drawn)
        except SonopaintError as error:
            yield error_html(error), *[gr.skip()] * 5
            return

        def work(report: Report) -> str:
            from sonopaint.variations.make import Maker

            bank.asked, bank.exact = asked, bool(exact)
            with self.context.store.use(chosen.model, chosen.loras, report) as model:
                maker = Maker(
                    bank.variator(model, ask.prompt), bank.reference.clip(), ask, choose=bool(choose)
                )
                try:
                    maker.make(report)
                finally:
                    maker.choose_again()  # what is finished is kept when somebody stops it
                    bank.fill(session, maker, chosen)
            return bank.told()

        size = ask.count * bank.reference.duration_s * 20
        self.begin(session, f"{ask.count} × {ask.kind}", work, lane=PAINTING, size=size)
        yield gr.skip(), ask.seed, widgets.running(), *[gr.skip()] * 3
        yield from self._follow(session)

    def reject(self, request: gr.Request, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        """Throw one away: another one takes its place; yields as ``make`` does."""
        session = self.context.sessions.of(request)
        bank = session.variations
        seed = None if bank is None else bank.seed_of(str(event.key))
        if bank is None or bank.maker is None or seed is None:
            yield error_html("This variation is no longer there."), *[gr.skip()] * 5
            return
        chosen, maker = bank.chosen, bank.maker

        def work(report: Report) -> str:
            with self.context.store.use(chosen.model, chosen.loras, report) as model:
                maker.variator = bank.variator(model, maker.ask.prompt)
                maker.reject(seed, report)
                bank.fill(session, maker, chosen)
            return bank.told()

        self.begin(session, "One more variation", work, lane=PAINTING)
        yield gr.skip(), gr.skip(), widgets.running(), *[gr.skip()] * 3
        yield from self._follow(session)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``make`` does, first what this tab has."""
        session = self.context.sessions.of(request)
        yield gr.skip(), gr.skip(), gr.skip(), *self.shown(session)
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for _, told, stop in self.followed(session):
            yield told, gr.skip(), stop, *self.shown(session)

    def build(self, bar: ModelBar) -> None:
        """Lay the page out and wire it."""
        from sonopaint.variations.protocol import COUNT, KEEPS, KEPT, STRENGTH

        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                drop = widgets.dropzone("Drop a sound here", "What is to be varied.", "variations-drop")
                kind = gr.Textbox(
                    label="What is it?", placeholder="footsteps", max_lines=1, elem_id="variations-kind"
                )
                count = gr.Slider(1, MOST, COUNT, step=1, label="How many", elem_id="variations-count")
                strength = gr.Slider(
                    0.1, 1, STRENGTH, step=0.05, label="How far from it", info=in_words(STRENGTH),
                    elem_id="variations-strength",
                )  # fmt: skip
                kept = gr.CheckboxGroup(
                    list(KEEPS), value=list(KEPT), label="Keep its", elem_id="variations-keep"
                )
                self.curves.build()
                choose = gr.Checkbox(True, label="Replace copies and drifts", elem_id="variations-choose")
                with gr.Row(elem_classes="sp-seed"):
                    seed = gr.Number(None, label="Seed", precision=0, min_width=100)
                    new_seed = gr.Checkbox(True, label="new each time", min_width=100)
                go, stop = widgets.buttons("Make variations", "variations-go")
                status = widgets.status("variations-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                link = gr.HTML("", elem_id="variations-save", apply_default_css=False)
                cards = widgets.cards("variations", widgets.cards_value([], empty=EMPTY))
        self.outputs = [status, seed, stop, cards, link, self.curves.lanes]
        inputs = [*bar.inputs(), kind, count, strength, kept, choose, seed, new_seed]
        inputs, read = self.curves.sent(inputs)
        drop.files(self.opened, None, [status, kind, cards, link, self.curves.lanes], **widgets.LONG)
        strength.change(lambda value: gr.update(info=in_words(value)), strength, strength, **widgets.QUICK)
        go.click(
            self.make, inputs, self.outputs, js=f"(...values) => {{ {read} return values; }}", **widgets.LONG
        )
        cards.reject(self.reject, None, self.outputs, **widgets.LONG)
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)


class Bank:
    """A reference and what was made of it, as the page shows them."""

    def __init__(self, reference: Sound) -> None:
        self.reference = reference
        self.maker: Maker | None = None
        self.chosen = Chosen(None, ())  # the model that made them
        self.sounds: dict[int, Sound] = {}
        self.order: list[int] = []
        self.link = ""
        self.asked: Curves | None = None  # what each is to follow
        self.exact = True
        self._followed: tuple[int, Curves] | None = None  # (seed, what it measures)

    def variator(self, model: Any, prompt: str) -> Variator:
        """The model as a back-end, which follows the curves where some were drawn."""
        from sonopaint.variations.mel import MelVariator

        painter, curves = curves_part.following(model, self.asked, prompt)
        return MelVariator(painter, curves=curves, exact=self.exact)

    def followed(self) -> Curves | None:
        """What the first of them measures of the curves, where some were drawn."""
        if self.asked is None or not self.order:
            return None
        if self._followed is None or self._followed[0] != self.order[0]:
            from sonoconvert.curves.measure import MEASURED, measure

            names = [name for name in self.asked.names if name in MEASURED]
            clip = self.sounds[self.order[0]].clip()
            self._followed = self.order[0], measure(clip, names, self.asked.rate)
        return self._followed[1]

    def seed_of(self, key: str) -> int | None:
        return next((seed for seed in self.order if self.sounds[seed].key == key), None)

    def fill(self, session: Session, maker: Maker, chosen: Chosen) -> None:
        """Show what the maker has chosen; new ones are written into the session's folder."""
        if self.maker is not maker:
            self.maker, self.sounds = maker, {}
        self.chosen = chosen
        variations = maker.chosen()
        for one in variations:
            if one.seed not in self.sounds:
                self.sounds[one.seed] = self._sound(session, one, len(self.sounds) + 1)
        self.order = [one.seed for one in variations]
        if len(variations) > 1:
            stem = file_stem(maker.ask.kind)
            paths = [self.sounds[seed].clip_path for seed in self.order]
            archive = zipped(paths, session.new_folder() / f"{stem}.zip")
            self.link = _link(archive)

    def _sound(self, session: Session, one: Variation, number: int) -> Sound:
        from sonopaint.variations.deliver import safe_stem

        assert self.maker is not None
        stem = f"{safe_stem(self.maker.ask.kind)}_{one.seed}"
        clip = replace(one.clip, settings=one.settings | {"task": "variations", "figures": one.figures})
        sound = keep(session.new_folder(), clip, title=f"Variation {number}", stem=stem, like=self.reference)
        told = f"likeness {one.figures.get('likeness', 0):.2f}"
        return replace(sound, note=f"{told} · {one.why}" if one.why else told)

    def told(self) -> str:
        """How good they are, in a line, and what there is to say."""
        assert self.maker is not None
        return " ".join(self.maker.said(self.maker.chosen()))


def _link(path: Path) -> str:
    return f'<p class="sp-all">{link(path, "Save all as ZIP")}</p>'
