"""A sub-tab that paints: prompt, the sound to edit, what this action knows, and the results."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint_webui import actions, compat, host, infotext, results, shipped
from sonopaint_webui.arguments import ON_A_CLIP, Arguments, names_of
from sonopaint_webui.names import said
from sonopaint_webui.tab import curves
from sonopaint_webui.tab.fields import (
    FIRST,
    FOLDED,
    OWN_FORMAT,
    field,
    hidden,
    shown_value,
    student_choices,
    values_of,
)

if TYPE_CHECKING:
    from sonopaint.tasks.result import Result

logger = logging.getLogger(__name__)

PANELS = {
    "generate": "Generate",
    "inpaint": "Inpaint",
    "outpaint": "Outpaint",
    "loop": "Loop",
    "vary": "Variations",
    "interpolate": "Interpolate",
    "one-step": "One-step subject",
}
HINTS = {
    "generate": "A new sound from words. What is longer than the model paints is made of parts that fit.",
    "inpaint": "Only what is marked changes. Every other sample stays as it is.",
    "outpaint": "New sound before and after; send the result here again to go on to any length.",
    "loop": "Repaints around the ends, so that the sound plays round and round; without one, a new loop.",
    "vary": "The whole sound, a little or very different: one for each seed, or the best of more.",
    "interpolate": "From one prompt and seed to another over several sounds, and all of them joined.",
    "one-step": "A subject or model that was distilled paints each sound in one step, without guidance.",
}
GO = {
    "generate": "Generate",
    "inpaint": "Inpaint",
    "outpaint": "Extend",
    "loop": "Make a loop",
    "vary": "Vary",
    "interpolate": "Interpolate",
}
# What belongs together; what is not named here follows in pairs.
ROWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "outpaint": (("left", "right"), ("left_prompt", "right_prompt")),
    "interpolate": (("to_prompt",), ("seed", "to_seed"), ("clips", "seconds")),
    "one-step": (("student", "seconds"),),
    "vary": (("strength",), ("keep",), ("choose",)),
}
MAX_RECORDING = 64 << 20  # bytes of base64
QUIET: dict[str, Any] = {"show_progress": False}


class Panel:
    """One sub-tab and what its buttons do."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.id = f"sonopaint_{action.replace('-', '_')}"
        self.names = [name for name in names_of(action) if name != "region"]
        self.source: Any = None
        self.parts: dict[str, Any] = {}
        self.boxes: Any = None
        self.fold = curves.CurvesFold(self.id, action) if "curves" in self.names else None

    def build(self) -> Panel:
        """Lay the sub-tab out and wire it."""
        parts = self.parts

        def add(*names: str) -> None:
            parts.update({name: field(self.action, name) for name in names if name in self.names})

        gr.HTML(f'<p class="sonopaint-hint">{html.escape(HINTS[self.action])}</p>')
        with gr.Row():
            with gr.Column(scale=2):
                add(*FIRST)
                for row in self._rows():
                    with gr.Row():
                        add(*row)
                if self.fold is not None:
                    self.fold.build(parts)
                with gr.Accordion("Sampling and format", open=False, elem_id=f"{self.id}_more"):
                    for start in range(0, len(FOLDED), 2):
                        with gr.Row():
                            add(*FOLDED[start : start + 2])
                with gr.Row(elem_classes=["sonopaint-go"]):
                    go = gr.Button(GO.get(self.action, "Make"), variant="primary", elem_id=f"{self.id}_go")
                    interrupt = gr.Button("Interrupt", elem_id=f"{self.id}_interrupt")
                    skip = gr.Button("Skip", elem_id=f"{self.id}_skip")
                    paste = gr.Button("Paste settings", elem_id=f"{self.id}_paste")
                if self.action == "one-step":
                    refresh = gr.Button("Look for new files", elem_id=f"{self.id}_refresh")
                    refresh.click(
                        fn=lambda: compat.update(choices=student_choices()), outputs=[parts["student"]]
                    )
                    say = [parts["student"], parts["prompt"]]
                    parts["student"].change(fn=its_prompt, inputs=say, outputs=[parts["prompt"]], **QUIET)
            with gr.Column(scale=3):
                self.source = compat.audio(
                    label="The sound", elem_id=f"{self.id}_source", visible=self.takes_a_sound
                )
                demo = gr.Button(
                    "Try a demo sound", elem_id=f"{self.id}_demo", size="sm", visible=self.takes_a_sound
                )
                view = gr.HTML("", elem_id=f"{self.id}_view")
                status = gr.HTML("", elem_id=f"{self.id}_status", elem_classes=["sonopaint-status"])
                made = gr.HTML("", elem_id=f"{self.id}_made")
        marks, task = hidden(self.id, "marks"), hidden(self.id, "task")
        self.boxes = hidden(self.id, "boxes")
        ordered = self.fields
        looking = [self.source, parts["format"], parts["prompt"]]
        if self.takes_a_sound:
            self.source.change(fn=self.look, inputs=looking, outputs=[view, status], **QUIET)
            parts["format"].change(fn=self.look, inputs=looking, outputs=[view, status], **QUIET)
            demo.click(fn=demo_sound, outputs=[self.source], **QUIET)
            recorded = hidden(self.id, "recorded")
            recorded.change(fn=recording, inputs=[recorded], outputs=[self.source, status], **QUIET)
        answers = [status, made]
        if self.fold is not None:
            length = parts.get("seconds")
            if length is None:  # as long as the sound to edit; not quite hidden, or nobody hears it change
                length = gr.Number(
                    value=0, show_label=False, elem_id=f"{self.id}_lasts", elem_classes=["sonopaint-hidden"]
                )
                self.source.change(fn=seconds_of, inputs=[self.source], outputs=[length], **QUIET)
            self.fold.wire(length)
            answers.append(self.fold.lanes)
        go.click(fn=self.run, inputs=[task, self.source, marks, *ordered], outputs=answers, **QUIET)
        interrupt.click(fn=host.interrupt, **QUIET)
        skip.click(fn=host.skip, **QUIET)
        paste.click(fn=self.paste, inputs=[parts["prompt"]], outputs=[*ordered, self.boxes], **QUIET)
        if self.action == "inpaint":
            draw = f"(boxes) => {{ sonopaintBoxes('{self.id}', boxes); return []; }}"
            self.boxes.change(fn=None, inputs=[self.boxes], **compat.js(draw))
        return self

    def _rows(self) -> list[tuple[str, ...]]:
        """The names of the fields that stand beside each other, below the prompts."""
        rows = list(ROWS.get(self.action, ()))
        placed = {*FIRST, *FOLDED, *curves.PARTS, "seed", "count", *(name for row in rows for name in row)}
        rest = [name for name in self.names if name not in placed]
        rows += [tuple(rest[start : start + 2]) for start in range(0, len(rest), 2)]
        return [*rows, *([("seed", "count")] if not any("seed" in row for row in rows) else [])]

    @property
    def fields(self) -> list[Any]:
        """The components of the arguments, in the order of `names`."""
        return [self.parts[name] for name in self.names]

    def part(self, name: str) -> Any:
        """The component of one argument."""
        return self.parts[name]

    @property
    def takes_a_sound(self) -> bool:
        return self.action in ON_A_CLIP

    def look(self, path: str | None, format: str, prompt: str) -> tuple[str, str]:
        """(the spectrogram of the sound, status)."""
        if not path:
            return "", ""
        try:
            clip = results.open_sound(Path(path))
            fmt = host.format_of(prompt or "", "" if format == OWN_FORMAT else format)
            view = results.source_view(clip, fmt, Path(path), Path(path).name)
        except SonopaintError as error:
            return "", compat.message(said(error).replace(str(path), Path(path).name))
        kind = "editor" if self.action == "inpaint" else "source"
        return results.views(kind, view | {"format": fmt.name}, target=f"{self.id}_marks"), ""

    def run(self, task: str, path: str | None, marks: str, *given: Any) -> tuple[Any, ...]:
        """(status, the results, the lanes where there are some) of one press of the button."""
        status, cards, lanes = self._run(task, path, marks, *given)
        return (status, cards) if self.fold is None else (status, cards, lanes)

    def _run(self, task: str, path: str | None, marks: str, *given: Any) -> tuple[str, Any, Any]:
        lanes = compat.update()
        made: list[dict[str, Any]] = []
        stopped = ""
        told: dict[str, None] = {}
        try:
            clip = results.open_sound(Path(path)) if path and self.takes_a_sound else None
            arguments = self._arguments(marks, given)
            for result, text in actions.run(arguments, clip, task or None):
                if self.fold is not None and not made:
                    lanes = self._followed(arguments, result, clip)
                kept = results.keep(result, text)
                card = kept.view(_title(result.settings, clip))
                if clip is not None and path:
                    starts_s = arguments.left if self.action == "outpaint" else 0.0
                    card["before"] = results.before(clip, Path(path), kept.drawn, starts_s)
                made.append(card)
                told |= dict.fromkeys(actions.notes_of(result.settings))
        except SonopaintError as error:
            return compat.message(said(error).replace(str(path), "The sound")), compat.update(), lanes
        except Cancelled as error:
            stopped = str(error)
        except Exception as error:  # noqa: BLE001 - Gradio would say nothing at all
            logger.exception("A sub-tab failed.")
            failed = f"Sonopaint failed ({type(error).__name__}: {error})."
            return compat.message(failed), compat.update(), lanes
        if not made:
            return compat.message(stopped, "info"), compat.update(), lanes
        folder = Path(made[0]["path"]).parent
        status = compat.message(f"{len(made)} saved in {folder}.", "info")
        status += "".join(compat.message(note, "warning") for note in told)
        return status, results.views("cards", made), lanes

    def _followed(self, arguments: Arguments, result: Result, clip: Clip | None) -> Any:
        """The lanes with what a result measures drawn over what it was to follow."""
        asked = actions.asked_of(arguments, clip)
        if asked is None or self.fold is None:
            return compat.update()
        from sonopaint.tasks.following import measured

        drawn = json.dumps(arguments.curves) if arguments.curves else ""
        return self.fold.shown(drawn, result.clip.duration_s, measured(result, asked))

    def paste(self, text: str) -> list[Any]:
        """The fields as an infotext in the prompt says, or as for the last picture, where that is empty."""
        from modules import infotext_utils, script_callbacks

        text = text or last_infotext()
        values = infotext_utils.parse_generation_parameters(text)
        script_callbacks.infotext_pasted_callback(text, values)
        return self.paste_values(values)

    def paste_values(self, params: dict[str, Any]) -> list[Any]:
        """Changes of the fields and of the boxes to what a parsed infotext says."""
        values = infotext.read(params, self.action)
        answers = [
            shown_value(one, name, values[name]) if name in values and name != "curves" else compat.update()
            for name, one in zip(self.names, self.fields, strict=True)
        ]
        boxes = (values.get("region") or {}).get("boxes")
        # With a word of its own, so that the same boxes again are a change, too.
        marks = json.dumps({"boxes": boxes, "at": secrets.token_hex(4)}) if boxes else ""
        return [*answers, compat.update(value=marks) if boxes else compat.update()]

    def _arguments(self, marks: str, given: tuple[Any, ...]) -> Arguments:
        values = values_of(self.names, given)
        if "curves" in values:
            values["curves"] = curves.read(values["curves"])
        if self.action == "inpaint":
            values["region"], drawn_in = read_marks(marks)
            fmt = host.format_of(values.get("prompt", ""), values.get("format", "")).name
            if values["region"].get("brush") and drawn_in not in ("", fmt):
                raise SonopaintError(
                    f"The brush was drawn in {drawn_in}, but {fmt} is painted now: load the sound again."
                )
        return Arguments.of(self.action, values)


def last_infotext() -> str:
    """Of the picture that the WebUI painted last, where it keeps that."""
    from modules import paths, shared

    if getattr(shared.cmd_opts, "no_prompt_history", False) or shared.cmd_opts.hide_ui_dir_config:
        return ""
    try:
        return Path(paths.data_path, "params.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def seconds_of(path: str | None) -> float:
    """How long the sound to edit is; 0 where there is none."""
    try:
        return round(results.open_sound(Path(path)).duration_s, 3) if path else 0.0
    except SonopaintError:
        return 0.0


def demo_sound() -> str:
    """A forest, for who has no sound at hand."""
    return results.for_gradio(shipped.DEMO)


def its_prompt(student: str, prompt: str) -> Any:
    """The prompt of a subject, where nobody has written another."""
    subjects = {one.name: one.subject for one in host.students()}
    if subjects.get(student) and (not prompt or prompt in subjects.values()):
        return compat.update(value=subjects[student])
    return compat.update()


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


def _title(settings: dict[str, Any], clip: Clip | None) -> str:
    words = re.sub(r"<lora:[^>]*>", "", str(settings.get("prompt", ""))).strip()
    words = words or ("no prompt" if clip is None else "the same, painted again")
    return words if len(words) < 80 else words[:79] + "…"
