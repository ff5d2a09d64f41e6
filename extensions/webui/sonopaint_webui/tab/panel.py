"""A sub-tab that paints: prompt, the sound to edit, what this action knows, and the results."""

from __future__ import annotations

import base64
import html
import json
import logging
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.clip import Clip
from sonoconvert.errors import Cancelled, SonopaintError
from sonopaint_webui import actions, compat, host, results
from sonopaint_webui.arguments import ON_A_CLIP, Arguments, names_of
from sonopaint_webui.tab.fields import FIRST, FOLDED, OWN_FORMAT, field, student_choices, values_of

logger = logging.getLogger(__name__)

PANELS = {
    "inpaint": "Inpaint",
    "outpaint": "Outpaint",
    "loop": "Loop",
    "vary": "Variations",
    "interpolate": "Interpolate",
    "one-step": "One-step subject",
}
HINTS = {
    "inpaint": "Only what is marked changes. Every other sample stays as it is.",
    "outpaint": "New sound before and after; send the result here again to go on to any length.",
    "loop": "Repaints around the ends, so that the sound plays round and round; without one, a new loop.",
    "vary": "The whole sound, a little or very different: one for each seed.",
    "interpolate": "From one prompt and seed to another over several sounds, and all of them joined.",
    "one-step": "A subject or model that was distilled paints each sound in one step, without guidance.",
}
GO = {
    "inpaint": "Inpaint",
    "outpaint": "Extend",
    "loop": "Make a loop",
    "vary": "Vary",
    "interpolate": "Interpolate",
}
MAX_RECORDING = 64 << 20  # bytes of base64
QUIET: dict[str, Any] = {"show_progress": False}


def views(kind: str, value: Any, **more: str) -> str:
    """HTML that javascript/sonopaint_tab.js turns into spectrograms with players."""
    attributes = "".join(f' data-{name}="{html.escape(text)}"' for name, text in more.items())
    shown = html.escape(json.dumps(value))
    return f'<div class="sonopaint-views" data-sonopaint="{kind}" data-value="{shown}"{attributes}></div>'


class Panel:
    """One sub-tab and what its buttons do."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.id = f"sonopaint_{action.replace('-', '_')}"
        self.names = [name for name in names_of(action) if name != "region"]
        self.source: Any = None

    def build(self) -> Panel:
        """Lay the sub-tab out and wire it."""
        parts: dict[str, Any] = {}

        def add(*names: str) -> None:
            parts.update({name: field(self.action, name) for name in names if name in self.names})

        gr.HTML(f'<p class="sonopaint-hint">{html.escape(HINTS[self.action])}</p>')
        with gr.Row():
            with gr.Column(scale=2):
                add(*FIRST)
                special = [name for name in self.names if name not in (*FIRST, *FOLDED, "seed", "count")]
                for start in range(0, len(special), 2):
                    with gr.Row():
                        add(*special[start : start + 2])
                with gr.Row():
                    add("seed", "count")
                with gr.Accordion("Sampling and format", open=False, elem_id=f"{self.id}_more"):
                    for start in range(0, len(FOLDED), 2):
                        with gr.Row():
                            add(*FOLDED[start : start + 2])
                with gr.Row(elem_classes=["sonopaint-go"]):
                    go = gr.Button(GO.get(self.action, "Make"), variant="primary", elem_id=f"{self.id}_go")
                    interrupt = gr.Button("Interrupt", elem_id=f"{self.id}_interrupt")
                    skip = gr.Button("Skip", elem_id=f"{self.id}_skip")
                if self.action == "one-step":
                    refresh = gr.Button("Look for new files", elem_id=f"{self.id}_refresh")
                    refresh.click(
                        fn=lambda: compat.update(choices=student_choices()), outputs=[parts["student"]]
                    )
            with gr.Column(scale=3):
                self.source = compat.audio(
                    label="The sound", elem_id=f"{self.id}_source", visible=self.takes_a_sound
                )
                view = gr.HTML("", elem_id=f"{self.id}_view")
                status = gr.HTML("", elem_id=f"{self.id}_status", elem_classes=["sonopaint-status"])
                made = gr.HTML("", elem_id=f"{self.id}_made")
        marks, task, recorded = (self._hidden(name) for name in ("marks", "task", "recorded"))
        ordered = [parts[name] for name in self.names]
        looking = [self.source, parts["format"], parts["prompt"]]
        if self.takes_a_sound:
            self.source.change(fn=self.look, inputs=looking, outputs=[view, status], **QUIET)
            parts["format"].change(fn=self.look, inputs=looking, outputs=[view, status], **QUIET)
            recorded.change(fn=recording, inputs=[recorded], outputs=[self.source, status], **QUIET)
        go.click(fn=self.run, inputs=[task, self.source, marks, *ordered], outputs=[status, made], **QUIET)
        interrupt.click(fn=lambda: _state().interrupt(), **QUIET)
        skip.click(fn=lambda: _state().skip(), **QUIET)
        return self

    @property
    def takes_a_sound(self) -> bool:
        return self.action in ON_A_CLIP

    def _hidden(self, name: str) -> Any:
        """A text field that scripts write; one that is not visible would not be in the page at all."""
        return gr.Textbox(
            "", label=name, show_label=False, elem_id=f"{self.id}_{name}", elem_classes=["sonopaint-hidden"]
        )

    def look(self, path: str | None, format: str, prompt: str) -> tuple[str, str]:
        """(the spectrogram of the sound, status)."""
        if not path:
            return "", ""
        try:
            clip = results.open_sound(Path(path))
            fmt = host.format_of(prompt or "", "" if format == OWN_FORMAT else format)
            view = results.source_view(clip, fmt, Path(path), Path(path).name)
        except SonopaintError as error:
            return "", compat.message(str(error).replace(str(path), Path(path).name))
        kind = "editor" if self.action == "inpaint" else "source"
        return views(kind, view | {"format": fmt.name}, target=f"{self.id}_marks"), ""

    def run(self, task: str, path: str | None, marks: str, *given: Any) -> tuple[str, Any]:
        """(status, the results) of one press of the button."""
        made: list[dict[str, Any]] = []
        stopped = ""
        try:
            clip = results.open_sound(Path(path)) if path and self.takes_a_sound else None
            arguments = self._arguments(marks, given)
            for result, infotext in actions.run(arguments, clip, task or None):
                kept = results.keep(result, infotext)
                made.append(kept.view(_title(result.settings, clip)))
        except SonopaintError as error:
            return compat.message(str(error).replace(str(path), "The sound")), compat.update()
        except Cancelled as error:
            stopped = str(error)
        if not made:
            return compat.message(stopped, "info"), compat.update()
        folder = Path(made[0]["path"]).parent
        status = compat.message(f"{len(made)} saved in {folder}.", "info")
        return status, views("cards", made)

    def _arguments(self, marks: str, given: tuple[Any, ...]) -> Arguments:
        values = values_of(self.names, given)
        if self.action == "inpaint":
            values["region"], drawn_in = read_marks(marks)
            fmt = host.format_of(values.get("prompt", ""), values.get("format", "")).name
            if values["region"].get("brush") and drawn_in not in ("", fmt):
                raise SonopaintError(
                    f"The brush was drawn in {drawn_in}, but {fmt} is painted now: load the sound again."
                )
        return Arguments.of(self.action, values)


def read_marks(text: str) -> tuple[dict[str, Any], str]:
    """(region, format) of what the page's editor keeps."""
    try:
        marked = json.loads(text or "{}")
        return {name: marked[name] for name in ("boxes", "brush") if marked.get(name)}, str(
            marked.get("format", "")
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise SonopaintError("The marks on the picture could not be read: clear and mark again.") from error


def recording(text: str) -> tuple[Any, str]:
    """A recording of the page, a WAV as data URL, as the sound to edit: (source, status)."""
    if not text:
        return compat.update(), ""
    try:
        if len(text) > MAX_RECORDING:
            raise SonopaintError("The recording is too long: record at most some minutes.")
        folder = Path(tempfile.mkdtemp(prefix="sonopaint-"))
        path = folder / "recording.wav"
        path.write_bytes(base64.b64decode(text.partition(",")[2], validate=True))
        results.open_sound(path)
    except (SonopaintError, ValueError) as error:
        logger.info("Recording refused: %s", error)
        return compat.update(), compat.message("The recording could not be read: record again.")
    return str(path), ""


def wire_sending(tabs: Any, panels: list[Panel]) -> None:
    """Cards and other pages write {"to": panel, "key": file} into one field; that panel gets the sound."""
    takers = [panel for panel in panels if panel.takes_a_sound]
    box = gr.Textbox(
        "", label="send", show_label=False, elem_id="sonopaint_send", elem_classes=["sonopaint-hidden"]
    )

    def send(text: str) -> list[Any]:
        nothing = [compat.update() for _ in range(len(takers) + 1)]
        try:
            wanted = json.loads(text or "{}")
            path = results.path_of(str(wanted["audio"]).split("/")[2])
            index = [panel.action for panel in takers].index(wanted["to"])
        except (ValueError, KeyError, IndexError, TypeError):
            return nothing
        if path is None:
            return nothing
        # Gradio takes files from its own temporary folder only.
        folder = Path(tempfile.gettempdir()) / "gradio" / f"sonopaint-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        nothing[0] = compat.update(selected=wanted["to"])
        nothing[1 + index] = compat.update(value=shutil.copy(path, folder))
        return nothing

    box.change(fn=send, inputs=[box], outputs=[tabs, *(panel.source for panel in takers)], **QUIET)


def _title(settings: dict[str, Any], clip: Clip | None) -> str:
    words = str(settings.get("prompt", "")) or ("no prompt" if clip is None else "the same, painted again")
    return words if len(words) < 80 else words[:79] + "…"


def _state() -> Any:
    from modules import shared

    return shared.state
