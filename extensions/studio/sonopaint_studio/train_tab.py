"""Train: a LoRA on one's own sounds, as a process of its own that goes on when the page is closed."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint.models.folders import user_folder
from sonopaint_studio import train_view, widgets
from sonopaint_studio.context import Context, ModelBar, refreshed
from sonopaint_studio.jobs import Failed, Finished, Report, error_html, note_html, run_job, status_html
from sonopaint_studio.model_files import add_files, safe_name
from sonotrain import runs
from sonotrain.data.folders import list_datasets
from sonotrain.run_folder import read_json
from sonotrain.trainers.lora.options import LoraOptions

logger = logging.getLogger(__name__)

POLL_S = 2.0
RUNS_VARIABLE = "SONOPAINT_RUNS"
# Options with a place of their own on the page; the others are folded away.
MAIN = {"dataset": "", "trigger": "", "steps": 0}
HIDDEN = {"model", "name", *MAIN}
_LOCAL = {"127.0.0.1", "::1", "localhost"}


def runs_folder() -> Path:
    """$SONOPAINT_RUNS, else ``runs`` in the current folder."""
    named = os.environ.get(RUNS_VARIABLE)
    return Path(named).expanduser() if named else Path("runs")


def run_names() -> list[str]:
    """LoRA runs that are there, newest first."""
    found = [p.parent for p in runs_folder().glob("*/config.json") if _is_lora_run(p)]
    return [path.name for path in sorted(found, key=lambda p: -p.stat().st_mtime)]


def dataset_choices() -> list[tuple[str, str]]:
    """The datasets that the Dataset page made: (name, path)."""
    return [(path.name, str(path)) for path in list_datasets()]


def _is_lora_run(config: Path) -> bool:
    try:
        return read_json(config).get("command") == "lora"
    except SonopaintError:
        return False


def more_options() -> list[Any]:
    """LoraOptions' fields that the page shows folded away."""
    return [item for item in fields(LoraOptions) if item.name not in HIDDEN]


class TrainTab:
    """The page and what its buttons do."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._shown: dict[Path, str] = {}  # previews that each browser tab shows

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
        for item, value in zip(more_options(), more, strict=True):
            if isinstance(item.default, tuple):
                value = tuple(line.strip() for line in str(value or "").splitlines() if line.strip())
            elif value is None:
                value = item.default
            value = type(item.default)(value)
            if value != item.default:
                given[item.name] = value
        return given

    def start(
        self, request: gr.Request, model: str | None, name: str | None, *values: Any
    ) -> tuple[Any, ...]:
        """Begin a run: (status, run, run names)."""
        try:
            self._only_here(request)
            options = self._options(model, values)
            chosen = safe_name(str(name or "").strip() or options.get("trigger", "") or "lora")
            folder = runs_folder() / chosen
            if any(folder.glob("checkpoints/step-*.pt")):
                raise SonopaintError(
                    f"There is a run {chosen} already: resume it, or give this one another name."
                )
            self._launch(folder, options | {"name": chosen}, resume=False)
        except SonopaintError as error:
            return error_html(str(error)), gr.skip(), gr.skip()
        return note_html("Starting …"), chosen, gr.update(choices=run_names() or [chosen], value=chosen)

    def resume(self, request: gr.Request, run: str | None) -> str:
        try:
            self._only_here(request)
            if not run:
                raise SonopaintError("Choose the run to go on with.")
            self._launch(self._folder(run), {}, resume=True)
        except SonopaintError as error:
            return error_html(str(error))
        return note_html("Going on …")

    def stop(self, request: gr.Request, run: str | None) -> str:
        try:
            self._only_here(request)
            runs.stop(self._folder(run))
        except (SonopaintError, OSError) as error:
            return error_html(str(error))
        return note_html("Stopping after this step; everything is saved …")

    def estimate(
        self, request: gr.Request, model: str | None, *values: Any
    ) -> Iterator[tuple[str, Any, Any]]:
        """Yield (status, go, stop) of a dry run: a few real steps, measured."""
        session = self.context.sessions.of(request)
        try:
            self._only_here(request)
            options = self._options(model, values)
        except SonopaintError as error:
            yield error_html(str(error)), *widgets.idle()
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

        for happened in run_job(session, work):
            if isinstance(happened, Finished):
                yield note_html(happened.value), *widgets.idle()
            elif isinstance(happened, Failed):
                yield status_html(happened), *widgets.idle()
            else:
                yield status_html(happened), gr.update(interactive=False), gr.skip()

    def _launch(self, folder: Path, options: dict[str, Any], *, resume: bool) -> None:
        self.processes[folder.name] = runs.start(folder, options, resume=resume)

    def _folder(self, run: str | None) -> Path:
        """A run's folder by its name; nothing else can be reached from the page."""
        if not run or safe_name(run) != run:
            raise SonopaintError(f"There is no run {run!r} here; choose another one.")
        return runs_folder() / run

    def _only_here(self, request: gr.Request) -> None:
        if getattr(getattr(request, "client", None), "host", None) not in _LOCAL:
            raise SonopaintError("Training can be started only on the computer that Studio runs on.")

    # --- watching -------------------------------------------------------------------------------------------

    def look(self, request: gr.Request, run: str | None) -> tuple[Any, ...]:
        """(status, facts, curves, previews, train, stop, resume, add) of the chosen run."""
        session = self.context.sessions.of(request)
        if not run:
            hidden = gr.update(visible=False)
            self._shown.pop(session.folder, None)
            return note_html(""), "", "", "", gr.update(interactive=True), hidden, hidden, hidden
        state = runs.read(runs_folder() / safe_name(run), self.processes.get(run))
        previews = train_view.previews_of(state, session.folder / "training")
        same = self._shown.get(session.folder) == previews  # sent again, they would stop a sound that plays
        self._shown[session.folder] = previews
        return (
            train_view.status_of(state),
            train_view.facts_of(state),
            train_view.curves_of(state),
            gr.skip() if same else previews,
            gr.update(interactive=not state.running),
            gr.update(visible=state.running),
            gr.update(visible=state.resumable),
            gr.update(visible=state.phase == "finished" and state.file is not None),
        )

    def add(self, run: str | None, current: str | None) -> tuple[Any, ...]:
        """Copy the finished LoRA into the models folder: (status, *ModelBar.lists())."""
        try:
            state = runs.read(self._folder(run))
            if state.file is None:
                raise SonopaintError("This run has no LoRA yet.")
            added = add_files([(state.file, state.file.name)], user_folder())
        except SonopaintError as error:
            return error_html(str(error)), *[gr.skip()] * len(refreshed(self.context.store, current))
        said = note_html(f"Added {added[0].name}: choose it under LoRAs at the top.")
        return said, *refreshed(self.context.store, current)

    # --- the page -------------------------------------------------------------------------------------------

    def build(self, bar: ModelBar, tab: gr.Tab) -> None:
        """Lay the page out and wire it."""
        names = run_names()
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
                with gr.Row(elem_classes="sp-run"):
                    run = gr.Dropdown(
                        names, value=names[0] if names else None, label="Run", show_label=False,
                        container=False, elem_id="train-run", min_width=200, interactive=True,
                    )  # fmt: skip
                    resume = gr.Button("Resume", size="sm", visible=False, elem_id="train-resume")
                    add = gr.Button("Add to my LoRAs", size="sm", visible=False, elem_id="train-add")
                status = widgets.status("train-status")
                facts = gr.HTML("", elem_id="train-facts", apply_default_css=False)
                curves = gr.HTML("", elem_id="train-curves", apply_default_css=False)
                previews = gr.HTML("", elem_id="train-previews", apply_default_css=False)
        shown = [status, facts, curves, previews, go, stop, resume, add]
        form = [bar.model, dataset, trigger, steps, *more]
        started = go.click(
            self.start, [bar.model, name, dataset, trigger, steps, *more], [told, run, run], **widgets.QUICK
        )
        started.then(self.look, run, shown, **widgets.QUICK)
        stop.click(self.stop, run, told, **widgets.QUICK)
        resume.click(self.resume, run, told, **widgets.QUICK).then(self.look, run, shown, **widgets.QUICK)
        guess.click(self.estimate, form, [told, guess, stop], **widgets.LONG)
        add.click(self.add, [run, bar.model], [told, *bar.lists()], **widgets.QUICK)
        run.change(self.look, run, shown, **widgets.QUICK)
        tab.select(
            lambda: (gr.update(choices=run_names()), gr.update(choices=dataset_choices())),
            None, [run, dataset], **widgets.QUICK,
        )  # fmt: skip
        gr.Timer(POLL_S).tick(self.look, run, shown, **widgets.QUICK)


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
    if isinstance(item.default, int | float):
        precision = 0 if isinstance(item.default, int) else None
        return gr.Number(item.default, precision=precision, label=label, info=info, elem_id=elem_id)
    lines = 3 if isinstance(item.default, tuple) else 1
    return gr.Textbox("", label=label, info=info, lines=lines, elem_id=elem_id)
