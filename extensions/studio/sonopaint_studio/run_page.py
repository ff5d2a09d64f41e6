"""Runs of a trainer on a page: started as processes of their own, watched, stopped and resumed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint.models.folders import user_folder
from sonopaint_studio import widgets
from sonopaint_studio.context import Context, ModelBar, refreshed
from sonopaint_studio.jobs import Running, error_html, note_html, status_html
from sonopaint_studio.model_files import add_files
from sonotrain.training import run_view, runs

POLL_S = 2.0
TRAINERS = ("peft", "accelerate")  # what trainers import beside the engine
RUNS_VARIABLE = "SONOPAINT_RUNS"
_LOCAL = {"127.0.0.1", "::1", "localhost"}


def runs_folder() -> Path:
    """$SONOPAINT_RUNS, else ``runs`` in the current folder."""
    named = os.environ.get(RUNS_VARIABLE)
    return Path(named).expanduser() if named else Path("runs")


def run_names(command: str) -> list[str]:
    """The runs of ``sonotrain COMMAND`` that are there, newest first."""
    return runs.names(runs_folder(), command)


def status_of(state: runs.RunState) -> str:
    """The line under the buttons."""
    if state.phase == "failed":
        return error_html(SonopaintError(run_view.sentence_of(state)))
    said = run_view.sentence_of(state)
    if state.running:
        return status_html(Running(said, state.done, state.left_s if state.phase == "training" else None))
    return note_html(said)


@dataclass(frozen=True)
class RunView:
    """What stands on the right of a page: the chosen run and how it goes."""

    run: gr.Dropdown
    resume: gr.Button
    add: gr.Button
    shown: tuple[gr.HTML, ...]  # status, facts, curves, previews


class RunPage:
    """What the pages of all trainers share."""

    command = "lora"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._shown: dict[Path, str] = {}  # previews that each browser tab shows

    # --- starting and stopping ------------------------------------------------------------------------------

    def new_folder(self, name: str) -> Path:
        """The folder of a run that is to begin; SonopaintError where there is one already."""
        return runs.new_folder(runs_folder(), name)

    def resume(self, request: gr.Request, run: str | None) -> str:
        try:
            self.only_here(request)
            if not run:
                raise SonopaintError("Choose the run to go on with.")
            self.launch(self.folder_of(run), {}, resume=True)
        except SonopaintError as error:
            return error_html(error)
        return note_html("Going on …")

    def stop(self, request: gr.Request, run: str | None) -> str:
        try:
            self.only_here(request)
            runs.stop(self.folder_of(run))
        except (SonopaintError, OSError) as error:
            return error_html(error)
        return note_html("Stopping after this step; everything is saved …")

    def launch(self, folder: Path, options: dict[str, Any], *, resume: bool) -> None:
        if any(importlib.util.find_spec(name) is None for name in TRAINERS):
            raise SonopaintError(
                "The trainers' packages are not installed: end Studio and start it again with python "
                "install.py studio, which installs them."
            )
        self.processes[folder.name] = runs.start(folder, options, resume=resume, command=self.command)

    def folder_of(self, run: str | None) -> Path:
        """A run's folder by its name; nothing else can be reached from the page."""
        return runs.folder_of(runs_folder(), run)

    def only_here(self, request: gr.Request) -> None:
        if getattr(getattr(request, "client", None), "host", None) not in _LOCAL:
            raise SonopaintError("Training can be started only on the computer that Studio runs on.")

    def state(self, run: str | None) -> runs.RunState:
        """How a run is."""
        return runs.read(self.folder_of(run), self.processes.get(str(run)))

    # --- watching -------------------------------------------------------------------------------------------

    def watch(self, request: gr.Request, run: str | None) -> tuple[Any, ...]:
        """(run, *look): a page that shows no run takes the one that trains, or else the newest."""
        if run:
            return gr.skip(), *self.look(request, run)
        names = run_names(self.command)
        trains = (name for name in names if runs.is_locked(self.folder_of(name)))
        chosen = next(trains, names[0] if names else None)
        return gr.update(choices=names, value=chosen) if chosen else gr.skip(), *self.look(request, chosen)

    def look(self, request: gr.Request, run: str | None) -> tuple[Any, ...]:
        """(status, facts, curves, previews, train, stop, resume, add) of the chosen run."""
        session = self.context.sessions.of(request)
        if not run:
            hidden = gr.update(visible=False)
            self._shown.pop(session.folder, None)
            return note_html(""), "", "", "", gr.update(interactive=True), hidden, hidden, hidden
        state = self.state(run)
        served = session.folder / "training"
        previews = run_view.previews_of(state, lambda path, name: _address(path, served / name))
        same = self._shown.get(session.folder) == previews  # sent again, they would stop a sound that plays
        self._shown[session.folder] = previews
        return (
            status_of(state),
            run_view.facts_of(state),
            run_view.curves_of(state),
            gr.skip() if same else previews,
            gr.update(interactive=not state.running),
            gr.update(visible=state.running),
            gr.update(visible=state.resumable),
            gr.update(visible=state.phase == "finished" and state.file is not None),
        )

    def add(self, run: str | None, current: str | None) -> tuple[Any, ...]:
        """Copy the finished LoRA into the models folder: (status, *ModelBar.lists())."""
        try:
            state = self.state(run)
            if state.file is None:
                raise SonopaintError("This run has no LoRA yet.")
            added = add_files([(state.file, state.file.name)], user_folder())
        except SonopaintError as error:
            return error_html(error), *[gr.skip()] * len(refreshed(self.context.store, current))
        said = note_html(f"Added {added[0].name}: choose it under LoRAs at the top.")
        return said, *refreshed(self.context.store, current)

    # --- the page -------------------------------------------------------------------------------------------

    def view(self, prefix: str) -> RunView:
        """Lay out the right side of the page."""
        with gr.Row(elem_classes="sp-run"):
            run = gr.Dropdown(
                run_names(self.command), value=None, label="Run", show_label=False,
                container=False, elem_id=f"{prefix}-run", min_width=200, interactive=True,
            )  # fmt: skip
            resume = gr.Button("Resume", size="sm", visible=False, elem_id=f"{prefix}-resume")
            add = gr.Button("Add to my LoRAs", size="sm", visible=False, elem_id=f"{prefix}-add")
        status = widgets.status(f"{prefix}-status")
        parts = [
            gr.HTML("", elem_id=f"{prefix}-{name}", apply_default_css=False)
            for name in ("facts", "curves", "previews")
        ]
        return RunView(run, resume, add, (status, *parts))

    def wire(
        self, view: RunView, bar: ModelBar, go: gr.Button, stop: gr.Button, told: gr.HTML, *more: gr.Button
    ) -> list[Any]:
        """Wire the view and return what ``look`` updates; `more` are what a page's own ``look`` adds."""
        shown = [*view.shown, go, stop, view.resume, view.add, *more]
        stop.click(self.stop, view.run, told, **widgets.QUICK)
        resumed = view.resume.click(self.resume, view.run, told, **widgets.QUICK)
        resumed.then(self.look, view.run, shown, **widgets.QUICK)
        view.add.click(self.add, [view.run, bar.model], [told, *bar.lists()], **widgets.QUICK)
        view.run.change(self.look, view.run, shown, **widgets.QUICK)
        gr.Timer(POLL_S).tick(self.watch, view.run, [view.run, *shown], **widgets.QUICK)
        return shown


def _address(source: Path, target: Path) -> str:
    """Where the page may load a file from: a copy in its own folder."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return "gradio_api/file=" + quote(str(target))
