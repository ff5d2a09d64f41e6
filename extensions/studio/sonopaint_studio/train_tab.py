"""Train: a LoRA on one's own sounds, as a process of its own that goes on when the page is closed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import safe_name
from sonopaint_studio import widgets
from sonopaint_studio.context import ModelBar
from sonopaint_studio.jobs import Finished, Report, error_html, note_html, status_html
from sonopaint_studio.run_page import RunPage, run_names
from sonotrain.data.folders import list_datasets
from sonotrain.files.options import from_form
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training import runs

ESTIMATE = "estimate"
# Options with a place of their own on the page; the others are folded away.
MAIN = {"dataset": "", "trigger": "", "steps": 0}
HIDDEN = {"model", "name", *MAIN}


def dataset_choices() -> list[tuple[str, str]]:
    """The datasets that the Dataset page made: (name, path)."""
    return [(path.name, str(path)) for path in list_datasets()]


def more_options() -> list[Any]:
    """LoraOptions' fields that the page shows folded away."""
    return [item for item in fields(LoraOptions) if item.name not in HIDDEN]


class TrainTab(RunPage):
    """The page and what its buttons do."""

    command = "lora"
    estimated: list[Any]  # outputs of the dry run

    # --- starting and stopping ------------------------------------------------------------------------------

    def _options(self, model: str | None, values: tuple[Any, ...]) -> dict[str, Any]:
        """What the page says, where it differs from the defaults."""
        dataset, trigger, steps, *more = values
        given: dict[str, Any] = {"model": model or "mini", "dataset": str(dataset or "").strip()}
        if not given["dataset"]:
            raise SonopaintError("Say which dataset, or which folder of sounds, to learn from.")
        if str(trigger or "").strip():
            given["trigger"] = str(trigger).strip()
        if steps:
            given["steps"] = int(steps)
        given |= from_form(more_options(), more)
        return given

    def start(
        self, request: gr.Request, model: str | None, name: str | None, *values: Any
    ) -> tuple[Any, ...]:
        """Begin a run: (status, run, run names)."""
        try:
            self.only_here(request)
            options = self._options(model, values)
            chosen = safe_name(str(name or "").strip() or options.get("trigger", "") or "lora")
            self.launch(self.new_folder(chosen), options | {"name": chosen}, resume=False)
        except SonopaintError as error:
            return error_html(error), gr.skip(), gr.skip()
        return (
            note_html("Starting …"),
            chosen,
            gr.update(choices=run_names(self.command) or [chosen], value=chosen),
        )

    def estimate(self, request: gr.Request, model: str | None, *values: Any) -> Iterator[tuple[str, Any]]:
        """Yield (status, go) of a dry run: a few real steps, measured."""
        session = self.context.sessions.of(request)
        try:
            self.only_here(request)
            options = self._options(model, values)
        except SonopaintError as error:
            yield error_html(error), gr.skip()
            return

        def work(report: Report) -> str:
            report(0, 0, "Trying a few steps")
            folder = session.new_folder()
            with runs.start(folder, options, words=["--dry-run"]) as process:
                while process.poll() is None:
                    try:
                        report(0, 0, "Trying a few steps")
                        process.wait(0.5)
                    except subprocess.TimeoutExpired:
                        continue
                    except BaseException:
                        process.terminate()
                        raise
            if process.returncode:
                raise SonopaintError(runs.last_sentence(folder))
            text = (folder / runs.OUTPUT).read_text(encoding="utf-8")
            return " ".join(
                line for line in text.splitlines() if not line[:1].isdigit() or " steps of " in line[:20]
            )

        self.context.queue.add(session, ESTIMATE, Path(options["dataset"]).name, work)
        yield from self.estimating(request)

    def estimating(self, request: gr.Request) -> Iterator[tuple[str, Any]]:
        """Yield as ``estimate`` does of the dry run that this tab has begun (on a reload, too)."""
        session, queue = self.context.sessions.of(request), self.context.queue
        for happened in queue.follow(session, ESTIMATE):
            told = note_html(happened.value) if isinstance(happened, Finished) else status_html(happened)
            yield told, gr.update(interactive=not queue.busy(session, ESTIMATE))

    # --- the page -------------------------------------------------------------------------------------------

    def build(self, bar: ModelBar, tab: gr.Tab) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                dataset = gr.Dropdown(
                    dataset_choices(), value=None, allow_custom_value=True, elem_id="train-dataset",
                    label="Dataset, or a folder of sounds", interactive=True,
                )  # fmt: skip
                trigger = gr.Textbox(
                    label="Trigger word", placeholder="a word without a meaning", elem_id="train-trigger"
                )
                name = gr.Textbox(label="Name", placeholder="the trigger word", elem_id="train-name")
                steps = gr.Number(
                    0, precision=0, label="Steps", info="0: what suits the model", elem_id="train-steps"
                )
                with gr.Accordion("All options", open=False, elem_id="train-more"):
                    more = [_component(item) for item in more_options()]
                with gr.Row(elem_classes="sp-go"):
                    go = gr.Button("Train", variant="primary", size="lg", elem_id="train-go", min_width=120)
                    stop = gr.Button("Stop", variant="stop", size="lg", visible=False, elem_id="train-stop")
                guess = gr.Button("How long, how much memory?", size="sm", elem_id="train-estimate")
                told = widgets.status("train-told")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("train")
                view = self.view("train")
        shown = self.wire(view, bar, go, stop, told)
        form = [bar.model, dataset, trigger, steps, *more]
        started = go.click(
            self.start, [bar.model, name, *form[1:]], [told, view.run, view.run], **widgets.QUICK
        )
        started.then(self.look, view.run, shown, **widgets.QUICK)
        self.estimated = [told, guess]
        guess.click(self.estimate, form, self.estimated, **widgets.LONG)
        tab.select(
            lambda: (gr.update(choices=run_names(self.command)), gr.update(choices=dataset_choices())),
            None, [view.run, dataset], **widgets.QUICK,
        )  # fmt: skip


def _component(item: Any) -> Any:
    """A form field for one option."""
    label, info = item.name.replace("_", " ").capitalize(), item.metadata["help"]
    elem_id = f"train-{item.name.replace('_', '-')}"
    if isinstance(item.default, bool):
        return gr.Checkbox(item.default, label=label, info=info, elem_id=elem_id)
    if item.metadata["choices"]:
        return gr.Dropdown(
            list(item.metadata["choices"]),
            value=item.default,
            label=label,
            info=info,
            elem_id=elem_id,
            interactive=True,
        )
    if item.metadata["suited"]:  # a number field can't be empty: Gradio shows a 0
        return gr.Textbox("", label=label, info=info, placeholder="what suits the model", elem_id=elem_id)
    if isinstance(item.default, int | float):
        precision = 0 if isinstance(item.default, int) else None
        return gr.Number(item.default, precision=precision, label=label, info=info, elem_id=elem_id)
    lines = 3 if isinstance(item.default, tuple) else 1
    return gr.Textbox("", label=label, info=info, lines=lines, elem_id=elem_id)
