"""The page Jingle: text and roll say the same, MIDI fills both, and what is played comes as cards."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from torch import nn

from sonoconvert.curves.midi import Note
from sonopaint.jingles.notes import parse_notes, slots_of, text_of
from sonopaint.models.jingles.controls import Controls
from sonopaint.models.jingles.file import FOLDER, NAME, Jingle, write_jingle
from sonopaint.models.jingles.formalisms import Edm
from sonopaint.models.jingles.network import JingleUNet
from sonopaint.models.jingles.spaces import Scaling
from sonopaint_studio.jingle_tab import TUNE, JingleTab, roll_value


@pytest.fixture
def page(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JingleTab:
    """With a tiny model of random weights as the user's own."""
    torch.manual_seed(0)
    controls = Controls.at(("velocity", "pitch", "instruments"), ("piano", "violin"), 7.8125)
    network = JingleUNet(1, 64, 8, (1, 2), controls=controls.size, control_channels=8)
    nn.init.normal_(network.head.weight, std=0.1)  # type: ignore[arg-type]
    scaling = Scaling(torch.zeros(1, 64, 1), torch.full((1, 64, 1), 0.8))
    (tmp_path / FOLDER).mkdir()
    write_jingle(tmp_path / FOLDER / NAME, Jingle(network, Edm(), controls, "latents", 40, scaling))
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    return JingleTab(context)


def test_the_roll_shows_what_the_text_says_and_back() -> None:
    slots = roll_value("C4:0.5:0.7 - E4:0.25:1")["notes"]
    assert slots == [
        {"start": 0.0, "seconds": 0.5, "number": 60, "velocity": 0.7},
        {"start": 1.0, "seconds": 0.25, "number": 64, "velocity": 1.0},
    ]
    text, said = text_of(parse_notes(TUNE))
    assert slots_of(parse_notes(text)) == slots_of(parse_notes(TUNE)) and said == ()
    text, said = text_of(
        [Note(5, 6, 100, 0.5), Note(5, 6, 90, 0.5), Note(5.5, 7, 50, 1.0), Note(300, 301, 60, 1)]
    )
    assert text == "E4:0.500:0.50 D3:1.520:1.00" and len(said) == 3


def test_a_wrong_text_leaves_the_roll_and_says_what_is_wrong(page: JingleTab) -> None:
    roll, status = page.typed("C4 X9")
    assert "notes" not in roll and "is no note; write them as" in status and "sp-error" in status
    assert page.typed("  ")[0]["notes"] == [] and page.typed("C4")[1] == ""
    # The roll leaves it where the field says something else by then.
    assert page.typed("C4")[0]["text"] == "C4"


def test_midi_fills_text_and_roll(page: JingleTab, upload: Any) -> None:
    track = b"\x00\x90\x3c\x40" + b"\x83\x60\x80\x3c\x00" + b"\x00\x90\x40\x7f" + b"\x83\x60\x80\x40\x00"
    track += b"\x00\xff\x2f\x00"
    data = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track

    def read(content: bytes) -> Any:
        event = SimpleNamespace(files=[{"path": upload("tune.mid", content).path, "name": "tune.mid"}])
        return page.read_midi(event)  # type: ignore[arg-type]

    text, status = read(data)
    assert [n["number"] for n in roll_value(text)["notes"]] == [60, 64]
    assert text.startswith("C4:0.5") and status == ""
    assert "tune.mid is no MIDI file" in read(b"no")[1]


def test_notes_are_played_kept_and_found_again(page: JingleTab, tab: Any) -> None:
    assert page.instruments() == ["piano", "violin", "any"]
    *_, (status, seed, _, cards) = page.play(tab(), "C4:0.3 C7:0.3", "violin", 2, 5, False)
    assert "1 notes outside" in status and "sp-error" not in status
    assert [card["title"] for card in cards["cards"]] == ["violin: C4:0.3 C7:0.3"] * 2
    heard, rate = soundfile.read(cards["cards"][0]["downloads"]["WAV"])
    assert rate == 32_000 and len(heard) == pytest.approx(1.08 * rate, abs=1000)
    assert [one[3] for one in page.resume(tab())][0] == cards
    *_, (status, *_) = page.play(tab(), "", "piano", 1, None, True)
    assert "There are no notes" in status and "sp-error" in status
