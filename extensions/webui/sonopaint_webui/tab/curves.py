"""The fold-out "Curves" of a sub-tab: lanes to draw on, filled from a voice or a file; or points in words."""

from __future__ import annotations

import base64
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.curves.curves import Curves
from sonoconvert.errors import SonopaintError
from sonopaint_webui import compat, results
from sonopaint_webui.arguments import CURVES as NAMES
from sonopaint_webui.names import said
from sonopaint_webui.tab.fields import field, hidden

logger = logging.getLogger(__name__)

PARTS = ("curves", *NAMES, "exact")  # of the arguments
USUAL_S = 5.12  # of a new sound whose length nobody has said
LONGEST_S = 60.0  # of a new sound that is made as long as what it follows
HINT = (
    "Draw how loud, how high and how bright the sound is to be, and when; what is not drawn is the model's "
    "choice. Or hum it. Mini follows while it paints (in AUTOMATIC1111); whole sounds of any checkpoint are "
    "brought to the curves afterwards."
)
FILES = [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mid", ".midi", ".csv", ".tsv", ".txt", ".png"]
FILES += [".mp4", ".mov", ".webm", ".mkv", ".gif"]
QUIET: dict[str, Any] = {"show_progress": False}


class CurvesFold:
    """The fold-out of one sub-tab. `lanes`: the HTML that shows them."""

    def __init__(self, panel: str, action: str) -> None:
        self.id, self.action = panel, action
        self.lanes: Any = None
        self.text: Any = None

    def shown(self, asked: str | None, seconds: float | None, got: Curves | None = None) -> str:
        """The lanes: what is asked (JSON), and over it what a sound measures."""
        value = {
            "asked": asked or "",
            "got": json.dumps(got.to_dict()) if got is not None else "",
            "seconds": seconds or USUAL_S,
        }
        return results.views("lanes", value, target=f"{self.id}_curves")

    def fill(self, path: Any, names: list[str], seconds: float | None) -> tuple[Any, Any, str, Any]:
        """A file into the lanes: (lanes, curves, status, the length of new sounds)."""
        path = getattr(path, "name", path)
        nothing = (compat.update(),) * 2
        if not path:
            return *nothing, "", compat.update()
        try:
            from sonoconvert.curves.reading import read_curves

            curves = read_curves(path)
            kept = [name for name in curves.names if name in NAMES and name in (names or NAMES)]
            if not kept:
                raise SonopaintError(
                    f"This file tells {', '.join(curves.names)}; choose one of them to take, or another file."
                )
            curves = curves.only(kept)
        except SonopaintError as error:
            told = said(error).replace(str(path), Path(path).name)
            return *nothing, compat.message(told), compat.update()
        length = round(min(max(curves.duration_s - 0.5 / curves.rate, 0.1), LONGEST_S), 2)
        told = compat.message(" ".join([f"{', '.join(kept)} of {length:g} s.", *curves.notes]), "info")
        text = json.dumps(curves.to_dict())
        new = self.action == "generate"
        return (
            self.shown(text, length if new else seconds),
            text,
            told,
            compat.update(value=length) if new else compat.update(),
        )

    def sung(self, recorded: str, names: list[str], seconds: float | None) -> tuple[Any, Any, str, Any]:
        """A recording of the page, a WAV as data URL, into the lanes."""
        if not recorded:
            return compat.update(), compat.update(), "", compat.update()
        with tempfile.TemporaryDirectory(prefix="sonopaint-") as folder:
            path = Path(folder, "recording.wav")
            try:
                path.write_bytes(base64.b64decode(recorded.partition(",")[2], validate=True))
            except ValueError as error:
                logger.info("Recording refused: %s", error)
                bad = compat.message("The recording could not be read: record again.")
                return compat.update(), compat.update(), bad, compat.update()
            return self.fill(str(path), names, seconds)

    def build(self, parts: dict[str, Any]) -> None:
        """Lay it out and add its fields to the sub-tab's; `wire` makes it work."""
        with gr.Accordion("Curves", open=False, elem_id=f"{self.id}_curves_fold"):
            gr.HTML(f'<p class="sonopaint-hint">{HINT}</p>')
            self.lanes = gr.HTML(self.shown("", None), elem_id=f"{self.id}_lanes")
            self.take = gr.CheckboxGroup(
                choices=list(NAMES), value=list(NAMES), label="Take from it", elem_id=f"{self.id}_curves_take"
            )
            self.file = compat.file(
                label="What it is to follow: a voice or another sound, MIDI, CSV, a video",
                file_types=FILES,
                elem_id=f"{self.id}_curves_file",
            )
            self.recorded = hidden(self.id, "sung")
            self.status = gr.HTML("", elem_id=f"{self.id}_curves_status")
            self.text = parts["curves"] = hidden(self.id, "curves")  # JSON, which the lanes write
            for start in (0, 2):
                with gr.Row():
                    parts.update({name: field(self.action, name) for name in NAMES[start : start + 2]})
            parts["exact"] = field(self.action, "exact")

    def wire(self, length: Any) -> None:
        """length: the field of new sounds' seconds, or a hidden one of those of the sound to edit."""
        outputs = [self.lanes, self.text, self.status, length]
        self.file.change(fn=self.fill, inputs=[self.file, self.take, length], outputs=outputs, **QUIET)
        self.recorded.change(
            fn=self.sung, inputs=[self.recorded, self.take, length], outputs=outputs, **QUIET
        )
        length.change(fn=self.shown, inputs=[self.text, length], outputs=[self.lanes], **QUIET)


def read(text: str | None) -> dict[str, Any] | None:
    """What the lanes keep, as the argument `curves`."""
    try:
        found = json.loads(text or "null")
    except ValueError as error:
        raise SonopaintError("The curves could not be read: draw them again.") from error
    return found if isinstance(found, dict) else None
