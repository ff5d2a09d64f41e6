"""Generate: sounds from words."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError, setting
from sonopaint.samplers import SAMPLERS
from sonopaint.tasks.settings import ONE_STEP, PaintSettings
from sonopaint_studio import curves_part, levels, palette, presets, widgets
from sonopaint_studio.context import Chosen, Context, ModelBar
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.job_queue import PAINTING
from sonopaint_studio.jobs import Finished, Report, error_html, note_html
from sonopaint_studio.recall import recall
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, named, read_settings

MAX_SECONDS = 60.0
MAX_BATCH = 8
KEPT_RESULTS = 24  # cards on the page; the library has all
IDEAS = ("Earlier prompts and ideas …", "")
EARLIER_PROMPTS = 50
ACTIONS = (("send", "Send to Edit"), ("blend", "Blend"))
EMPTY = (
    "Three sounds to begin with, and below what Mini knows: play them, or click the words to say the same."
)


def results_value(session: Session | None) -> dict[str, Any]:
    """The cards of a session, newest first; ideas where there are none."""
    made = [s for s in reversed(session.sounds.values()) if s.made_here] if session else []
    return widgets.cards_value(
        [sound.view() for sound in made], actions=ACTIONS, empty=EMPTY, palette=palette.palette(), drop=True
    )


def chosen_seed(seed: float | None, new: bool) -> int:
    """The seed to use: a fresh one, or the one that stands there."""
    if new or seed is None:
        return random.randrange(widgets.SEED_LIMIT)  # noqa: S311 - a seed is no secret
    if not math.isfinite(seed) or seed < 0 or seed != int(seed):
        raise SonopaintError(f"{setting('seed')} must be a whole number from 0, not {seed:g}.")
    return int(seed)


def paint_settings(
    prompt: str,
    negative: str,
    seed: float | None,
    new_seed: bool,
    steps: float | None,
    guidance: float | None,
    sampler: str | None,
    **more: Any,
) -> PaintSettings:
    """Validated settings from what stands in the controls. SonopaintError says what is wrong."""
    return PaintSettings(
        prompt=(prompt or "").strip(),
        negative_prompt=(negative or "").strip(),
        # One step where it does, a few where windows must agree: the tasks know.
        steps=None if steps is None or (sampler == ONE_STEP and steps <= 1) else int(steps),
        guidance_scale=guidance,
        sampler=sampler or None,
        seed=chosen_seed(seed, new_seed),
        **more,
    )


class GenerateTab(JobPage):
    """The page and what its buttons do."""

    name = "generate"
    stopping = "Stopping after this step …"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.curves = curves_part.CurvesPart(context)
        self.knobs: widgets.Knobs
        self.results: gr.HTML
        self.prompt: gr.Textbox
        self.negative: gr.Textbox
        self.status: gr.HTML
        self.seconds: gr.Number
        self.batch: gr.Slider
        self.fields: list[Any]  # that a page which is loaded again finds as they were

    def generate(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Queue sounds and yield (status, results, seed, stop, ideas, lanes) while they are made."""
        session = self.context.sessions.of(request)
        chosen, rest = Chosen.read(values)
        prompt, negative, seconds, batch, level, lufs, *knob_values, lanes, exact = rest
        try:
            asked = curves_part.read_lanes(lanes)
            settings = paint_settings(prompt, negative, *knob_values)
            if not settings.prompt:
                raise SonopaintError("Say what the sound is: the prompt is empty.")
            if seconds is not None and not 0.1 <= seconds <= MAX_SECONDS:
                raise SonopaintError(
                    f"{setting('seconds')} must be from 0.1 to {MAX_SECONDS:g}, not {seconds:g}."
                )
        except SonopaintError as error:
            yield error_html(error), *[gr.skip()] * 5
            return

        def work(report: Report) -> list[Sound]:
            from sonopaint.tasks.generation import generate

            one_step = settings.sampler == ONE_STEP
            with self.context.store.use(chosen.model, chosen.loras, report, one_step=one_step) as model:
                painter, curves = curves_part.following(model, asked, settings.prompt)
                made = generate(painter, settings, seconds=seconds, batch=int(batch), progress=report)
            made, session.followed = curves_part.finished(made, curves, bool(exact))
            sounds = [
                self.context.library.keep(
                    session.new_folder,
                    levels.levelled(result.clip, result.settings, level, float(lufs or levels.LUFS[2])),
                    picture=result.picture,
                    title=settings.prompt,
                    stem=f"{settings.prompt[:40]} {result.settings['seed']}",
                    made_here=True,
                )
                for result in made
            ]
            for sound in reversed(sounds):
                session.add(sound)
            session.forget_results(KEPT_RESULTS)
            return sounds

        size = int(batch) * (seconds or self.context.store.seconds(chosen.model)) * (settings.steps or 1)
        self.begin(session, settings.prompt, work, lane=PAINTING, size=size)
        yield gr.skip(), gr.skip(), settings.seed, widgets.running(), gr.skip(), gr.skip()
        yield from self._follow(session)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The page was loaded again: yield as ``generate`` does, first what this tab has made."""
        session = self.context.sessions.of(request)
        yield gr.skip(), results_value(session), gr.skip(), gr.skip(), self._ideas(), gr.skip()
        yield from self._follow(session)

    def _follow(self, session: Session) -> Iterator[tuple[Any, ...]]:
        for event, told, stop in self.followed(session):
            if isinstance(event, Finished):
                lanes = curves_part.value(got=session.followed) if session.followed else gr.skip()
                yield told, results_value(session), gr.skip(), stop, self._ideas(), lanes
            else:
                yield told, gr.skip(), gr.skip(), stop, gr.skip(), gr.skip()

    def _ideas(self) -> Any:
        """The list of prompts: what was asked for before, the last first, then what the model knows."""
        try:
            before = self.context.library.prompts(EARLIER_PROMPTS)
        except SonopaintError:  # the list is not what somebody waits for
            return gr.skip()
        earlier = [(f"Earlier · {prompt[:80]}", prompt) for prompt in before]
        return gr.update(choices=[IDEAS, *earlier, *presets.choices()])

    def use_file(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A dropped file's settings for the controls: (status, prompt, negative, model, *knobs)."""
        name, path = str(event.name), None
        try:
            path = self.context.sessions.uploaded(event.path)
            found = recall(read_settings(path), self.context.store)
        except SonopaintError as error:
            return error_html(named(error, name, path)), *[gr.skip()] * 8

        return (
            note_html(f"Settings from {name}: {found.note}."),
            found.prompt,
            found.negative_prompt,
            *widgets.recalled(found),
        )

    def take_idea(self, event: gr.EventData) -> str:
        """The prompt of the idea that was clicked."""
        return str(event.prompt)

    def build(self, bar: ModelBar) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                self.prompt = prompt = gr.Textbox(
                    label="What do you want to hear?",
                    placeholder="a dog barking, far away",
                    lines=3,
                    max_lines=6,
                    elem_id="prompt",
                    autofocus=True,
                )
                idea = gr.Dropdown(
                    [IDEAS, *presets.choices()],
                    value="",
                    label=IDEAS[0],
                    show_label=False,
                    container=False,
                    elem_id="ideas",
                )
                widgets.unknown_note("generate-unknown", prompt, bar)
                known = widgets.palette("known", palette.palette())
                self.negative = negative = gr.Textbox(
                    label="What should not be in it?", placeholder="voices, wind", lines=1, elem_id="negative"
                )
                with gr.Row(elem_classes="sp-pair"):
                    own = self.context.store.seconds(bar.model.value)
                    self.seconds = seconds = gr.Number(
                        own, label="Seconds", step=0.1, min_width=80, elem_id="seconds", scale=1
                    )
                    self.batch = batch = gr.Slider(
                        1, MAX_BATCH, 1, step=1, label="How many", min_width=140, elem_id="batch", scale=2
                    )
                with gr.Row(elem_classes="sp-pair"):
                    level = gr.Dropdown(
                        levels.CHOICES,
                        value=levels.FULL,
                        label="Level",
                        min_width=150,
                        elem_id="level",
                        scale=2,
                    )
                    low, high, usual = levels.LUFS
                    lufs = gr.Number(
                        usual, label="LUFS", minimum=low, maximum=high, step=1, min_width=80, elem_id="lufs",
                        visible=False,
                    )  # fmt: skip
                self.curves.build(seconds)
                self.knobs = widgets.knobs(
                    self.context.store.defaults(bar.model.value), list(SAMPLERS), "generate"
                )
                go, stop = widgets.buttons("Generate", "generate-go")
                self.status = status = widgets.status("generate-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("generate")
                self.results = widgets.cards("results", results_value(None))

        knobs = self.knobs.inputs()
        self.fields = [prompt, negative, seconds, batch, level, lufs, *knobs]
        self.outputs = [status, self.results, self.knobs.seed, stop, idea, self.curves.lanes]
        inputs, read = self.curves.sent([*bar.inputs(), *self.fields])
        go.click(
            self.generate,
            inputs,
            self.outputs,
            js=f"(...values) => {{ {read} return values; }}",
            **widgets.LONG,
        )
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)
        level.change(lambda name: gr.update(visible=name == levels.LOUDNESS), level, lufs, **widgets.QUICK)
        idea.input(lambda text: (text or gr.skip(), ""), idea, [prompt, idea], **widgets.QUICK)
        for place in (self.results, known):
            place.idea(self.take_idea, None, prompt, **widgets.QUICK)
        self.results.dropped(
            self.use_file, None, [status, prompt, negative, bar.model, *knobs], **widgets.QUICK
        )
