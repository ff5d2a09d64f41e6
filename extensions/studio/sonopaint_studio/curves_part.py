"""*Curves* of three pages: lanes to draw on, filled from a voice or a file; the result's drawn over them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import gradio as gr

from sonoconvert.curves.curves import Curves
from sonoconvert.errors import SonopaintError
from sonopaint_studio import widgets
from sonopaint_studio.context import Context
from sonopaint_studio.jobs import error_html, note_html
from sonopaint_studio.sounds import named

HINT = (
    "Draw how loud, how high and how bright the sound is to be, and when. What is not drawn is the model's "
    "choice. Or hum it: your voice fills the lanes."
)
MOST_CHARACTERS = 2_000_000
LANES = ("loudness", "pitch", "brightness", "onsets")


def read_lanes(text: str | None) -> Curves | None:
    """What the lanes say; None where everything is free. SonopaintError for what is no curves."""
    if not text:
        return None
    if len(text) > MOST_CHARACTERS:
        raise SonopaintError("The curves are too long; make a shorter sound.")
    try:
        curves = Curves.from_dict(json.loads(text))
    except ValueError as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError("The curves can't be read; draw them again.") from error
    return None if curves.is_free else curves


def value(
    asked: Curves | None = None, got: Curves | None = None, seconds: float | None = None, says: str = ""
) -> dict[str, Any]:
    """For the lanes; what is None stays as it is there."""
    return {
        "asked": json.dumps(asked.to_dict()) if asked else None,
        "got": json.dumps(got.to_dict()) if got else None,
        "seconds": seconds,
        "says": says,
        "time": time.monotonic(),  # the same lanes once more are news, too
    }


class CurvesPart:
    """The fold-out with lanes, microphone and import. name: of its elements, one on each page."""

    def __init__(self, context: Context, name: str = "curves", hint: str = HINT) -> None:
        self.context, self.name, self.hint = context, name, hint
        self.box: gr.Accordion
        self.lanes: gr.HTML
        self.exact: gr.Checkbox
        self.asked: gr.Textbox

    def fill(self, pitch: bool, bright: bool, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A voice or a file into the lanes: (lanes, status, seconds)."""
        from sonoconvert.curves.reading import read_curves

        path, name = None, str(event.files[-1]["name"])
        try:
            path = self.context.sessions.uploaded(event.files[-1]["path"])
            curves = read_curves(path)
            kept = [name for name in curves.names if name in LANES]
            kept = [n for n in kept if (pitch or n != "pitch") and (bright or n != "brightness")]
            if not kept:
                raise SonopaintError(
                    f"This file tells {', '.join(curves.names)}, for which there are no lanes."
                )
            curves = curves.only(kept)
        except SonopaintError as error:
            return gr.skip(), error_html(named(error, name, path)), gr.skip()
        seconds = round(min(max(curves.duration_s - 0.5 / curves.rate, 0.1), 60.0), 2)
        told = f"The lanes are those of {seconds:g} s. " + " ".join(curves.notes)
        return value(curves, seconds=seconds), note_html(told.strip()), seconds

    def fill_alone(
        self, pitch: bool, bright: bool, request: gr.Request, event: gr.EventData
    ) -> tuple[Any, ...]:
        """The same under a sound that has its length: (lanes, status)."""
        lanes, status, _ = self.fill(pitch, bright, request, event)
        return {**lanes, "seconds": None} if "asked" in lanes else lanes, status

    def build(self, seconds: gr.Number | None = None) -> None:
        """Lay it out. seconds: of new sounds; without, the page says with `value` how long the lanes are."""
        name = self.name
        with gr.Accordion("Curves", open=False, elem_id=f"{name}-box") as self.box:
            gr.HTML(note_html(self.hint), apply_default_css=False)
            self.lanes = widgets.mounted(
                name, "curves", value(seconds=seconds.value if seconds is not None else None),
                f"window.Sonopaint.mountCurves('{name}', element, {{ props, watch }});",
            )  # fmt: skip
            with gr.Row(elem_classes="sp-pair"):
                pitch = gr.Checkbox(True, label="Take the pitch", min_width=110, elem_id=f"{name}-pitch")
                bright = gr.Checkbox(
                    True, label="Take the brightness", min_width=110, elem_id=f"{name}-bright"
                )
            drop = widgets.dropzone(
                "Sing it, or drop what it is to follow",
                "A voice or another sound, MIDI, CSV, or a video.",
                f"{name}-drop",
                single=True,
                record=True,
            )
            self.exact = gr.Checkbox(
                True,
                label="Bring the result to the curves (gain, pitch and brightness)",
                elem_id=f"{name}-exact",
            )
            self.status = gr.HTML("", elem_id=f"{name}-status", apply_default_css=False)
        self.asked = gr.Textbox(visible="hidden", elem_id=f"{name}-asked")
        if seconds is None:
            drop.files(self.fill_alone, [pitch, bright], [self.lanes, self.status], **widgets.EVERY)
            return
        outputs = [self.lanes, self.status, seconds]
        drop.files(self.fill, [pitch, bright], outputs, **widgets.EVERY)
        seconds.change(
            lambda s: value(seconds=s) if s and 0.1 <= s <= 60 else gr.skip(),
            seconds,
            self.lanes,
            **widgets.QUICK,
        )

    def sent(self, inputs: list[Any]) -> tuple[list[Any], str]:
        """(inputs of a button with the lanes' at their end, the script that reads the lanes into them)."""
        read = f"values[{len(inputs)}] = window.Sonopaint.curves('{self.name}');"
        return [*inputs, self.asked, self.exact], read


def following(model: Any, curves: Curves | None, prompt: str) -> tuple[Any, Curves | None]:
    """(the model, or a painter that follows the curves; the curves as they are followed)."""
    if curves is None:
        return model, None
    from sonopaint.painters.diffusers_painter import DiffusersPainter
    from sonopaint.painters.following import following as with_adapter
    from sonopaint.painters.following import in_register

    follow = with_adapter(model, curves)
    painter = DiffusersPainter(model, follow)  # which knows the adapter's classes, too
    painter.following = replace(follow, curves=in_register(follow.curves, painter.knowledge, prompt))
    return painter, painter.following.curves


def finished(results: list[Any], asked: Curves | None, exact: bool) -> tuple[list[Any], Curves | None]:
    """(results brought to their curves, what the first one measures)."""
    if asked is None:
        return results, None
    from sonopaint.tasks.following import exactly, measured

    if exact:
        results = [exactly(result, asked) for result in results]
    return results, measured(results[0], asked)
