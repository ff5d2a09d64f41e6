"""The page Match: a sound is dropped, matched, its knobs turned; others like it, its parameters as a file."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from sonopaint.match import matching
from sonopaint.match.sheet import read_sheet
from sonopaint.match.synths import get_synth
from sonopaint_studio.match_tab import MANY, MatchTab


@pytest.fixture
def kick(tmp_path: Path) -> Path:
    synth = get_synth("kick")
    sound = synth.render(synth.defaults()[None])[0].numpy() * 0.5
    soundfile.write(tmp_path / "kick.wav", sound, synth.rate, subtype="PCM_16")
    return tmp_path / "kick.wav"


def dropped(upload: Any, path: Path) -> Any:
    """What the drop zone sends."""
    one = upload(path.name, path)
    return SimpleNamespace(files=[{"path": one.path, "name": one.name}])


def test_a_sound_is_matched_turned_and_multiplied(
    context: Any, tab: Any, upload: Any, kick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "match", partial(matching.match, count=1))
    page = MatchTab(context)
    *_, (status, original, *_) = page.opened(tab(), dropped(upload, kick))
    assert "Press Match" in status and original["cards"][0]["title"] == "kick"
    *_, (status, _, _, cards, knobs, link) = page.make("kick", tab())
    assert "Kick drum: " in status and " away" in status and link == ""
    assert cards["compare"]["before"]["title"] == "kick" and cards["actions"] == [
        ["send", "Edit"],
        ["blend", "Blend"],
    ]
    assert [one["name"] for one in knobs["knobs"]] == [*get_synth("kick").names, "colour"]
    assert all(one["place"] == pytest.approx(one["mark"]) for one in knobs["knobs"])
    assert len({one["step"] for one in knobs["knobs"]}) > 3  # as large to the ear, not on the track
    assert all(0 < one["step"] <= 0.25 for one in knobs["knobs"])

    begun = time.process_time()
    places = {one["name"]: one["place"] for one in knobs["knobs"]}
    event = SimpleNamespace(places={**places, "pitch": 0.9}, turn=1)
    status, _, cards, turned, _ = page.turned(tab(), event)
    late = page.turned(tab(), SimpleNamespace(places={**places, "pitch": 0.2}, turn=0))
    assert late == (gr.skip(),) * 5
    assert time.process_time() - begun < 1.0  # a fifth of it on a machine that does nothing else
    assert (
        turned["audio"] != knobs["audio"]
        and turned["turn"] == 1
        and turned["knobs"][0]["place"] == pytest.approx(0.9)
    )
    assert turned["knobs"][0]["mark"] == pytest.approx(knobs["knobs"][0]["mark"])
    heard, rate = soundfile.read(turned["audio"])
    assert rate == 32_000 and np.abs(heard).max() > 0.01

    status, saved = page.sheet(tab())
    sheet = read_sheet(saved.split("file=")[1].split('"')[0])
    pitch = get_synth("kick").parameters[0]
    assert sheet.values["pitch"] == pytest.approx(float(pitch.from_unit(torch.tensor(0.9))), rel=1e-4)

    monkeypatch.setattr("sonopaint_studio.match_tab.MANY", 3)
    status, _, cards, _, link = page.many(tab())
    assert len(cards["cards"]) == 4 and ".zip" in link and MANY == 20
    _, _, cards, knobs, _ = page.back(tab())
    assert all(one["place"] == pytest.approx(one["mark"]) for one in knobs["knobs"])
    assert context.sound(context.sessions.of(tab()), cards["cards"][0]["key"]) is not None  # Edit finds it


def test_what_is_missing_is_said(context: Any, tab: Any, upload: Any, tmp_path: Path) -> None:
    page = MatchTab(context)
    *_, last = page.make("auto", tab())
    assert "Drop the sound" in last[0]
    assert "Match a sound first" in page.many(tab())[0]
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000), 32_000)
    list(page.opened(tab(), dropped(upload, tmp_path / "quiet.wav")))
    *_, last = page.make("bell", tab())
    assert "silent" in last[0]
