"""Pages have addresses, and a page that is loaded again stands as it stood: fields, sounds and jobs.

The browser's tab keeps a secret name of its own and what stands in the fields (studio.js), Studio the rest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from sonopaint_studio import widgets
from sonopaint_studio.context import Context, ModelBar

logger = logging.getLogger(__name__)
Handler = tuple[Any, list[Any], list[Any]]  # function, inputs, outputs


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
    follow: Handler,
    fields: Sequence[Any],
    resumes: Sequence[tuple[Any, list[Any]]],
    tabs: gr.Tabs,
) -> None:
    """Let a page that is loaded find itself again.

    fields: what is kept beside the model bar. follow: sets what depends on the model. resumes: (handler,
    outputs) of each page that goes on with its jobs.
    """
    tab, kept_bar, kept = (gr.Textbox(visible="hidden") for _ in range(3))
    address = gr.HTML(
        value="",
        html_template="<i hidden></i>",
        js_on_load="/* 'open' */ window.Sonopaint.mountAddress(element, { trigger });",
        elem_id="address",
        apply_default_css=False,
    )
    address.open(_chosen, None, tabs, **widgets.QUICK)

    def found(name: str, told: str, request: gr.Request) -> list[Any]:
        context.sessions.found_again(request, name)
        return restored(bar.inputs(), told)

    loaded = app.load(
        found,
        [tab, kept_bar],
        bar.inputs(),
        js="() => [window.Sonopaint.tab(), window.Sonopaint.kept('bar')]",
        **widgets.QUICK,
    )
    handler, inputs, outputs = follow
    loaded = loaded.then(handler, inputs, outputs, **widgets.QUICK)
    loaded = loaded.then(
        lambda told: restored(fields, told),
        kept,
        list(fields),
        js="() => [window.Sonopaint.kept('fields')]",
        **widgets.QUICK,
    )
    for resume, shown in resumes:
        loaded.then(resume, None, shown, **widgets.LONG)
    for name, parts in (("bar", bar.inputs()), ("fields", fields)):
        gr.on(
            [part.change for part in parts],
            None,
            list(parts),
            js=f"(...values) => {{ window.Sonopaint.keep('{name}', values); }}",
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )


def _chosen(event: gr.EventData) -> Any:
    """The page that the address names."""
    return gr.update(selected=str(event.page))
