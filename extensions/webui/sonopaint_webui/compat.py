"""What differs between the hosts' versions of Gradio: 3.41 in AUTOMATIC1111, 4.40 in Forge."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

MAJOR = int(gr.__version__.partition(".")[0])


def js(code: str) -> dict[str, Any]:
    """The keyword argument that runs JavaScript in an event: ``button.click(fn, **js("() => 1"))``."""
    return {"_js" if MAJOR < 4 else "js": code}


def audio(**options: Any) -> Any:
    """A gr.Audio that gives and takes paths of files, as they are.

    Gradio itself would write each sound anew, in 16 bits, and needs FFmpeg for all but WAV.
    """
    component: Any = gr.Audio(type="filepath", **options)
    anew = component.preprocess

    def given(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            return str(value.path)
        whole = (value.get("crop_min") or 0, value.get("crop_max") or 100) == (0, 100)
        if not whole:  # Gradio 3 cuts what was marked on its own player
            return str(anew(value))
        if value.get("is_file"):
            return str(component.make_temp_copy_if_needed(value["name"]))
        return str(component.base64_to_temp_file_if_needed(value["data"], value["name"]))

    component.preprocess = given
    return component


def update(**options: Any) -> Any:
    """A change of a component's properties."""
    return gr.update(**options)


def message(text: str, kind: str = "error") -> str:
    """HTML of one sentence for people; kind: "error", "warning" or "info"."""
    return f'<div class="sonopaint-message sonopaint-{kind}" role="alert">{html.escape(text)}</div>'
