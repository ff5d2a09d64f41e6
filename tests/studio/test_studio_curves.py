"""Generate's lanes without a browser: what they say, what fills them, what comes back over them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.points import parse_points
from sonoconvert.errors import SonopaintError

KNOBS = (7, False, 2, 3.0, "euler")


@pytest.fixture
def with_adapter(models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter for the tiny Mini, which has none beside it."""
    from sonopaint.models.curves_file import new_adapter, save_adapter

    path = tmp_path / "curves.safetensors"
    save_adapter(new_adapter("output", {}, 8), path, {})
    monkeypatch.setattr("sonopaint.painters.following.adapter_file", lambda model: path)
    return path


def test_lanes_are_read_as_the_widget_sends_them() -> None:
    from sonopaint_studio.curves_part import read_lanes

    sent = json.dumps({"rate": 62.5, "values": {"loudness": [-60, None, 0], "pitch": [None, 0, 440.5]}})
    curves = read_lanes(sent)
    assert curves is not None and curves.values["pitch"][1:].tolist() == [0, 440.5]
    assert np.isnan(curves.values["loudness"][1])
    assert read_lanes("") is None and read_lanes(None) is None
    assert read_lanes(json.dumps({"rate": 62.5, "values": {"loudness": [None, None]}})) is None
    for damaged in ("{", "[]", json.dumps({"rate": 1, "values": {"loudness": [900]}})):
        with pytest.raises(SonopaintError):
            read_lanes(damaged)


def test_a_voice_fills_the_lanes_and_the_length(context: Any, tab: Any, chirp: Path, upload: Any) -> None:
    from sonopaint_studio.curves_part import CurvesPart

    def fill(path: str, bright: bool) -> Any:
        event = SimpleNamespace(files=[{"path": path, "name": "voice.wav"}])
        return CurvesPart(context).fill(True, bright, tab(), event)  # type: ignore[arg-type]

    lanes, status, seconds = fill(upload("voice.wav", chirp).path, False)
    curves = Curves.from_dict(json.loads(lanes["asked"]))
    assert set(curves.names) == {"loudness", "pitch", "onsets"}
    assert seconds == pytest.approx(2.5, abs=0.01)
    assert lanes["seconds"] == seconds and "2.5 s" in status
    voiced = curves.values["pitch"][curves.values["pitch"] > 0]
    assert voiced[0] < 600 < voiced[-1]
    assert "not uploaded" in fill(str(chirp), True)[1]
    told = fill(upload("voice.wav", b"no sound").path, True)[1]
    assert "voice.wav" in told and "sp-error" in told


def test_a_sound_follows_the_lanes_and_comes_back_over_them(
    context: Any, tab: Any, with_adapter: Path
) -> None:
    from sonopaint_studio.generate_tab import GenerateTab

    asked = json.dumps(parse_points("loudness", "0:-60 0.5:0 1:-30", 1.0).to_dict())
    model = str(context.store.models()[0].path)
    fields = ("a dog", "", 1.0, 1, "full", -23, *KNOBS, asked, True)
    *_, last = GenerateTab(context).generate(tab(), model, "", "", "", 1.0, 1.0, 1.0, *fields)
    lanes = last[5]
    got = Curves.from_dict(json.loads(lanes["got"])).values["loudness"]
    assert lanes["asked"] is None and abs(int(got.argmax()) - 31) <= 6
    card = last[1]["cards"][0]
    assert card["downloads"]["WAV"]
    *_, plain = GenerateTab(context).generate(
        tab("b"), model, "", "", "", 1.0, 1.0, 1.0, *fields[:-2], "", True
    )
    assert not isinstance(plain[5], dict) or plain[5].get("got") is None


def test_a_hum_that_moves_by_octaves_is_told(
    context: Any, tab: Any, with_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.knowledge import knowledge_of
    from sonopaint_studio.generate_tab import GenerateTab

    known = knowledge_of(Path(__file__).resolve().parents[2] / "weights/mini")
    monkeypatch.setattr("sonopaint.painters.diffusers_painter.knowledge_of", lambda *_: known)
    asked = json.dumps(parse_points("pitch", "0:500", 1.0).to_dict())
    model = str(context.store.models()[0].path)
    fields = ("a cow", "", 1.0, 2, "full", -23, *KNOBS, asked, False)
    *_, last = GenerateTab(context).generate(tab(), model, "", "", "", 1.0, 1.0, 1.0, *fields)
    assert last[0].count("The pitch was moved down by 2 octaves") == 1  # of two sounds


def test_a_model_without_an_adapter_says_so(context: Any, tab: Any) -> None:
    from sonopaint_studio.generate_tab import GenerateTab

    asked = json.dumps(parse_points("loudness", "0:-6", 1.0).to_dict())
    model = str(context.store.models()[0].path)
    fields = ("a dog", "", 1.0, 1, "full", -23, *KNOBS, asked, True)
    *_, last = GenerateTab(context).generate(tab(), model, "", "", "", 1.0, 1.0, 1.0, *fields)
    assert "no adapter for curves" in last[0]


def test_a_varied_sound_and_variations_follow_their_lanes(
    context: Any, tab: Any, upload: Any, chirp: Path, with_adapter: Path
) -> None:
    """Under Edit's Vary and on the page Variations, over the time of the sound that is there."""
    from sonoconvert.curves.measure import measure
    from sonoconvert.files.clip import read_clip
    from sonopaint_studio.edit_tab import EditTab
    from sonopaint_studio.variations_tab import VariationsTab

    model = (str(context.store.models()[0].path), "", "", "", 1.0, 1.0, 1.0)
    asked = json.dumps(parse_points("loudness", "0:0 1.2:0 1.25:-30", 2.5).to_dict())

    def falls(path: str) -> float:
        levels = measure(read_clip(path), ("loudness",), 50.0).values["loudness"]
        return float(levels[10:50].mean() - levels[70:110].mean())

    edit = EditTab(context)
    sound = upload("chirp.wav", chirp)
    *_, opened = edit.opened(model[0], tab(), SimpleNamespace(name="chirp.wav", path=sound.path))  # type: ignore[arg-type]
    assert opened[-1]["seconds"] == pytest.approx(2.5)
    values = ("Vary", "", 50, "The marks", 0.0, 0.0, 0.5, "match", "As it suits", 1, "a dog", "", *KNOBS)
    *_, last = edit.run(tab(), *model, *values, asked, True)
    status, *_, after, _, lanes = last
    assert falls(after["cards"][0]["downloads"]["WAV"]) == pytest.approx(30, abs=4), status
    assert Curves.from_dict(json.loads(lanes["got"])).names == ("loudness",)
    *_, plain = edit.run(tab(), *model, *values, "", True)
    assert falls(plain[4]["cards"][0]["downloads"]["WAV"]) < 15 and plain[-1]["got"] is None

    page = VariationsTab(context)
    event = SimpleNamespace(files=[{"path": sound.path, "name": "chirp.wav"}])
    *_, opened = page.opened(tab("b"), event)  # type: ignore[arg-type]
    assert opened[-1]["seconds"] == pytest.approx(2.5)
    *_, last = page.make(tab("b"), *model, "a chirp", 2, 0.5, [], False, 3, False, asked, True)
    cards, lanes = last[3], last[5]
    assert all(falls(card["downloads"]["WAV"]) == pytest.approx(30, abs=4) for card in cards["cards"])
    assert Curves.from_dict(json.loads(lanes["got"])).names == ("loudness",)
