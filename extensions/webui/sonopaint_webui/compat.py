"""What differs between the hosts' versions of Gradio: 3.41 in AUTOMATIC1111, 4.40 in Forge."""

from __future__ import annotations

import html
import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from sonopaint_webui.names import said

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
        if value.get("is_file"):
            _check_given(value["name"])
        whole = (value.get("crop_min") or 0, value.get("crop_max") or 100) == (0, 100)
        if not whole:  # Gradio 3 cuts what was marked on its own player
            return str(anew(value))
        if value.get("is_file"):
            return str(component.make_temp_copy_if_needed(value["name"]))
        return str(component.base64_to_temp_file_if_needed(value["data"], value["name"]))

    component.preprocess = given
    return component


def file(**options: Any) -> Any:
    """A gr.File that takes no file but what was uploaded to it."""
    component: Any = gr.File(**options)
    as_it_is = component.preprocess

    def given(value: Any) -> Any:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and one.get("is_file"):
                _check_given(one["name"])
        return as_it_is(value)

    component.preprocess = given
    return component


def _check_given(name: Any) -> None:
    """Whether a file was uploaded, or lies in an output folder; Gradio 3 reads whatever a request names."""
    from sonopaint_webui.results import allowed_folders

    uploads = os.environ.get("GRADIO_TEMP_DIR") or str(Path(tempfile.gettempdir()) / "gradio")
    path = Path(os.path.realpath(str(name)))
    if not any(
        path.is_relative_to(os.path.realpath(folder)) for folder in (uploads, *map(str, allowed_folders()))
    ):
        raise gr.Error("This file was not uploaded here: drop it on the page.")


def update(**options: Any) -> Any:
    """A change of a component's properties."""
    return gr.update(**options)


def message(text: str | Exception, kind: str = "error") -> str:
    """HTML of one sentence for people; kind: "error", "warning" or "info"."""
    text = said(text) if isinstance(text, Exception) else text
    return f'<div class="sonopaint-message sonopaint-{kind}" role="alert">{html.escape(text)}</div>'
