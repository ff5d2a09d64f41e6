"""The controls of the accordion "Sound", and the players under the gallery."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr
from modules.ui_components import InputAccordion

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat, get_format
from sonoconvert.pictures.view import view_of
from sonopaint_webui import host, results, settings
from sonopaint_webui.compat import message
from sonopaint_webui.sound_run import INFOTEXT, OWN_FORMAT, Made, shown

# What to write, by the format's family: what the models that paint it were trained on.
HINTS = {
    "riffusion": "Riffusion knows music: “funky synth solo”, “slow jazz piano”.",
    "perkins": "Short and plain words work best: “a dog barking”, “train horn”; no “a spectrogram of”.",
    "sonopaint": "Write what is heard, the sound first: “dog barking”, “rain on leaves, distant thunder”.",
    "full": "Write what is heard, in few words.",
}


def controls(elem_id: Callable[[str], str]) -> dict[str, Any]:
    """The accordion; closed means off."""
    with InputAccordion(False, label="Sound", elem_id=elem_id("enabled")) as enabled:
        with gr.Row():
            format = gr.Dropdown(
                choices=[OWN_FORMAT, *PRESETS],
                value=OWN_FORMAT,
                label="Spectrogram format",
                elem_id=elem_id("format"),
            )
            audio_format = gr.Radio(
                choices=list(settings.AUDIO_FORMATS),
                value=settings.get("audio_format"),
                label="Sound file",
                elem_id=elem_id("audio_format"),
            )
        with gr.Row():
            note = gr.HTML(elem_id=elem_id("note"), elem_classes=["sonopaint-note"])
            size = gr.Button("Set size", elem_id=elem_id("size"))
    return {"enabled": enabled, "format": format, "audio_format": audio_format, "note": note, "size": size}


def infotext_fields(controls: dict[str, Any]) -> list[tuple[Any, Any]]:
    """What of a pasted infotext goes where; a value that makes no sense changes nothing."""
    return [(controls[name], read) for name, read in PASTED.items()]


def _pasted(name: str, there: tuple[str, ...]) -> Callable[[dict[str, Any]], Any]:
    def read(values: dict[str, Any]) -> Any:
        value = values.get(INFOTEXT[name])
        return value if value in there else None

    return read


# The same functions in txt2img and img2img: by them the host's "Send to img2img" knows what belongs together.
PASTED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "enabled": lambda values: INFOTEXT["format"] in values,
    "format": _pasted("format", (OWN_FORMAT, *PRESETS)),
    "audio_format": _pasted("audio_format", settings.AUDIO_FORMATS),
}


def panel(tab: str) -> Any:
    """The place of the players, between the gallery's buttons and the infotext."""
    return gr.HTML(elem_id=f"sonopaint_sounds_{tab}", elem_classes=["sonopaint-sounds"])


def connect(parts: dict[str, Any], generation_info: Any) -> None:
    """Let the parts of one tab work together; called when the last of them is there."""
    if "enabled" not in parts:  # the host could not build the accordion
        return
    quietly: dict[str, Any] = {"show_progress": False, "queue": False}
    if "panel" in parts:
        generation_info.change(
            fn=lambda info: cards(shown(info)), inputs=[generation_info], outputs=[parts["panel"]], **quietly
        )
    if not {"width", "height", "prompt"} <= set(parts):
        return
    width, height, prompt = parts["width"], parts["height"], parts["prompt"]
    inputs = [width, height, parts["format"], prompt]
    for part in (parts["enabled"], width, height, parts["format"]):
        part.change(fn=describe, inputs=inputs, outputs=[parts["note"]], **quietly)
    parts["size"].click(fn=size, inputs=inputs, outputs=[width, height], **quietly)


def describe(width: int, height: int, format: str, prompt: str) -> str:
    """HTML: what a picture of this size would sound like."""
    try:
        fmt = expected(format, prompt)
    except SonopaintError as error:
        return message(error)
    band = f"{fmt.f_min / 1000:g} to {fmt.f_max / 1000:g} kHz"
    text = f"{fmt.name}: {width} columns are <b>{fmt.seconds(int(width)):.2f} s</b>, {band}. "
    text += next((hint for family, hint in HINTS.items() if fmt.name.startswith(family)), "")
    if height != fmt.rows:
        text += message(
            f"The height must be {fmt.rows}, not {height}; “Set size” makes it {fmt.width} × {fmt.rows}.",
            "warning",
        )
    return f"<p>{text}</p>"


def size(width: int, height: int, format: str, prompt: str) -> list[Any]:
    """The size of pictures that models of the format were trained on."""
    try:
        fmt = expected(format, prompt)
    except SonopaintError:  # the note says it
        return [width, height]
    return [fmt.width, fmt.rows]


def expected(format: str, prompt: str) -> SpectrogramFormat:
    """The format that a run would have; the checkpoint is not loaded for that."""
    if format != OWN_FORMAT:
        return get_format(format)
    return host.format_of(prompt or "", checkpoint=host.chosen_checkpoint())


def cards(sounds: list[Made]) -> str:
    """HTML: a player with its spectrogram for each sound. `javascript/sonopaint_tab.js` makes them move."""
    most = settings.get("most_players")
    text = results.views("cards", [_card(made) for made in sounds[:most]]) if sounds[:most] else ""
    if len(sounds) > most > 0:
        folder = sounds[0].path.parent
        text += message(f"{len(sounds) - most} more sounds are in {folder}.", "info")
    return text


def _card(made: Made) -> dict[str, Any]:
    fmt, seed, address = made.picture.format, made.picture.settings.get("seed"), results.address_of(made.path)
    return {
        **view_of(made.picture),
        "duration": made.seconds,
        "key": secrets.token_hex(8),
        "title": made.path.name,
        "note": (f"seed {seed} · " if isinstance(seed, int) else "") + f"{made.seconds:.2f} s",
        "detail": f"{fmt.sample_rate / 1000:g} kHz",
        "audio": address,
        "loop": False,
        "downloads": {made.path.suffix[1:].upper(): address},
    }
