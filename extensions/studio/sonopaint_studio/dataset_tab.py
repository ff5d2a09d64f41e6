"""Dataset: from a folder of sounds to clips with captions, and a place to edit these."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import safe_name
from sonopaint_studio import widgets
from sonopaint_studio.clip_table import empty_value, page_value, search
from sonopaint_studio.context import Context, ModelBar
from sonopaint_studio.disk import room
from sonopaint_studio.jobs import Failed, Finished, Report, error_html, note_html, status_html
from sonopaint_studio.sounds import named
from sonotrain.data.dataset import SPLITS, SoundDataset, load_dataset, set_captions
from sonotrain.data.folders import datasets_folder, list_datasets
from sonotrain.data.options import DatasetOptions

logger = logging.getLogger(__name__)

EMPTY = "Choose a folder with sounds on the left and make a dataset of it, or open one that is there."
LONG_RECORDINGS = {"Cut into clips": "all", "Only their beginning": "first"}
DUPLICATES = {"Near and exact": "near", "Only exact": "exact", "None": "keep"}
PAGE = "dataset"
_LOCAL = {"127.0.0.1", "::1", "localhost"}
MAIN_FIELDS = ("trigger", "caption", "windows", "overlap", "max_windows", "silence_db", "duplicates",
               "validation", "test", "max_unreadable")  # fmt: skip


def dataset_choices() -> list[str]:
    return [path.name for path in list_datasets()]


def find_dataset(name: str | None) -> Path:
    """The folder of a dataset by its name; nothing else can be opened. SonopaintError where it is gone."""
    for path in list_datasets():
        if path.name == name:
            return path
    raise SonopaintError(f"There is no dataset {name!r} in {datasets_folder()} any more; choose another one.")


def is_this_computer(request: Any) -> bool:
    """Whether the browser runs on Studio's own computer: only then may it name folders."""
    return getattr(getattr(request, "client", None), "host", None) in _LOCAL


class DatasetTab:
    """The page and what its buttons do."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.source: gr.Textbox
        self.name: gr.Textbox
        self.outputs: list[Any]  # of make and resume
        self.writing = threading.Lock()  # captions are read, changed and written as a whole

    # --- making one -----------------------------------------------------------------------------------------

    def dropped(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Keep what was dropped in the session: (status, source, name)."""
        session = self.context.sessions.of(request)
        folder = session.folder / "dropped"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with room(folder):
                for file in event.files:
                    path = self.context.sessions.uploaded(file["path"])
                    parts = [
                        safe_name(part) for part in PurePosixPath(str(file["name"]).replace("\\", "/")).parts
                    ]
                    target = folder.joinpath(*parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, target)
        except SonopaintError as error:
            return error_html(error), gr.skip(), gr.skip()
        tops = sorted(folder.iterdir()) if folder.is_dir() else []
        single = len(tops) == 1 and tops[0].is_dir()
        count = sum(path.is_file() for path in folder.rglob("*"))
        name = tops[0].name if single else "sounds"
        said = note_html(f"{count} files are here. Give the dataset a name and make it.")
        return said, f"dropped: {name}", name

    def _source(self, source: str, request: Any) -> Path:
        """The folder that was typed, or that was dropped here."""
        session = self.context.sessions.of(request)
        if source.startswith("dropped: "):
            folder = session.folder / "dropped"
            inside = folder / safe_name(source.removeprefix("dropped: "))
            return inside if inside.is_dir() else folder
        if not source.strip():
            raise SonopaintError("Name the folder that your sounds are in, or drop it on the right.")
        if not is_this_computer(request):
            raise SonopaintError(
                "Folders can be named only on the computer that Studio runs on; drop the sounds instead."
            )
        return Path(source.strip().strip("\"'")).expanduser()

    def make(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Put a dataset into the queue and yield (status, stop, chosen, clips) while it is made."""
        model, source, name, force, *fields = values
        session = self.context.sessions.of(request)
        try:
            folder = self._source(str(source or ""), request)
            target = datasets_folder() / safe_name(str(name or "").strip() or folder.name or "sounds")
            options = self._options(model, fields)
        except SonopaintError as error:
            yield error_html(error), gr.skip(), gr.skip(), gr.skip()
            return

        def work(report: Report) -> SoundDataset:
            from sonotrain.data.build import build_dataset

            try:  # In this process: others would load all of Studio first.
                return build_dataset(folder, target, options, report, workers=1, force=bool(force))
            except SonopaintError as error:
                raise SonopaintError(named(error, folder.name, folder)) from error

        self.context.queue.add(session, PAGE, target.name, work)
        yield from self.resume(request)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Yield as ``make`` does, also after the page was loaded again."""
        session, queue = self.context.sessions.of(request), self.context.queue
        for happened in queue.follow(session, PAGE):
            said, chosen, value = status_html(happened), gr.skip(), gr.skip()
            if isinstance(happened, Finished):
                dataset: SoundDataset = happened.value
                sizes = ", ".join(f"{len(dataset.splits[s])} {s}" for s in SPLITS if dataset.splits[s])
                said += note_html(f"{dataset.folder.name}: {sizes}.")
                chosen = gr.update(choices=dataset_choices(), value=dataset.folder.name)
                value = page_value(session, dataset, search(dataset, "", ""), 0)
            elif isinstance(happened, Failed) and happened.stopped:
                said += note_html("Press the button again to go on from there.")
            yield said, widgets.running() if queue.busy(session, PAGE) else widgets.idle(), chosen, value

    def _options(self, model: str | None, fields: list[Any]) -> DatasetOptions:
        given = dict(zip(MAIN_FIELDS, fields, strict=True))
        given |= {name: str(given[name] or "") for name in ("trigger", "caption")}
        given["windows"] = LONG_RECORDINGS[given["windows"]]
        given["duplicates"] = DUPLICATES[given["duplicates"]]
        given["max_windows"] = int(given["max_windows"] or 0)
        for name in ("overlap", "validation", "test", "max_unreadable"):
            given[name] = float(given[name] or 0) / 100  # the page speaks in percent
        return DatasetOptions(model=model or "", **given)

    def stop(self, request: gr.Request) -> Any:
        self.context.queue.stop(self.context.sessions.of(request), PAGE)
        return gr.update(interactive=False)

    # --- looking at one -------------------------------------------------------------------------------------

    def show(self, name: str | None, split: str, words: str, request: gr.Request) -> tuple[Any, ...]:
        """The first page of what was searched for: (status, clips)."""
        return self._page(name, split, words, 0, request)

    def turn(
        self, name: str | None, split: str, words: str, request: gr.Request, event: gr.EventData
    ) -> tuple[Any, ...]:
        """Another page: (status, clips)."""
        return self._page(name, split, words, int(event.page), request)

    def _page(self, name: str | None, split: str, words: str, page: int, request: Any) -> tuple[Any, ...]:
        session = self.context.sessions.of(request)
        if not name:
            return note_html(""), empty_value(EMPTY)
        try:
            dataset = load_dataset(find_dataset(name))
        except SonopaintError as error:
            return error_html(error), empty_value("")
        wanted = split.lower() if split.lower() in SPLITS else ""
        return note_html(""), page_value(session, dataset, search(dataset, wanted, words or ""), page)

    def save(self, name: str | None, request: gr.Request, event: gr.EventData) -> str:
        """Write one caption; the status says so."""
        self.context.sessions.of(request)
        try:
            with self.writing:
                set_captions(find_dataset(name), {str(event.key): str(event.text)})
        except SonopaintError as error:
            return error_html(error)
        except OSError as error:
            return error_html(f"The caption could not be saved ({error.strerror}); make room and try again.")
        return note_html("Saved.")

    def replace(
        self, name: str | None, split: str, words: str, old: str, new: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """Replace words in the captions of all clips that the search shows: (status, clips)."""
        try:
            if not old:
                raise SonopaintError("Say which words are to be replaced.")
            with self.writing:
                folder = find_dataset(name)
                wanted = split.lower() if split.lower() in SPLITS else ""
                clips = search(load_dataset(folder), wanted, words or "").clips
                changed = set_captions(
                    folder, {f"{part}/{e.picture.name}": e.text.replace(old, new or "") for part, e in clips}
                )
        except SonopaintError as error:
            return error_html(error), gr.skip()
        _, value = self._page(name, split, words, 0, request)
        return note_html(f"{changed} captions changed."), value

    def report(self, name: str | None) -> tuple[Any, ...]:
        """The report's page for the window: (status, report)."""
        try:
            path = find_dataset(name) / "report.html"
            return note_html(""), {"html": path.read_text(encoding="utf-8")}
        except SonopaintError as error:
            return error_html(error), gr.skip()
        except OSError:
            return error_html("The dataset has no report; make it again."), gr.skip()

    def look_again(self, name: str | None) -> Any:
        """Datasets may have come or gone on the command line."""
        known = dataset_choices()
        return gr.update(choices=known, value=name if name in known else None)

    # --- the page -------------------------------------------------------------------------------------------

    def build(self, bar: ModelBar, tab: gr.Tab) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                self.source = source = gr.Textbox(
                    label="Folder with sounds", placeholder="/home/me/my-sounds, or drop it here below",
                    elem_id="dataset-source", max_lines=1,
                )  # fmt: skip
                drop = widgets.dropzone(
                    "Drop a folder of sounds",
                    "Captions come from text files beside the sounds, else from folders' and files' names.",
                    "dataset-drop",
                )
                with gr.Row(elem_classes="sp-pair"):
                    self.name = name = gr.Textbox(
                        label="Name",
                        placeholder="as the folder",
                        elem_id="dataset-name",
                        max_lines=1,
                        min_width=120,
                    )
                    trigger = gr.Textbox(
                        label="Trigger word",
                        placeholder="none",
                        elem_id="dataset-trigger",
                        max_lines=1,
                        min_width=120,
                    )
                fields, force = self._more(trigger)
                go, stop = widgets.buttons("Make dataset", "dataset-go")
                status = widgets.status("dataset-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("dataset")
                with gr.Row(elem_classes="sp-bar", elem_id="dataset-bar"):
                    chosen = gr.Dropdown(
                        dataset_choices(),
                        value=None,
                        label="Dataset",
                        elem_id="dataset-chosen",
                        min_width=160,
                    )
                    split = gr.Dropdown(
                        ["All", *(s.capitalize() for s in SPLITS)],
                        value="All",
                        label="Part",
                        min_width=110,
                        scale=0,
                    )
                    words = gr.Textbox(
                        label="Search", placeholder="words, a label, a file", elem_id="dataset-search",
                        max_lines=1, min_width=140,
                    )  # fmt: skip
                    report = gr.Button("Report", size="sm", elem_id="dataset-report", min_width=80, scale=0)
                with gr.Accordion("Replace in captions", open=False, elem_id="dataset-replace"):
                    with gr.Row(elem_classes="sp-bar"):
                        old = gr.Textbox(label="Replace", max_lines=1, elem_id="dataset-old", min_width=140)
                        new = gr.Textbox(label="By", max_lines=1, elem_id="dataset-new", min_width=140)
                        swap = gr.Button("Replace in all shown", size="sm", min_width=150, scale=0)
                clips = widgets.captions("dataset-clips", empty_value(EMPTY))
                window = widgets.report_window("dataset-window")
        drop.files(self.dropped, None, [status, source, name], **widgets.LONG)
        self.outputs = [status, stop, chosen, clips]
        go.click(self.make, [bar.model, source, name, force, *fields], self.outputs, **widgets.LONG)
        stop.click(self.stop, None, stop, **widgets.QUICK)
        asked, page = [chosen, split, words], [status, clips]
        for happened in (chosen.input, split.input, words.submit):
            happened(self.show, asked, page, **widgets.LATEST)
        clips.turn(self.turn, asked, page, **widgets.EVERY)
        clips.caption(self.save, chosen, status, **widgets.EVERY)
        swap.click(self.replace, [*asked, old, new], page, **widgets.QUICK)
        report.click(self.report, chosen, [status, window], **widgets.QUICK)
        tab.select(self.look_again, chosen, chosen, **widgets.QUICK)

    def _more(self, trigger: gr.Textbox) -> tuple[list[Any], gr.Checkbox]:
        """The options that few need, folded away: (fields in the order of MAIN_FIELDS, make anew)."""
        plain = DatasetOptions()
        with gr.Accordion("More", open=False, elem_id="dataset-more"):
            caption = gr.Textbox(
                label="Caption template", placeholder="{trigger}, {text}", max_lines=1,
                elem_id="dataset-caption", info="of {text}, {label}, {name} (of the file) and {trigger}",
            )  # fmt: skip
            windows = gr.Radio(
                list(LONG_RECORDINGS),
                value="Cut into clips",
                label="Long recordings",
                elem_classes="sp-segments",
            )
            overlap = gr.Slider(0, 90, 0, step=5, label="Overlap (%)")
            most = gr.Number(
                plain.max_windows, precision=0, minimum=0, label="Clips of one recording (0: all)"
            )
            silence = gr.Slider(-100, 0, plain.silence_db, step=1, label="Silence (dBFS)")
            duplicates = gr.Radio(
                list(DUPLICATES),
                value="Near and exact",
                label="Leave out duplicates",
                elem_classes="sp-segments",
            )
            validation = gr.Slider(0, 50, 100 * plain.validation, step=1, label="For validation (%)")
            test = gr.Slider(0, 40, 100 * plain.test, step=1, label="For the evaluation (%)")
            unreadable = gr.Slider(
                0, 100, 100 * plain.max_unreadable, step=5, label="Unreadable files allowed (%)"
            )
            force = gr.Checkbox(
                label="Make anew", info="Throws away a dataset of this name, edited captions too."
            )
        return [
            trigger,
            caption,
            windows,
            overlap,
            most,
            silence,
            duplicates,
            validation,
            test,
            unreadable,
        ], force
