"""The top of the tab: what the checkpoint that is chosen can do, and Mini for who has none for sounds.

javascript/sonopaint_tab.js presses a hidden button when the tab comes into sight and when another checkpoint
is chosen at the top of the page.
"""

from __future__ import annotations

import html
import logging
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint.knowledge import knowledge_of
from sonopaint.models.info import is_for_sound
from sonopaint.tasks.settings import SD_DEFAULTS
from sonopaint_webui import compat, host, shipped
from sonopaint_webui.tab.fields import any_student, hidden, student_choices
from sonopaint_webui.tab.panel import QUIET, Panel

logger = logging.getLogger(__name__)

# The argument that a checkpoint's own default is for, by its name in the checkpoint's header.
OWN = {"steps": "steps", "cfg_scale": "guidance_scale", "sampler": "sampler"}

# The host loads a checkpoint by its title, and its own menu shows that.
CHOOSE = compat.js("(title) => { sonopaintChoose(title); return []; }")


class Start:
    """The line over the sub-tabs. Laid out before them, wired when they are there."""

    def __init__(self) -> None:
        with gr.Row(elem_classes=["sonopaint-start"]):
            self.about = gr.HTML("", elem_id="sonopaint_about")
            self.add = gr.Button(
                "Add Sonopaint Mini", elem_id="sonopaint_add_mini", visible=False, variant="primary"
            )
        self.seen = hidden("sonopaint_model", "seen")
        self.chosen = hidden("sonopaint_model", "chosen")
        self.tick = gr.Button("Look", elem_id="sonopaint_model_look", elem_classes=["sonopaint-hidden"])

    def wire(self, panels: list[Panel]) -> None:
        """Let the line follow the checkpoint, and the sub-tabs' fields its own defaults."""
        follow = [(panel, name) for panel in panels for name in OWN if name in panel.names]
        student = next(panel.part("student") for panel in panels if panel.action == "one-step")
        outputs = [self.about, self.add, self.seen, *(panel.part(name) for panel, name in follow)]

        def look(seen: str) -> list[Any]:
            path = chosen()
            changes = defaults(path, first=not seen) if str(path) != seen else {}
            return [
                about(path),
                compat.update(visible=not shipped.is_mini(path) and not host.is_forge()),
                str(path),
                *(
                    compat.update(value=changes[name]) if name in changes else compat.update()
                    for _, name in follow
                ),
            ]

        self.tick.click(fn=look, inputs=[self.seen], outputs=outputs, queue=False, **QUIET)
        self.add.click(fn=add, outputs=[self.about, self.chosen, student], **QUIET).then(
            fn=None, inputs=[self.chosen], **CHOOSE
        )


def add() -> tuple[str, Any, Any]:
    """Put Mini where the host finds it: (what is told, the checkpoint to choose, the one-step files)."""
    try:
        title = shipped.add_mini()
    except SonopaintError as error:
        return compat.message(error), compat.update(), compat.update()
    told = compat.message("Sonopaint Mini is added; the WebUI loads it now.", "info")
    return told, title, compat.update(choices=student_choices(), value=any_student())


def chosen() -> Path | None:
    """The checkpoint at the top of the page; None where there is none."""
    try:
        return host.chosen_checkpoint()
    except SonopaintError:
        return None


def defaults(path: Path | None, *, first: bool) -> dict[str, Any]:
    """What a checkpoint's header says of the tab's fields; the usual values for one that says nothing.

    first: the page has only just been opened, and has these.
    """
    own = host.defaults_of(path) if path is not None else {}
    if first and not own:
        return {}
    usual = {**SD_DEFAULTS, "sampler": next(iter(host.sampler_names()), ""), **own}
    return {name: usual[key] for name, key in OWN.items() if usual.get(key)}


def about(path: Path | None) -> str:
    """HTML: what is chosen, and what it knows, where that can be said."""
    more = (
        ""
        if host.is_forge()
        else ", or press “Add Sonopaint Mini”, the small model that comes with Sonopaint"
    )
    if path is None:
        return compat.message(
            f"There is no checkpoint yet: choose one for sounds at the top of the page{more}."
        )
    if not is_for_sound(path, host.header_of(path)):
        return compat.message(
            f"{path.stem} paints pictures, which are no sounds unless the prompt has a LoRA for sounds. "
            f"Choose a checkpoint for sounds (such as Riffusion) at the top of the page{more}.",
            "warning",
        )
    try:
        fmt = host.format_of("", checkpoint=path)
    except SonopaintError as error:
        return compat.message(error)
    form = f" {fmt.name}," * (fmt.name != path.stem)
    line = f"{path.stem}:{form} {fmt.seconds(fmt.width):.2f} s at once, {fmt.sample_rate / 1000:g} kHz."
    known = knowledge_of(path)
    if known is None:
        return f"<p>{html.escape(line)}</p>"
    kinds = ", ".join(kind.replace("_", " ") for kind in known.kinds)
    return (
        f"<details><summary>{html.escape(line)} It knows {len(known.kinds)} kinds of sound.</summary>"
        f"<p>{html.escape(kinds)}</p></details>"
    )
