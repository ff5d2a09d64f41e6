"""Sounds and settings on their way between cards, sub-tabs, the host's tabs and PNG Info, on the stand-in."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sonoconvert.conversion.convert import decode
from sonoconvert.files.clip import read_clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import Picture, picture_text, save_picture

MINI = get_format("sonopaint-mini")


@pytest.fixture
def page(host: Any) -> Any:
    """The sub-tabs that paint, laid out and wired; `functions[name]` is what their events call."""
    import gradio as gr

    pasting = types.ModuleType("modules.infotext_utils")
    bindings: list[Any] = []
    fields: dict[str, Any] = {}
    pasting.__dict__.update(
        ParamBinding=SimpleNamespace,
        register_paste_params_button=bindings.append,
        add_paste_fields=lambda tab, image, given: fields.update({tab: (image, given)}),
        parse_generation_parameters=lambda text: json.loads(text or "{}"),
    )
    sys.modules["modules.infotext_utils"] = pasting
    sys.modules["modules"].infotext_utils = pasting  # type: ignore[attr-defined]
    from sonopaint_webui.tab.panel import PANELS, Panel
    from sonopaint_webui.tab.sending import on_after_component, wire_sending

    with gr.Blocks() as blocks:
        panels = []
        with gr.Tabs() as tabs:
            for action in PANELS:
                with gr.Tab(action):
                    panels.append(Panel(action).build())
        wire_sending(tabs, panels)
        for part in ("pnginfo_image", "pnginfo_generation_info", "extras_tab", "extras_tab"):
            on_after_component(gr.Textbox(), part)
    functions = {getattr(one.fn, "__name__", ""): one.fn for one in blocks.fns.values()}
    return SimpleNamespace(functions=functions, panels=panels, bindings=bindings, fields=fields)


def picture(**settings: Any) -> Picture:
    noise = np.random.default_rng(3).integers(0, 256, (MINI.rows, 64, 1), dtype=np.uint8)
    return Picture(np.repeat(noise, 3, axis=2), MINI, peak=0.25, settings=settings)


def value_of(update: Any) -> Any:
    return update.get("value") if isinstance(update, dict) else update


def test_a_card_goes_to_a_sub_tab_as_sound_and_to_the_host_as_picture(page: Any, tmp_path: Path) -> None:
    from sonopaint_webui import results, sound_run

    drawn = picture()
    write_clip(decode(drawn), tmp_path / "a.wav")
    save_picture(drawn, tmp_path / "a.png", other_text={"parameters": "a horn\nSteps: 3"})
    card = {name: results.address_of(tmp_path / f"a.{name}") for name in ("wav", "png")}
    asked = {"audio": card["wav"], "picture": card["png"]}
    send = page.functions["send"]
    takers = [panel.action for panel in page.panels if panel.takes_a_sound]
    tab, image, text, *sources = send(json.dumps({"to": "vary", **asked}))
    assert tab["selected"] == "vary"
    sent = value_of(sources[takers.index("vary")])
    assert read_clip(sent).num_samples == read_clip(tmp_path / "a.wav").num_samples
    _, image, text, *sources = send(json.dumps({"to": "img2img", **asked}))
    assert value_of(text) == "a horn\nSteps: 3" and value_of(image).size == (64, MINI.rows)
    bare = Image.fromarray(np.asarray(image))
    known = sound_run.picture_in(bare)
    assert known is not None and known.peak == 0.25, "img2img would lose the level"
    for wrong in (
        "",
        "{",
        "[]",
        '{"to": "vary"}',
        '{"to": "vary", "audio": "x/y/z"}',
        '{"to": "rm", "audio": 7}',
    ):
        assert not any(map(value_of, send(wrong)[1:]))


def test_png_info_brings_the_settings_and_the_sound(page: Any) -> None:
    from sonopaint_webui import infotext
    from sonopaint_webui.arguments import Arguments

    arguments = Arguments.of(
        "vary", {"prompt": "dog", "steps": 9, "strength": 0.25, "sampler": "Euler", "seed": 4}
    )
    params = {infotext.KEY: infotext.written(arguments), "Prompt": "dog, in a style"}
    [(_, read), _] = page.fields["sonopaint"][1]  # of one field the host would make a list
    tab, *updates = page.functions["paste_all"](read(params))
    assert tab["selected"] == "vary"
    given = {}
    for panel in page.panels:
        mine, updates = updates[: len(panel.fields) + 1], updates[len(panel.fields) + 1 :]
        if panel.action == "vary":
            given = dict(zip(panel.names, map(value_of, mine), strict=False))
        else:
            assert not any(map(value_of, mine))
    assert given["prompt"] == "dog" and (given["steps"], given["strength"], given["seed"]) == (9, 0.25, 4)
    assert given["sampler"] == "Euler" and given["format"] == "as the model says"
    image = Image.fromarray(picture().pixels)
    image.info |= {**picture_text(picture()), "parameters": json.dumps(params)}
    sounds = [value_of(update) for update in page.functions["take"](image)]
    takers = [panel.action for panel in page.panels if panel.takes_a_sound]
    assert [bool(sound) for sound in sounds] == [action == "vary" for action in takers]
    assert read_clip(sounds[takers.index("vary")]).num_samples > 0
    assert not any(map(value_of, page.functions["take"](Image.new("RGB", (64, 64))))), "no spectrogram"
    assert not any(map(value_of, page.functions["take"](None)))


def test_the_hosts_buttons_are_bound_by_name(page: Any) -> None:
    assert [one.tabname for one in page.bindings] == ["txt2img", "img2img", "sonopaint"], (
        "one button in PNG Info"
    )


def test_values_that_a_menu_does_not_have_change_nothing(page: Any) -> None:
    panel = page.panels[0]
    params = {"Sampler": "Nobody's", "Schedule type": "Odd", "Prompt": "<b>", "Steps": "1e9", "Seed": "nan"}
    given = dict(zip(panel.names, map(value_of, panel.paste_values(params)), strict=False))
    assert given["prompt"] == "<b>"
    assert [given[name] for name in ("sampler", "scheduler", "steps", "seed")] == [None] * 4


def test_a_folder_is_converted_in_turn_and_interrupted(page: Any, webui: Any, tmp_path: Path) -> None:
    from sonopaint_webui.tab import convert

    state, seen = webui.shared.state, []
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.wav").touch()

    def one(path: Path) -> dict[str, Any]:
        seen.append((path.name, state.job, state.textinfo, state.job_count))
        state.interrupted = path.name == "b.wav"
        return {}

    status, cards = convert._each("task(x)", None, str(folder), (".wav",), one)
    assert seen == [("a.wav", "task(x)", "1 of 3", 3), ("b.wav", "task(x)", "2 of 3", 3)]
    assert "Interrupted: 1 are left" in status and len(cards) == 2
    assert state.job == "" and not state.interrupted, "the next job would stop at once"
