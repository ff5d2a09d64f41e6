"""The fields of a sub-tab, made of the argument object's own fields, and back into it."""

from __future__ import annotations

import dataclasses
from typing import Any

import gradio as gr

from sonoconvert.pictures.format import PRESETS
from sonopaint_webui import compat, host
from sonopaint_webui.arguments import Arguments, default_of
from sonopaint_webui.names import label

AUTOMATIC = "Automatic"
OWN_FORMAT = "as the model says"
ANY_STUDENT = "as the prompt says"
# What is seen at once; the others are folded away.
FIRST = ("prompt", "negative_prompt", "styles")
FOLDED = ("steps", "cfg_scale", "sampler", "scheduler", "format", "iterations")
# A slider's end where the limit is far beyond what anybody wants.
USUAL = {
    "steps": 150,
    "iterations": 200,
    "left": 30.0,
    "right": 30.0,
    "seconds": 60.0,
    "seam": 5.0,
    "feather": 1.0,
}
STEPS = {"strength": 0.01, "feather": 0.01, "cfg_scale": 0.5}


def field(action: str, name: str) -> Any:
    """The component of one of an action's arguments."""
    item = next(one for one in dataclasses.fields(Arguments) if one.name == name)
    about = item.metadata
    value = default_of(action, item)
    common = {
        "label": label(name),
        "elem_id": f"sonopaint_{action.replace('-', '_')}_{name}",
    }
    if name in ("sampler", "scheduler", "format", "student", "styles"):
        return _choice(name, common)
    if isinstance(value, tuple):
        return gr.CheckboxGroup(choices=list(about["choices"]), value=list(value), **common)
    if about["choices"]:
        return gr.Radio(choices=list(about["choices"]), value=value, **common)
    if isinstance(value, bool):
        return gr.Checkbox(value=value, **common)
    if name == "seconds":
        common["info"] = "0: the model's own"
    if name in ("seed", "to_seed"):
        return gr.Number(value=value, precision=0, **common)
    if isinstance(value, (int, float)):
        high = USUAL.get(name, about["high"])
        step = STEPS.get(name, 1 if isinstance(value, int) else 0.05)
        return gr.Slider(minimum=about["low"], maximum=high, step=step, value=value, **common)
    lines = 2 if name in ("prompt", "to_prompt") else 1
    return gr.Textbox(value=value, lines=lines, placeholder=about["help"], **common)


def hidden(panel: str, name: str) -> Any:
    """A text field that scripts write; one that is not visible would not be in the page at all."""
    return gr.Textbox(
        "", label=name, show_label=False, elem_id=f"{panel}_{name}", elem_classes=["sonopaint-hidden"]
    )


def _choice(name: str, common: dict[str, Any]) -> Any:
    if name == "styles":
        return gr.Dropdown(choices=host.style_names(), value=[], multiselect=True, **common)
    choices = {
        "sampler": host.sampler_names,
        "scheduler": lambda: host.scheduler_names() or [AUTOMATIC],
        "format": lambda: [OWN_FORMAT, *PRESETS],
        "student": student_choices,
    }[name]()
    return gr.Dropdown(choices=choices, value=any_student() if name == "student" else choices[0], **common)


def student_choices() -> list[str]:
    """The one-step files that are there now."""
    return [ANY_STUDENT, *(one.name for one in host.students())]


def any_student() -> str:
    """The one-step file that the page begins with: one for every sound, else a subject, if there is any."""
    there = sorted(host.students(), key=lambda one: one.subject)
    return there[0].name if there else ANY_STUDENT


def values_of(names: list[str], given: tuple[Any, ...]) -> dict[str, Any]:
    """What the page's fields say, as ``Arguments.of`` takes it; an emptied field is left out."""
    words = {"scheduler": AUTOMATIC, "format": OWN_FORMAT, "student": ANY_STUDENT}
    values = {}
    for name, value in zip(names, given, strict=True):
        if value is not None:
            values[name] = "" if value == words.get(name) else value
    return values


def shown_value(component: Any, name: str, value: Any) -> Any:
    """The change of a field to an argument's value; none where it is not among the field's choices."""
    words = {"scheduler": AUTOMATIC, "format": OWN_FORMAT, "student": ANY_STUDENT}
    value = words.get(name, value) if value == "" else value
    if name == "sampler" and not value:
        return compat.update()
    choices = getattr(component, "choices", None)
    if choices is not None:
        there = {one[1] if isinstance(one, tuple) else one for one in choices}
        if name == "student":
            there.update(student_choices())
        if isinstance(value, tuple):
            return compat.update(value=[one for one in value if one in there])
        if value not in there:
            return compat.update()
    return compat.update(value=value)
