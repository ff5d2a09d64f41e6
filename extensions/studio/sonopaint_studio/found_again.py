"""Pages have addresses, and a page that is loaded again stands as it stood: fields, sounds and jobs.

The browser's tab keeps a secret name of its own and what stands in the fields (studio.js), Studio the rest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from sonopaint_studio import widgets
from sonopaint_studio.context import Chosen, Context, ModelBar
from sonopaint_studio.following import one_step_box

logger = logging.getLogger(__name__)


def restored(fields: Sequence[Any], told: str) -> list[Any]:
    """Values for `fields` from what the browser kept; those that no longer fit stay as they are."""
    try:
        values = json.loads(told)
    except ValueError:
        values = None
    if not isinstance(values, list) or len(values) != len(fields):
        return [gr.skip()] * len(fields)
    return [value if _fits(field, value) else gr.skip() for field, value in zip(fields, values, strict=True)]


def _fits(field: Any, value: Any) -> bool:
    """Whether a field can hold a value that anybody may have written."""
    if isinstance(field, gr.Dropdown | gr.Radio):
        return any(value == known for _, known in field.choices or ())
    if isinstance(field, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(field, gr.Slider | gr.Number):
        low, high = getattr(field, "minimum", None), getattr(field, "maximum", None)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (low is None or value >= low) and (high is None or value <= high)
    return isinstance(value, str)


def wire(
    app: gr.Blocks,
    context: Context,
    bar: ModelBar,
    fields: Sequence[Any],
    knobs: Sequence[widgets.Knobs],
    resumes: Sequence[tuple[Any, list[Any]]],
    tabs: gr.Tabs,
) -> None:
    """Let a page that is loaded find itself again.

    fields: what is kept beside the model bar. knobs: those whose One step hangs on the bar.
    resumes: (handler, outputs) of each page that goes on with its jobs.
    """
    tab, kept = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
    address = gr.HTML(
        value="",
        html_template="<i hidden></i>",
        js_on_load="/* 'open' */ window.Sonopaint.mountAddress(element, { trigger });",
        elem_id="address",
        apply_default_css=False,
    )
    address.open(_chosen, None, tabs, **widgets.QUICK)

    every = [*bar.inputs(), *fields]

    def found(name: str, told: str, request: gr.Request) -> list[Any]:
        context.sessions.found_again(request, name)
        values = restored(every, told)
        if not told:  # a page that begins: nothing that was typed meanwhile is touched
            return [*[gr.skip()] * len(knobs), *values]
        now = [part.value if isinstance(v, dict) else v for part, v in zip(every, values, strict=True)]
        chosen, _ = Chosen.read(tuple(now))
        samplers = (str(now[every.index(page.sampler)]) for page in knobs)
        return [*(one_step_box(context.store, chosen, sampler) for sampler in samplers), *values]

    loaded = app.load(
        found,
        [tab, kept],
        [*(page.one_step for page in knobs), *every],
        js="() => [window.Sonopaint.tab(), window.Sonopaint.kept]",
        **widgets.QUICK,
    )
    for resume, shown in resumes:
        loaded.then(_answered(resume), None, shown, **widgets.LONG)
    gr.on(
        [part.change for part in every],
        None,
        every,
        js="(...values) => { window.Sonopaint.keep(values); }",
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )


def _answered(resume: Callable[[gr.Request], Iterator[Any]]) -> Callable[[gr.Request], Iterator[Any]]:
    """`resume` that yields at least once: else Gradio sends None, and buttons lose their words."""

    def again(request: gr.Request) -> Iterator[Any]:
        yield gr.skip()
        yield from resume(request)

    return again


def _chosen(event: gr.EventData) -> Any:
    """The page that the address names."""
    return gr.update(selected=str(event.page))
