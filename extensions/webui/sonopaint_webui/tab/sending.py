"""Sounds on their way: from any card to a sub-tab, to txt2img and img2img, and from PNG Info to here."""

from __future__ import annotations

import json
import logging
import secrets
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from sonoconvert.conversion.convert import decode
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import write_clip
from sonoconvert.pictures.picture import load_picture
from sonopaint_webui import compat, infotext, results, sound_run
from sonopaint_webui.tab.panel import QUIET, Panel

logger = logging.getLogger(__name__)

HIDDEN: dict[str, Any] = {"show_label": False, "elem_classes": ["sonopaint-hidden"]}
HOST_TABS = ("txt2img", "img2img")  # to which a card's picture and settings go


def wire_sending(tabs: Any, panels: list[Panel]) -> None:
    """Called when all sub-tabs are laid out."""
    _wire_cards(tabs, [panel for panel in panels if panel.takes_a_sound])
    _wire_png_info(tabs, panels)


def _wire_cards(tabs: Any, takers: list[Panel]) -> None:
    """Cards write {"to", "audio", "picture"} into a field; that sub-tab or host's tab gets one of them."""
    from modules import infotext_utils

    box = gr.Textbox("", label="send", elem_id="sonopaint_send", **HIDDEN)
    image = gr.Image(visible=False, type="pil", elem_id="sonopaint_sent_image")
    text = gr.Textbox("", label="sent", visible=False, elem_id="sonopaint_sent_text")
    for tab in HOST_TABS:
        button = gr.Button(tab, elem_id=f"sonopaint_send_{tab}", elem_classes=["sonopaint-hidden"])
        takes_picture = image if tab == "img2img" else None
        infotext_utils.register_paste_params_button(
            infotext_utils.ParamBinding(
                paste_button=button,
                tabname=tab,
                source_text_component=text,
                source_image_component=takes_picture,
            )
        )

    def send(wanted: str) -> list[Any]:
        answers = [compat.update() for _ in range(3 + len(takers))]
        try:
            asked = json.loads(wanted or "{}")
            to = str(asked["to"])
            path = results.path_of(str(asked["picture" if to in HOST_TABS else "audio"]).split("/")[2])
        except (ValueError, KeyError, IndexError, TypeError):
            return answers
        actions = [panel.action for panel in takers]
        if path is None:
            return answers
        if to in HOST_TABS:
            answers[1:3] = _picture_of(path)
        elif to in actions:
            answers[0] = compat.update(selected=to)
            answers[3 + actions.index(to)] = compat.update(value=results.for_gradio(path))
        return answers

    sources = [panel.source for panel in takers]
    done = box.change(fn=send, inputs=[box], outputs=[tabs, image, text, *sources], **QUIET)
    done.then(fn=None, inputs=[box], **compat.js("(wanted) => { sonopaintSent(wanted); return []; }"))


def _picture_of(path: Path) -> list[Any]:
    """[image, infotext] of a picture of ours; img2img will know it by its pixels."""
    try:
        sound_run.keep_source(load_picture(path))
        with Image.open(path) as opened:
            return [opened.copy(), str(opened.info.get("parameters", ""))]
    except (SonopaintError, OSError) as error:
        logger.warning("%s can't be sent: %s", path.name, error)
        return [compat.update(), compat.update()]


def _wire_png_info(tabs: Any, panels: list[Panel]) -> None:
    """The host's own way of pasting, with this tab as one of its destinations."""
    from modules import infotext_utils

    image = gr.Image(visible=False, type="pil", elem_id="sonopaint_pasted_image")
    text = gr.Textbox("", label="pasted", elem_id="sonopaint_pasted", **HIDDEN)
    # A new text each time, so that pasting the same again is a change, too; two fields, as of one the host
    # would make a list.
    spare = gr.Textbox("", visible=False)
    fields = [
        (text, lambda values: json.dumps([secrets.token_hex(4), _plain(values)])),
        (spare, lambda values: None),
    ]
    infotext_utils.add_paste_fields("sonopaint", image, fields)

    def paste_all(pasted: str) -> list[Any]:
        try:
            values = json.loads(pasted or "[]")[1]
        except (ValueError, IndexError):
            values = {}
        action = infotext.action_of(values)
        answers = [compat.update(selected=action)]
        for panel in panels:
            mine = panel.action == action
            answers += panel.paste_values(values) if mine else [compat.update()] * (len(panel.fields) + 1)
        return answers

    def take(given: Any) -> list[Any]:
        answers = [compat.update() for _ in sources]
        picture = sound_run.picture_in(given) if given is not None else None
        if picture is None:
            return answers
        words = str(given.info.get("parameters", ""))
        action = infotext.action_of(infotext_utils.parse_generation_parameters(words))
        index = list(sources).index(action if action in sources else "inpaint")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture.wav")
            write_clip(decode(picture), path)
            answers[index] = compat.update(value=results.for_gradio(path))
        return answers

    sources = {panel.action: panel.source for panel in panels if panel.takes_a_sound}
    outputs = [one for panel in panels for one in (*panel.fields, panel.boxes)]
    text.change(fn=paste_all, inputs=[text], outputs=[tabs, *outputs], **QUIET)
    image.change(fn=take, inputs=[image], outputs=list(sources.values()), **QUIET)


def _plain(values: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}


_png_info: dict[str, Any] = {}


def on_after_component(component: Any, elem_id: str) -> None:
    """Puts "Send to Sonopaint" behind the other buttons of PNG Info."""
    from modules import infotext_utils

    if elem_id in ("pnginfo_image", "pnginfo_generation_info"):
        _png_info[elem_id] = component
    elif elem_id == "extras_tab" and len(_png_info) == 2:
        button = gr.Button("Send to Sonopaint", elem_id="sonopaint_tab")
        infotext_utils.register_paste_params_button(
            infotext_utils.ParamBinding(
                paste_button=button,
                tabname="sonopaint",
                source_text_component=_png_info.pop("pnginfo_generation_info"),
                source_image_component=_png_info.pop("pnginfo_image"),
            )
        )
