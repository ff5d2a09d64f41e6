"""The sub-tabs Audio → Image and Image → Audio, for one file or a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.defaults import ITERATIONS, LONGEST_S, UNSAID_FORMAT
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import write_clip
from sonoconvert.files.suffixes import SOUNDS
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import PRESETS, get_format
from sonoconvert.pictures.picture import load_picture, save_picture
from sonopaint_webui import compat, host, results
from sonopaint_webui.names import said
from sonopaint_webui.tab.fields import hidden
from sonopaint_webui.tab.panel import QUIET

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_FILES = 10_000
SHOWN = 8  # results of a folder that are shown
ANY_FORMAT = "as the picture says"


def build_audio_to_image() -> None:
    """Lay the sub-tab out and wire it."""
    name = "sonopaint_audio_to_image"
    with gr.Row():
        with gr.Column(scale=2):
            sound = compat.audio(label="A sound", elem_id=f"{name}_source")
            folder = _folder(name, "or a folder of sounds")
            preset = gr.Dropdown(
                choices=list(PRESETS),
                value=UNSAID_FORMAT,
                label="Spectrogram format",
                elem_id=f"{name}_format",
            )
            go, task = _buttons(name, "Make pictures")
        with gr.Column(scale=3):
            status = gr.HTML("", elem_id=f"{name}_status")
            made = gr.HTML("", elem_id=f"{name}_made")
            image = gr.Image(label="The picture", type="pil", elem_id=f"{name}_image", interactive=False)
            with gr.Row():
                _sending(image)
    go.click(fn=to_pictures, inputs=[task, sound, folder, preset], outputs=[status, made, image], **QUIET)


def build_image_to_audio() -> None:
    """Lay the sub-tab out and wire it."""
    name = "sonopaint_image_to_audio"
    with gr.Row():
        with gr.Column(scale=2):
            # An image field would drop what the PNG says about its format and level.
            picture = compat.file(label="A picture (PNG)", elem_id=f"{name}_source", file_types=["image"])
            folder = _folder(name, "or a folder of pictures")
            preset = gr.Dropdown(
                choices=[ANY_FORMAT, *PRESETS],
                value=ANY_FORMAT,
                label="Spectrogram format",
                elem_id=f"{name}_format",
            )
            iterations = gr.Slider(
                minimum=0,
                maximum=200,
                step=1,
                value=ITERATIONS,
                label="Phase iterations",
                elem_id=f"{name}_iterations",
            )
            kind = gr.Radio(
                choices=["wav", "flac", "ogg"], value="wav", label="Sound file", elem_id=f"{name}_kind"
            )
            go, task = _buttons(name, "Make sounds")
        with gr.Column(scale=3):
            status = gr.HTML("", elem_id=f"{name}_status")
            made = gr.HTML("", elem_id=f"{name}_made")
    inputs = [task, picture, folder, preset, iterations, kind]
    go.click(fn=to_sounds, inputs=inputs, outputs=[status, made], **QUIET)


def to_pictures(task: str, sound: str | None, folder: str, preset: str) -> tuple[str, Any, Any]:
    """(status, players, the last picture) of one sound, or of all in a folder, saved in the output folder."""

    def convert(path: Path) -> dict[str, Any]:
        clip = results.open_sound(path)
        picture = encode(clip, get_format(preset))
        target = _free(path.stem, ".png")
        save_picture(picture, target)
        return _card(path.stem, picture, clip, path, target)

    status, cards = _each(task, sound, folder, SOUNDS, convert)
    last = compat.update(value=cards[-1]["picture"]) if cards else compat.update()
    return status, results.views("cards", cards), last


def to_sounds(
    task: str, picture: Any, folder: str, preset: str, iterations: float, kind: str
) -> tuple[str, Any]:
    """(status, players) of one picture, or of all in a folder; the sounds go to the output folder."""

    def convert(path: Path) -> dict[str, Any]:
        drawn = load_picture(path, format=None if preset == ANY_FORMAT else get_format(preset))
        if drawn.duration_s > LONGEST_S:
            raise SonopaintError(f"{path.name} lasts {drawn.duration_s:.0f} s; cut it into shorter ones.")
        clip = decode(drawn, PhaseSearch(int(iterations)), progress=host.stop_if_asked)
        target = _free(path.stem, f".{kind}")
        write_clip(clip, target)
        if drawn.peak is None:
            drawn = dataclasses.replace(encode(clip, drawn.format), settings=drawn.settings)
        return _card(path.stem, drawn, clip, target, target)

    status, cards = _each(task, getattr(picture, "name", picture), folder, PICTURES, convert)
    return status, results.views("cards", cards)


def _each(
    task: str, given: str | None, folder: str, suffixes: Collection[str], convert: Any
) -> tuple[str, list[Any]]:
    """Convert the file, or those of the folder, in the host's turn; what fails is told and left out."""
    failed: list[str] = []
    cards: list[dict[str, Any]] = []
    try:
        paths = _files(given, folder, suffixes)
    except SonopaintError as error:
        return compat.message(error), []
    left = 0
    with host.queued(task or None) as state:
        state.job_count = len(paths)
        for index, path in enumerate(paths):
            state.textinfo = f"{index + 1} of {len(paths)}"
            try:
                host.stop_if_asked()
                cards.append(convert(path))
            except Cancelled:
                left = len(paths) - index
                break
            except SonopaintError as error:
                failed.append(said(error).replace(str(path), path.name))
            state.job_no = index + 1
    status = compat.message(f"{len(cards)} saved in {results.outputs_folder()}.", "info") if cards else ""
    status += "".join(compat.message(text) for text in failed[:10])
    if left:
        status += compat.message(f"Interrupted: {left} are left.", "info")
    if len(failed) > 10:
        status += compat.message(f"{len(failed) - 10} more could not be converted.")
    return status, cards[-SHOWN:]


def _files(given: str | None, folder: str, suffixes: Collection[str]) -> list[Path]:
    if not (folder or "").strip():
        if not given:
            raise SonopaintError("There is no file yet: drop one here, or name a folder.")
        return [Path(given)]
    place = Path(folder.strip()).expanduser()
    if not place.is_dir():
        raise SonopaintError(f"There is no folder {place}; check its path.")
    found = sorted(path for path in place.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        raise SonopaintError(f"The folder {place} has no files that end in {', '.join(sorted(suffixes))}.")
    if len(found) > MAX_FILES:
        raise SonopaintError(f"The folder {place} has {len(found)} files; use sonoconvert for so many.")
    return found


def _card(title: str, picture: Any, clip: Any, sound: Path, target: Path) -> dict[str, Any]:
    view = results.Kept(sound, target, clip, picture).view(title)
    return view | {
        "downloads": {target.suffix[1:].upper(): results.address_of(target)},
        "picture": str(target),
    }


def _free(stem: str, suffix: str) -> Path:
    """A path of the output folder that is not taken."""
    folder = results.outputs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        path, number = folder / f"{stem}-{number}{suffix}", number + 1
    return path


def _folder(name: str, label: str) -> Any:
    from modules import shared

    hidden = bool(getattr(shared.cmd_opts, "hide_ui_dir_config", False))
    return gr.Textbox("", label=label, elem_id=f"{name}_folder", visible=not hidden)


def _buttons(name: str, label: str) -> tuple[Any, Any]:
    """(the button that starts it, the field with its task) in a row with Interrupt."""
    with gr.Row(elem_classes=["sonopaint-go"]):
        go = gr.Button(label, variant="primary", elem_id=f"{name}_go")
        interrupt = gr.Button("Interrupt", elem_id=f"{name}_interrupt")
    interrupt.click(fn=host.interrupt, **QUIET)
    return go, hidden(name, "task")


def _sending(image: Any) -> None:
    """The host's "Send to" buttons for an image."""
    from modules import infotext_utils

    for tab, button in infotext_utils.create_buttons(["img2img", "inpaint"]).items():
        binding = infotext_utils.ParamBinding(paste_button=button, tabname=tab, source_image_component=image)
        infotext_utils.register_paste_params_button(binding)
