"""The sub-tabs Train LoRA and Train subject: forms over the trainers, which run as processes of their own.

javascript/sonopaint_train.js presses a hidden button when a sub-tab comes into sight, and every two seconds
while something goes on, so that the page follows a run and finds it again after a reload. At other times it
must not: an update of the page during an upload makes Gradio 3.41 lose the files.
"""

from __future__ import annotations

import html
import json
import time
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint_webui import compat, host, results, trainers, training
from sonopaint_webui.names import label
from sonopaint_webui.tab.fields import student_choices
from sonopaint_webui.tab.panel import QUIET, Panel
from sonopaint_webui.tab.start import CHOOSE
from sonotrain.files.options import from_form
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.trainers.subject.options import SubjectOptions
from sonotrain.training import run_view
from sonotrain.training.runs import RunState

TITLES = {"lora": "Train LoRA", "subject": "Train subject"}
OPTIONS: dict[str, type] = {"lora": LoraOptions, "subject": SubjectOptions}
HINTS = {
    "lora": "A LoRA on your own sounds: thirty and more, with or without captions beside them.",
    "subject": "One sound from four to six clips of it, painted in one step with endless variations.",
}
# Options with a place of their own on the form; the others are folded away.
FIRST = {"lora": ("trigger", "steps"), "subject": ("noun", "token", "steps", "alpha")}
HIDDEN = {"dataset", "clips", "model", "name"}
INFO = {"steps": "0: what suits the model"}
FASTER: dict[str, Any] = {**QUIET, "queue": False}  # looking at a run waits for nobody's picture


class TrainPanel:
    """One form, one run that is watched, and what their buttons do."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.id = f"sonopaint_train_{command}"
        options = [one for one in fields(OPTIONS[command]) if one.name not in HIDDEN]
        first = [one for name in FIRST[command] for one in options if one.name == name]
        self.more = [one for one in options if one not in first]
        self.items: list[Field[Any]] = [*first, *self.more]

    # --- what the buttons do -------------------------------------------------------------------------------

    def start(
        self, request: gr.Request, files: Any, folder: str, model: str | None, name: str, *values: Any
    ) -> tuple[str, Any]:
        """Begin a run: (what is told, the run)."""
        try:
            training.only_here(request)
            options = from_form(self.items, values)
            if self.command == "subject" and not options.get("noun"):
                raise SonopaintError("Say what it is, as any of its kind is called: dog bark, door, drum.")
            called = (name or "").strip() or options.get("trigger") or options.get("noun") or self.command
            dropped = [Path(getattr(one, "name", one)) for one in files or []]
            run = training.start(
                self.command, called.replace(" ", "-"), model, options, dropped, folder or ""
            )
        except SonopaintError as error:
            return compat.message(error), compat.update()
        except OSError as error:
            return compat.message(f"The sounds could not be copied ({error.strerror})."), compat.update()
        return "", compat.update(choices=training.names(self.command), value=run)

    def resume(self, request: gr.Request, run: str | None) -> str:
        """Go on with the run that is shown."""
        try:
            training.only_here(request)
            training.resume(self.command, run)
        except SonopaintError as error:
            return compat.message(error)
        return ""

    def stop(self, request: gr.Request, run: str | None) -> str:
        """End the run that is shown."""
        try:
            training.only_here(request)
            return compat.message(training.stop(run), "info")
        except (SonopaintError, OSError) as error:
            return compat.message(error)

    def use(self, request: gr.Request, run: str | None) -> list[Any]:
        """Put what was learnt where the WebUI finds it, and go where it paints.

        What `wire` lists: what is told, the checkpoint, the sub-tab, the prompts of Generate and of One-step
        subject, the one-step file.
        """
        nothing = [compat.update() for _ in range(5)]
        try:
            training.only_here(request)
            made = training.use(run)
        except SonopaintError as error:
            return [compat.message(error), *nothing]
        except OSError as error:
            return [compat.message(f"The LoRA could not be copied ({error.strerror})."), *nothing]
        told, checkpoint, tab, prompt, one_step, student = compat.message(made.told, "info"), *nothing
        if made.one_step:
            tab, one_step = compat.update(selected="one-step"), compat.update(value=made.prompt)
            student = compat.update(choices=student_choices(), value=made.name)
        else:
            tab = compat.update(selected="generate")
            prompt = compat.update(value=f"{made.prompt} <lora:{made.name}:1>".strip())
        if made.checkpoint:
            checkpoint = compat.update(value=made.checkpoint)
        return [told, checkpoint, tab, prompt, one_step, student]

    def install(self, request: gr.Request) -> str:
        """Begin to install the trainers."""
        try:
            training.only_here(request)
            trainers.installation.start(training.runs_folder() / "install.txt")
        except (SonopaintError, OSError) as error:
            return compat.message(error)
        return ""

    def cancel(self, request: gr.Request) -> str:
        """End the installation."""
        try:
            training.only_here(request)
            trainers.installation.cancel()
        except SonopaintError as error:
            return compat.message(error)
        return ""

    # --- what is shown -------------------------------------------------------------------------------------

    def look(self, run: str | None, seen: str) -> list[Any]:
        """What ``shown`` shows of the run, and `seen`: JSON of what the page has, so that sounds play on."""
        had = _read(seen)
        lists = [compat.update(), compat.update()]
        if not had:  # the page is new
            there = training.names(self.command)
            run = run if run in there else next(iter(there), None)
            models = training.models()
            first = {} if training.MINI in models else {"value": next(iter(models), None)}
            lists = [compat.update(choices=there, value=run), compat.update(choices=models, **first)]
        try:
            state = training.state(run) if run else RunState(Path())
        except SonopaintError:
            state = RunState(Path())
        previews = f"{run}/{state.preview_step}"
        drawn: Any = compat.update()
        if had.get("previews") != previews:
            drawn = run_view.previews_of(state, lambda path, _: results.address_of(path))
        here = trainers.installed() and not trainers.installation.running
        free = training.going() is None
        return [
            *lists,
            *self._installation(here),
            _status(state),
            run_view.facts_of(state),
            run_view.curves_of(state),
            drawn,
            compat.update(interactive=here and free),
            compat.update(visible=state.running),
            compat.update(visible=state.resumable and free),
            compat.update(visible=state.file is not None and not state.running),
            json.dumps(
                {
                    "previews": previews,
                    "again": state.running or not free or trainers.installation.running,
                    "at": time.time(),
                }
            ),
        ]

    def _installation(self, here: bool) -> list[Any]:
        """Unless they are here: (what it would do, its button, the button that cancels, its lines)."""
        doing = trainers.installation
        if here:
            return ["", compat.update(visible=False), compat.update(visible=False), ""]
        told = (
            "The trainers need packages that the WebUI must not get. They are installed into "
            f"{trainers.ROOT / '.venv'} ({trainers.SIZE}); the WebUI's own Python stays as it is."
        )
        failed = doing.failure()
        text = compat.message(told, "info") + (compat.message(failed) if failed else "")
        lines = html.escape("\n".join(doing.lines()))
        return [
            text,
            compat.update(visible=not doing.running),
            compat.update(visible=doing.running),
            f'<pre class="sonopaint-log">{lines}</pre>' if lines else "",
        ]

    # --- the page ------------------------------------------------------------------------------------------

    def build(self) -> TrainPanel:
        """Lay the sub-tab out and wire it, but for what leads out of it."""
        gr.HTML(f'<p class="sonopaint-hint">{html.escape(HINTS[self.command])}</p>')
        about = gr.HTML("", elem_id=f"{self.id}_about")
        with gr.Row():
            install = self._button("Install the trainers", "install", visible=False, variant="primary")
            cancel = self._button("Cancel", "cancel", visible=False)
        log = gr.HTML("", elem_id=f"{self.id}_log")
        with gr.Row():
            with gr.Column(scale=2):
                form = self._form()
                with gr.Row(elem_classes=["sonopaint-go"]):
                    go = self._button("Train", "start", variant="primary")
                    stop = self._button("Stop", "stop", visible=False)
                told = gr.HTML("", elem_id=f"{self.id}_told", elem_classes=["sonopaint-status"])
            with gr.Column(scale=3):
                with gr.Row():
                    run = gr.Dropdown(choices=[], value=None, label="Run", elem_id=f"{self.id}_run")
                    resume = self._button("Resume", "resume", visible=False)
                    self.uses = self._button("Use it here", "use", visible=False, variant="primary")
                parts = [
                    gr.HTML("", elem_id=f"{self.id}_{name}")
                    for name in ("status", "facts", "curves", "previews")
                ]
        hidden = {"elem_classes": ["sonopaint-hidden"]}
        seen = gr.Textbox("", label="seen", show_label=False, elem_id=f"{self.id}_seen", **hidden)
        tick = gr.Button("Look", elem_id=f"{self.id}_tick", **hidden)
        shown = [run, form[2], about, install, cancel, log, *parts, go, stop, resume, self.uses, seen]
        looking: dict[str, Any] = {"fn": self.look, "inputs": [run, seen], "outputs": shown, **FASTER}
        for button, work, inputs, outputs in (
            (go, self.start, form, [told, run]),
            (resume, self.resume, [run], [told]),
            (stop, self.stop, [run], [told]),
            (install, self.install, [], [told]),
            (cancel, self.cancel, [], [told]),
        ):
            button.click(fn=work, inputs=inputs, outputs=outputs, **QUIET).then(**looking)
        tick.click(**looking)
        self.run, self.told = run, told
        return self

    def wire(self, tabs: Any, chosen: Any, panels: list[Panel]) -> None:
        """Let *Use it here* lead to the sub-tab that paints; chosen: the field that chooses a checkpoint."""
        parts = {panel.action: panel.parts for panel in panels}
        prompts = [parts["generate"]["prompt"], parts["one-step"]["prompt"]]
        outputs = [self.told, chosen, tabs, *prompts, parts["one-step"]["student"]]
        self.uses.click(fn=self.use, inputs=[self.run], outputs=outputs, **QUIET).then(
            fn=None, inputs=[chosen], **CHOOSE
        )

    def _form(self) -> list[Any]:
        """The form's fields, as ``start`` takes them."""
        sounds = compat.file(label="Sounds to learn from", file_count="multiple", elem_id=f"{self.id}_sounds")
        folder = gr.Textbox("", label="or a folder of sounds", elem_id=f"{self.id}_folder")
        with gr.Row():
            offered = [] if host.is_forge() else [training.MINI]
            model = gr.Dropdown(
                choices=offered,
                value=next(iter(offered), None),
                label="Base model",
                info="What is learnt works with this model. Mini learns on a processor in minutes."
                if offered
                else "What is learnt works with this model.",
                elem_id=f"{self.id}_model",
            )
            name = gr.Textbox("", label="Name", elem_id=f"{self.id}_name")
        made = self._rows(self.items[: -len(self.more)])
        with gr.Accordion("All options", open=False, elem_id=f"{self.id}_more"):
            made += self._rows(self.more)
        return [sounds, folder, model, name, *made]

    def _rows(self, items: list[Field[Any]]) -> list[Any]:
        made = []
        for start in range(0, len(items), 2):
            with gr.Row():
                made += [self._field(item) for item in items[start : start + 2]]
        return made

    def _field(self, item: Field[Any]) -> Any:
        """The component of one option."""
        common = {
            "label": "Alpha" if (self.command, item.name) == ("lora", "alpha") else label(item.name),
            "info": INFO.get(item.name, item.metadata["help"]),
            "elem_id": f"{self.id}_{item.name}",
        }
        if isinstance(item.default, bool):
            return gr.Checkbox(value=item.default, **common)
        if item.metadata["choices"]:
            return gr.Dropdown(choices=list(item.metadata["choices"]), value=item.default, **common)
        if item.metadata["suited"]:  # a number field can't be empty: newer Gradios show a 0
            return gr.Textbox("", placeholder="what suits the model", **common)
        if isinstance(item.default, (int, float)):
            whole = {"precision": 0} if isinstance(item.default, int) else {}
            return gr.Number(value=item.default, **whole, **common)
        if isinstance(item.default, tuple):
            return gr.Textbox("", lines=3, **common)
        return gr.Textbox(item.default, **common)

    def _button(self, text: str, name: str, **options: Any) -> Any:
        return gr.Button(text, elem_id=f"{self.id}_{name}", **options)


def _status(state: RunState) -> str:
    """The line above the curves: a bar while the run goes on."""
    said = run_view.sentence_of(state)
    if not state.running:
        return compat.message(SonopaintError(said), "error" if state.phase == "failed" else "info")
    left = f"{state.left_s / 60:.0f} min left" if state.phase == "training" and state.left_s else ""
    done = f'<progress max="1" value="{state.done:.3f}"></progress>' if state.done else ""
    return f'<div class="sonopaint-running">{done}<span>{html.escape(said)}</span><span>{left}</span></div>'


def _read(seen: str) -> dict[str, Any]:
    try:
        had = json.loads(seen or "{}")
    except ValueError:
        return {}
    return had if isinstance(had, dict) else {}
