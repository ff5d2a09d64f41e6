"""What the table asks: probes that find what is there, swaps that are told from what stays, one page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.conversion.convert import waveform_of
from sonoconvert.curves.midi import Note
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonopaint.models.blend.file import BlendModel, write_blend
from sonopaint.models.blend.network import BlendNetwork
from sonopaint.models.blend.pyramid import fine_mel
from sonopaint.models.jingles.spaces import Scaling
from sonotrain.data.pvt.instruments import render
from sonotrain.data.scales import kept
from sonotrain.data.scales.kept import Wanted, make
from sonotrain.evaluation.blend.heard import alike, curves, melody_f1, same_pitch
from sonotrain.evaluation.blend.probes import accuracy, melody_loss
from sonotrain.evaluation.blend.report import separation
from sonotrain.evaluation.blend.swaps import NOTHING, WHOLE, share
from sonotrain.evaluation.blend.table import BlendTable, make_table
from sonotrain.evaluation.blend.timbre import mfcc, similarity, train_timbre
from sonotrain.files.json_files import read_json

RATE = 32_000


@pytest.fixture(autouse=True)
def short_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that hear learn for a moment only."""
    for place, steps in (("probes.STEPS", 100), ("probes.MELODY_STEPS", 60), ("timbre.TRAINED", 40)):
        monkeypatch.setattr(f"sonotrain.evaluation.blend.{place}", steps)
    monkeypatch.setattr("sonotrain.evaluation.blend.probes.MELODY_HIDDEN", 16)


def tone(hertz: float, seconds: float = 1.0, partials: int = 1) -> Clip:
    time = torch.arange(round(seconds * RATE)) / RATE
    wave = sum(torch.sin(2 * math.pi * hertz * k * time) / k for k in range(1, partials + 1))
    return Clip(0.4 * wave[None] * (time < 0.9 * seconds), RATE)  # type: ignore[index]


def test_probes_find_what_a_code_holds_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = [f"k{n % 3}" for n in range(150)]
    codes = torch.randn(150, 8, 5, generator=generator)
    told = codes.clone()
    told[:, 2] += torch.tensor([n % 3 for n in range(150)])[:, None] * 4.0
    assert accuracy(told[:100], kinds[:100], told[100:], kinds[100:]) > 0.9
    assert accuracy(codes[:100], kinds[:100], codes[100:], kinds[100:]) < 0.55


def test_melody_probes_follow_time() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(4, (60, 6), generator=generator)
    rolls = torch.nn.functional.one_hot(places, 4).transpose(1, 2).repeat_interleave(2, -1)
    codes = torch.randn(60, 4, 6, generator=generator) * 0.1
    held = [melody_loss(x[:45], rolls[:45], x[45:], rolls[45:]) for x in (codes, codes + rolls[..., ::2] * 2)]
    assert held[1] < 0.3 and held[0] > 0.5


def test_what_is_heard_of_notes() -> None:
    rng = np.random.default_rng(0)
    notes = [Note(0.1, 0.6, 60, 0.8), Note(0.7, 1.2, 67, 0.8), Note(1.3, 1.9, 64, 0.8)]
    clip = Clip(render("trumpet", notes, 2.2, rng)[None], RATE)
    heard, wanted = curves(clip), [(n.start_s, n.end_s, n.number) for n in notes]
    assert melody_f1(heard, wanted) > 0.6
    assert melody_f1(heard, [(a, b, n + 1) for a, b, n in wanted]) < 0.2
    one = curves(tone(440, partials=4))
    assert same_pitch(one, 69) == 1.0 and same_pitch(one, 70) == 0.0
    assert alike(heard, heard, "loudness") == pytest.approx(1) and alike(one, heard, "loudness") < 0.7


def test_the_triplet_network_tells_instruments_whatever_they_play() -> None:
    generator = torch.Generator().manual_seed(0)
    pitches = (150 + 400 * torch.rand(24, generator=generator)).tolist()
    mels = torch.stack([fine_mel(tone(f, 0.5, 1 if n % 2 else 16), 0.5) for n, f in enumerate(pitches)])
    network = train_timbre(mels[:16], [f"k{n % 2}" for n in range(16)])
    same = similarity(network, mels[16:22], mels[18:24])
    other = similarity(network, mels[16:23], mels[17:24])
    assert float(same.min()) > float(other.max())
    # louder is the same sound
    assert torch.allclose(mfcc(mels[:1] * 0 + 3.0).abs().max(), torch.tensor(0.0), atol=1e-4)


def test_shares_and_separation_are_what_they_say() -> None:
    scores = {NOTHING: {"kind": 0.1}, WHOLE: {"kind": 0.9}, "fine": {"kind": 0.5}}
    assert share(scores, "fine", "kind") == pytest.approx(0.5)
    assert math.isnan(share({w: {"kind": 0.2} for w in scores}, "fine", "kind"))
    apart = {"coarse": {"kind": 0.9, "pitch": 0.1}, "fine": {"kind": 0.3, "pitch": 0.8}}
    assert separation(apart) == pytest.approx(1.3)
    assert separation({"coarse": apart["fine"], "fine": apart["fine"]}) == 0


def quick_waveform(drawn: torch.Tensor, fmt: Any, search: PhaseSearch, *, length: int) -> torch.Tensor:
    return waveform_of(drawn, fmt, PhaseSearch(0, learned=False), length=length)


def tiny(path: Path, variant: str) -> str:
    torch.manual_seed(0)
    network = BlendNetwork(variant, 64, 8, (1, 1, 1, 1), 4, 4, 2)
    scaling = Scaling(torch.zeros(1, 64, 1), torch.ones(1, 64, 1))
    write_blend(path / f"{variant}.safetensors", BlendModel(network, "latents", 8, scaling))
    return str(path / f"{variant}.safetensors")


def test_one_command_makes_tables_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "HELD", 4)
    monkeypatch.setattr("sonotrain.evaluation.blend.probes.STEPS", 5)
    monkeypatch.setattr("sonotrain.evaluation.blend.probes.MELODY_STEPS", 2)
    monkeypatch.setattr("sonoconvert.representations.mel_picture.waveform_of", quick_waveform)
    make(tmp_path / "data", Wanted(corpus="", notes=20, seconds=1.1))
    models = tuple(tiny(tmp_path, variant) for variant in ("pyramid", "dae"))
    options = BlendTable(models, str(tmp_path / "data"), notes=15, tunes=15, pairs=2, steps=2, threads=1)
    text = make_table(tmp_path / "out", options)
    assert "**Reconstruction**" in text and "| pyramid | coarse |" in text and "| codec |" in text
    rows = read_json(tmp_path / "out/table.json")["rows"]
    assert [row["name"] for row in rows] == ["pyramid", "dae", "codec"]
    assert set(rows[0]["swaps"]["notes"]) == {"coarse", "mid", "fine", NOTHING, WHOLE}
    assert set(rows[1]["swaps"]["melodies"]) == {NOTHING, WHOLE}
    # the codec makes the sounds again, random weights don't
    assert rows[2]["mel"] < 0.5 * rows[0]["mel"]
    assert all(0 <= row["probes"][level]["pitch"] <= 1 for row in rows for level in row["levels"])
    page = (tmp_path / "out/maps.html").read_text(encoding="utf-8")
    told = json.loads(page.split("const told = ", 1)[1].split(";\n", 1)[0].replace("\\u003c", "<"))
    assert set(told["maps"]) == {"pyramid", "dae"} and told["by"] == "principal components"
    assert len(told["maps"]["pyramid"]["fine"]) == len(told["sounds"]) > 8
    assert (
        told["sounds"][0]["sound"].startswith("data:audio/ogg;base64,") and "http" not in page.split("svg")[0]
    )
    # what was made is taken as it is
    monkeypatch.setattr("sonotrain.evaluation.blend.table.swap", None)
    assert make_table(tmp_path / "out", options).split("**")[2] == text.split("**")[2]


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match="pairs and steps 2 or more"):
        BlendTable(pairs=1)
    with pytest.raises(SonopaintError, match="holds no sounds"):
        make_table(tmp_path, BlendTable(("a.safetensors",), str(tmp_path / "none")))
