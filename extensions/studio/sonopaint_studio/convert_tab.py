"""Convert: sounds to pictures and back, many at once."""

from __future__ import annotations

import html
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from sonoconvert.defaults import FORMAT, UNSAID_FORMAT
from sonoconvert.edits.source import is_png, open_source
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.pictures.format import PRESETS, get_format
from sonopaint_studio import widgets
from sonopaint_studio.disk import room
from sonopaint_studio.job_page import JobPage
from sonopaint_studio.jobs import Finished, Report, error_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import file_stem, named

SOUND_FORMATS = ("WAV", "FLAC", "OGG")


@dataclass(frozen=True)
class Converted:
    """One file: `made` is what came out, or `problem` says why nothing did."""

    name: str
    made: Path | None = None
    problem: str = ""


def convert_file(
    path: Path, name: str, folder: Path, picture_format: str, sound_suffix: str, bare: str
) -> Path:
    """Write the picture of a sound, or the sound of a picture, into `folder` and return its path.

    Pictures that say their format (Riffusion's too) are read by it, others as the preset `bare`.
    """
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import write_clip
    from sonoconvert.pictures.picture import save_picture

    stem = file_stem(Path(name).stem)
    if is_png(path):
        try:
            clip, _ = open_source(path)
        except SonopaintError:
            if not bare:
                raise
            clip, _ = open_source(path, get_format(bare))
        target = _unused(folder, stem, f".{sound_suffix.lower()}")
        write_clip(clip, target)
    else:
        clip, _ = open_source(path)
        target = _unused(folder, stem, ".png")
        save_picture(encode(clip, get_format(picture_format)), target)
    return target


def _unused(folder: Path, stem: str, suffix: str) -> Path:
    """A name that is not taken: two files of different folders may be called the same."""
    path, number = folder / f"{stem}{suffix}", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}{suffix}", number + 1
    return path


def zipped(paths: Sequence[Path], target: Path) -> Path:
    with atomic_path(target) as beside, zipfile.ZipFile(beside, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    return target


def results_html(converted: Sequence[Converted], archive: Path | None) -> str:
    """A table of what came out, with a link each and one for all of them."""
    rows = []
    for item in converted:
        out = (
            link(item.made, item.made.name)
            if item.made
            else f'<em class="sp-bad">{html.escape(item.problem)}</em>'
        )
        rows.append(f"<tr><td>{html.escape(item.name)}</td><td>{out}</td></tr>")
    every = f'<p class="sp-all">{link(archive, "Save all as ZIP")}</p>' if archive else ""
    return f'{every}<table class="sp-table"><tr><th>File</th><th>Became</th></tr>{"".join(rows)}</table>'


def link(path: Path, text: str) -> str:
    url = "gradio_api/file=" + quote(str(path))
    return f'<a class="sp-link" href="{url}" download="{html.escape(path.name)}">{html.escape(text)}</a>'


class ConvertTab(JobPage):
    """The page and what its buttons do."""

    name = "convert"
    stopping = "Stopping after this file …"

    def convert(
        self, picture_format: str, sound_format: str, bare: str, request: gr.Request, event: gr.EventData
    ) -> Iterator[tuple[Any, ...]]:
        """Put the dropped files into the queue and yield (status, results, stop) while they are converted."""
        session = self.context.sessions.of(request)
        try:
            files = self.context.sessions.all_uploaded(event)
        except SonopaintError as error:
            yield error_html(error), gr.skip(), gr.skip()
            return

        def work(report: Report) -> tuple[list[Converted], Path | None]:
            return convert_all(session, files, picture_format, sound_format, bare, report)

        title = f"{len(files)} files" if len(files) > 1 else Path(files[0][1]).name if files else "nothing"
        self.begin(session, title, work)
        yield from self.resume(request)

    def resume(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Yield as ``convert`` does, also after the page was loaded again."""
        session = self.context.sessions.of(request)
        for happened, told, stop in self.followed(session):
            results = results_html(*happened.value) if isinstance(happened, Finished) else gr.skip()
            yield told, results, stop

    def build(self) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                picture_format = gr.Dropdown(
                    list(PRESETS), value=FORMAT, label="Sounds become pictures in the format",
                    elem_id="picture-format",
                )  # fmt: skip
                sound_format = gr.Radio(
                    list(SOUND_FORMATS), value="WAV", label="Pictures become", elem_id="sound-format",
                    elem_classes="sp-segments",
                )  # fmt: skip
                bare = gr.Dropdown(
                    [("skip them and say so", ""), *((name, name) for name in PRESETS)],
                    value=UNSAID_FORMAT,
                    label="Pictures that don't say their format",
                    info="Sonopaint's and Riffusion's own pictures say it themselves.",
                )
                stop = gr.Button("Stop", variant="stop", visible=False, elem_id="convert-stop")
                status = widgets.status("convert-status")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("convert")
                drop = widgets.dropzone(
                    "Drop sounds or pictures here",
                    "Sounds become PNG pictures, pictures become sounds. Several files, or a whole folder.",
                    "convert-drop",
                )
                results = gr.HTML("", elem_id="convert-results", apply_default_css=False)
        self.outputs = [status, results, stop]
        drop.files(self.convert, [picture_format, sound_format, bare], self.outputs, **widgets.LONG)
        stop.click(self.stop, None, [status, stop], **widgets.QUICK)


def convert_all(
    session: Session,
    files: Sequence[tuple[Path, str]],
    picture_format: str,
    sound_format: str,
    bare: str,
    report: Report,
) -> tuple[list[Converted], Path | None]:
    """Convert each file; one that can't be read does not stop the others. From two on there is a ZIP."""
    folder = session.new_folder()
    converted = []
    for number, (path, name) in enumerate(files):
        report(number, len(files), Path(name).name)
        try:
            with room():
                made = convert_file(path, name, folder, picture_format, sound_format, bare)
            converted.append(Converted(name, made))
        except SonopaintError as error:
            converted.append(Converted(name, problem=named(error, Path(name).name, path)))
        path.unlink(missing_ok=True)
    report(len(files), len(files), "Packing")
    made_paths = [item.made for item in converted if item.made]
    archive = zipped(made_paths, folder / "sonopaint.zip") if len(made_paths) > 1 else None
    return converted, archive
