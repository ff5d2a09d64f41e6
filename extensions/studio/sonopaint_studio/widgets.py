"""Gradio components that carry Studio's own JavaScript, and the small parts both working tabs share."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sonopaint.tasks.settings import ONE_STEP
from sonopaint_studio.context import Chosen, ModelBar
from sonopaint_studio.jobs import note_html
from sonopaint_studio.knowing import unknown_words
from sonopaint_studio.palette import palette as palette_of
from sonopaint_studio.recall import GUIDANCE, MOST_STEPS, Recalled
from sonopaint_studio.tips import TIPS

# A custom event of gr.HTML exists when its quoted name stands in js_on_load.
_EDITOR_JS = (
    "/* 'opened' 'demo' 'undo' 'redo' */"
    " window.Sonopaint.mountEditor(element, { props, trigger, watch, upload });"
)
_CARDS_JS = (
    "/* 'send' 'blend' 'source' 'idea' 'demo' 'dropped' 'again' 'subject' 'dataset' 'like' 'remove' */"
    " /* 'reject' */"
    " window.Sonopaint.mountCards(element, { props, trigger, watch, upload });"
)
_DROPZONE_JS = "/* 'files' */ window.Sonopaint.mountDropzone(element, { props, trigger, upload });"
_CAPTIONS_JS = "/* 'caption' 'turn' */ window.Sonopaint.mountCaptions(element, { props, trigger, watch });"
_PALETTE_JS = "/* 'idea' */ window.Sonopaint.mountPalette(element, { props, trigger });"
_KNOBS_JS = "/* 'turned' */ window.Sonopaint.mountKnobs(element, { props, trigger, watch });"
_REPORT_JS = "window.Sonopaint.mountReport(element, { props, watch });"
SEED_LIMIT = 2**32 - 1

# How handlers run: long jobs wait for each other in the JobQueue, not in Gradio's.
LONG: dict[str, Any] = {
    "show_progress": "hidden",
    "concurrency_limit": None,
    "trigger_mode": "multiple",
    "api_visibility": "private",
}
# What a press asks for at once. Gradio drops a further press until the answer is there: right for buttons.
QUICK: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
EVERY = {**QUICK, "trigger_mode": "multiple"}  # each event tells something of its own
# For what reads fields: how they stand at last. (An event that was put off brings the data of the first.)
LATEST = {**QUICK, "trigger_mode": "always_last"}


def mounted(elem_id: str, kind: str, value: Any, script: str) -> gr.HTML:
    """An element that Studio's own script fills: `script` runs on a ``div`` of the class sp-`kind`."""
    return gr.HTML(
        value=value,
        html_template=f'<div class="sp-{kind}"></div>',
        js_on_load=script,
        elem_id=elem_id,
        apply_default_css=False,
    )


def editor(elem_id: str) -> gr.HTML:
    """The spectrogram editor. Value: ``editor_value``. Events: opened (path, name), demo (key), undo,
    redo."""
    return mounted(elem_id, "editor", editor_value(None, undo=False, redo=False), _EDITOR_JS)


def editor_value(
    source: dict[str, Any] | None, *, undo: bool, redo: bool, takes: Sequence[str] = ()
) -> dict[str, Any]:
    """`takes`: keys of what was made of it, so that each step is another value and the page hears of it."""
    demos = [] if source else palette_of()["demos"]
    return {"source": source, "undo": undo, "redo": redo, "takes": [*takes], "demos": demos}


def cards(elem_id: str, value: dict[str, Any]) -> gr.HTML:
    """Result cards. Value: ``cards_value``.

    Events: send, blend, source and demo (key), idea (prompt), dropped (path); of the library's cards also
    again, subject, dataset, remove (key) and like (key, on).
    """
    return mounted(elem_id, "cards", value, _CARDS_JS)


def cards_value(
    views: Sequence[dict[str, Any]],
    *,
    actions: Sequence[tuple[str, str]] = (),
    empty: str = "",
    palette: dict[str, Any] | None = None,
    drop: bool = False,
    compare: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "cards": list(views),
        "actions": [list(action) for action in actions],
        "empty": empty,
        "palette": palette,
        "drop": drop,
        "compare": compare,
    }


def palette(elem_id: str, value: dict[str, Any]) -> gr.HTML:
    """A button that opens what Mini knows. Value: ``palette.palette``. Event: idea (prompt)."""
    return mounted(elem_id, "palette", value, _PALETTE_JS)


def tip(page: str) -> gr.HTML:
    """What helps on a page at first; closed once, it stays away (the browser remembers)."""
    return gr.HTML(
        f'<div class="sp-tip" data-page="{page}" hidden><span>{html.escape(TIPS[page])}</span></div>',
        js_on_load="window.Sonopaint.mountTip(element);",
        elem_id=f"{page}-tip",
        apply_default_css=False,
    )


def unknown_note(elem_id: str, prompt: gr.Textbox, bar: ModelBar) -> gr.HTML:
    """The line under a prompt that says what the model does not know, while it is typed."""
    note = gr.HTML("", elem_id=elem_id, elem_classes="sp-unknown", apply_default_css=False)

    def told(said: str, *values: Any) -> str:
        return note_html(unknown_words(said, Chosen.read(values)[0]))

    gr.on(
        [prompt.change, *(part.change for part in bar.inputs())],
        told,
        [prompt, *bar.inputs()],
        note,
        trigger_mode="always_last",
        **QUICK,
    )
    return note


def dropzone(title: str, hint: str, elem_id: str, *, single: bool = False, record: bool = False) -> gr.HTML:
    """A place for files and folders. Event: files ([{path, name}], names relative to what was dropped).

    single: for one file. record: also for what the microphone hears.
    """
    told = {"title": title, "hint": hint, "single": single, "record": record}
    return mounted(elem_id, "dropzone", told, _DROPZONE_JS)


def captions(elem_id: str, value: dict[str, Any]) -> gr.HTML:
    """A dataset's clips. Value: ``clip_table.page_value``. Events: caption (key, text), turn (page)."""
    return mounted(elem_id, "captions", value, _CAPTIONS_JS)


def turning(elem_id: str) -> gr.HTML:
    """A synthesiser's knobs. Value: ``match_tab.Bench.knobs``. Event: turned (name, place)."""
    return mounted(elem_id, "knobs", {"knobs": [], "audio": None}, _KNOBS_JS)


def report_window(elem_id: str) -> gr.HTML:
    """A window that opens with the page that it is given: {"html": …}."""
    return mounted(elem_id, "report", {"html": ""}, _REPORT_JS)


@dataclass(frozen=True)
class Knobs:
    """Seed, steps, guidance and sampler: the same in Generate and Edit."""

    seed: gr.Number
    random: gr.Checkbox
    steps: gr.Slider
    guidance: gr.Slider
    sampler: gr.Dropdown
    one_step: gr.Checkbox  # sets the three above; it is no input of a job

    def inputs(self) -> list[Any]:
        return [self.seed, self.random, self.steps, self.guidance, self.sampler]


def knobs(defaults: dict[str, Any], samplers: Sequence[str], prefix: str) -> Knobs:
    """Seed in sight, the rest folded away; starting at what the model's card recommends."""
    with gr.Row(elem_classes="sp-seed"):
        seed = gr.Number(
            value=1, precision=0, label="Seed", min_width=90, elem_id=f"{prefix}-seed"
        )  # fmt: skip
        random = gr.Checkbox(
            value=True, label="New each time", container=False, elem_id=f"{prefix}-random", min_width=110
        )
    one_step = gr.Checkbox(
        value=defaults["sampler"] == ONE_STEP,
        label="One step: sounds at once",
        container=False,
        visible=False,
        elem_id=f"{prefix}-one-step",
    )
    with gr.Accordion("Quality", open=False, elem_id=f"{prefix}-quality"):
        steps = gr.Slider(1, MOST_STEPS, defaults["steps"], step=1, label="Steps", elem_id=f"{prefix}-steps")
        guidance = gr.Slider(
            *GUIDANCE,
            defaults["guidance_scale"],
            step=0.1,
            label="Guidance",
        )
        sampler = gr.Dropdown(list(samplers), value=defaults["sampler"], label="Sampler")
    return Knobs(seed, random, steps, guidance, sampler, one_step)


def recalled(found: Recalled) -> list[Any]:
    """Updates of (model, *Knobs.inputs()) from a file's settings; what it does not say stays as it is."""
    new_seed = None if found.seed is None else False
    values = [found.model, found.seed, new_seed, found.steps, found.guidance_scale, found.sampler]
    return [gr.skip() if value is None else value for value in values]


def status(elem_id: str) -> gr.HTML:
    """The line that shows progress, what was done and what went wrong."""
    return gr.HTML(note_html(""), elem_id=elem_id, elem_classes="sp-status", apply_default_css=False)


def buttons(label: str, elem_id: str) -> tuple[gr.Button, gr.Button]:
    """(go, stop); stop shows only while a job runs."""
    with gr.Row(elem_classes="sp-go"):
        go = gr.Button(label, variant="primary", size="lg", elem_id=elem_id, min_width=120)
        stop = gr.Button(
            "Stop", variant="stop", size="lg", elem_id=f"{elem_id}-stop", visible=False, min_width=80
        )
    return go, stop


def running() -> Any:
    """Update of the stop button while a job waits or runs; more can be added."""
    return gr.update(visible=True, interactive=True)


def idle() -> Any:
    """Update of the stop button when nothing runs."""
    return gr.update(visible=False, interactive=True)
