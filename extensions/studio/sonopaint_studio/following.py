"""The controls follow the model and its LoRAs: what suits them, and one step where there is a student."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sonopaint.models.one_step import subject_of
from sonopaint.tasks.settings import ONE_STEP
from sonopaint_studio import widgets
from sonopaint_studio.context import Chosen, Context, ModelBar
from sonopaint_studio.model_store import STUDENT_DEFAULTS, ModelStore


def subject_prompt(store: ModelStore, chosen: Chosen) -> str | None:
    """What to say for the subject that a chosen LoRA has learnt."""
    used = {path for path, weight in chosen.loras if weight}
    told = (subject_of(info.metadata) for info in store.loras() if str(info.path) in used)
    return next((prompt for prompt in told if prompt), None)


def one_step_box(store: ModelStore, chosen: Chosen, sampler: str) -> Any:
    """The One step box: there where there is a choice."""
    student = store.is_student(chosen.model, chosen.loras)
    there = student or store.has_student(chosen.model)
    return gr.update(visible=there, interactive=not student, value=sampler == ONE_STEP)


def fitting(store: ModelStore, chosen: Chosen, current: str | None, steps: int) -> list[Any]:
    """A page's controls for another model (current None) or other LoRAs on the same one."""
    card = store.defaults(chosen.model, chosen.loras)
    stays = current is not None and card["sampler"] != ONE_STEP
    if stays and (current != ONE_STEP or store.has_student(chosen.model)):
        return [gr.skip(), gr.skip(), gr.skip(), one_step_box(store, chosen, str(current))]
    return _values(card, steps, one_step_box(store, chosen, card["sampler"]))


def follow_model(
    context: Context,
    bar: ModelBar,
    generate: widgets.Knobs,
    edit: widgets.Knobs,
    prompt: gr.Textbox,
    seconds: gr.Number,
) -> None:
    """Wire steps, guidance, sampler and the One step box of both pages, and the length, to the model bar."""
    store = context.store
    pages = ((generate, 1), (edit, 1))  # the tasks know where a few are better
    outputs = [part for page, _ in pages for part in (page.steps, page.guidance, page.sampler, page.one_step)]

    def model_changed(*values: Any) -> list[Any]:
        chosen, _ = Chosen.read(values)
        found = [value for _, steps in pages for value in fitting(store, chosen, None, steps)]
        return [*found, store.seconds(chosen.model)]

    def loras_changed(*values: Any) -> list[Any]:
        chosen, (said, *samplers) = Chosen.read(values)
        told = subject_prompt(store, chosen) if not str(said or "").strip() else None
        found = [
            value
            for (_, steps), sampler in zip(pages, samplers, strict=True)
            for value in fitting(store, chosen, sampler, steps)
        ]
        return [*found, told or gr.skip()]

    chosen, _ = Chosen.read(tuple(part.value for part in bar.inputs()))
    for page, _ in pages:  # as the page begins
        page.one_step.visible = store.is_student(chosen.model) or store.has_student(chosen.model)
        page.one_step.interactive = not store.is_student(chosen.model)
    bar.model.input(model_changed, bar.inputs(), [*outputs, seconds], **widgets.LATEST)
    for part in (*bar.loras, *bar.weights):
        part.input(
            loras_changed,
            [*bar.inputs(), prompt, generate.sampler, edit.sampler],
            [*outputs, prompt],
            **widgets.LATEST,
        )
    for page, steps in pages:

        def boxed(on: bool, *values: Any, steps: int = steps) -> list[Any]:
            chosen, _ = Chosen.read(values)
            card = STUDENT_DEFAULTS if on else store.defaults(chosen.model, chosen.loras)
            return _values(card, steps, gr.skip())[:-1]

        page.one_step.input(
            boxed,
            [page.one_step, *bar.inputs()],
            [page.steps, page.guidance, page.sampler],
            **widgets.LATEST,
        )
        page.sampler.input(lambda sampler: sampler == ONE_STEP, page.sampler, page.one_step, **widgets.LATEST)


def _values(card: dict[str, Any], steps: int, box: Any) -> list[Any]:
    """[steps, guidance, sampler, One step]: `steps` are a student's on this page."""
    return [
        steps if card["sampler"] == ONE_STEP else card["steps"],
        card["guidance_scale"],
        card["sampler"],
        box,
    ]
