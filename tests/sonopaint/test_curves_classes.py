"""Kinds of sound that an adapter for curves brings along: named in prompts, read by the U-Net, kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.curves.points import parse_points
from sonoconvert.errors import SonopaintError
from sonopaint.knowledge import knowledge_of
from sonopaint.models.classes import as_embedding, class_named, first_vectors
from sonopaint.models.curves import points_of
from sonopaint.models.curves_file import CLASS, KEY, fits, load_adapter, new_adapter, save_adapter
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.following import Following, in_register
from sonopaint.tasks import generate
from sonopaint.tasks.settings import PaintSettings

MINI = Path(__file__).resolve().parents[2] / "weights/mini"
CURVES = parse_points("loudness", "0:-60 2:-12 4:-40", 5.12)


@pytest.fixture
def taught(tiny: Any) -> Any:
    """An untrained adapter that brings two classes along."""
    torch.manual_seed(1)
    made = new_adapter("block-film", points_of(tiny.unet), 8).eval().requires_grad_(False)
    made.classes = {"glass harp": torch.randn(4, 64), "Glimp-2": torch.randn(7, 64)}
    return made


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("glass harp", "glass harp"),
        ("A distant Glass Harp, in a hall", "glass harp"),
        ("(glass harp:1.2)", "glass harp"),
        ("a wine glass harp solo", "wine glass harp"),  # of several the one of most words
        ("glimp 2", "Glimp-2"),
        ("glimps 2", None),
        ("a harp of glass", None),
        ("", None),
    ],
)
def test_a_prompt_names_a_class_by_its_words(prompt: str, name: str | None) -> None:
    assert class_named(["glass harp", "Glimp-2", "wine glass harp"], prompt) == name


def test_a_class_says_the_same_however_long_prompts_are(tiny: Any) -> None:
    vectors, x = torch.randn(5, 64), torch.randn(1, 4, 16, 40)
    with torch.no_grad():
        one, two = (
            tiny.unet(x, 500, as_embedding(vectors, length)[None], return_dict=False)[0]
            for length in (77, 154)
        )
    assert torch.allclose(one, two, atol=1e-5)
    embedding = torch.randn(77, 64)
    assert torch.equal(as_embedding(first_vectors(embedding, 77), 77), embedding)
    assert torch.equal(first_vectors(embedding, 8)[:7], embedding[:7])


def test_the_name_switches_a_class_on_and_any_other_prompt_stays_as_it_was(tiny: Any, taught: Any) -> None:
    plain = new_adapter("block-film", points_of(tiny.unet), 8).eval().requires_grad_(False)
    plain.load_state_dict(taught.state_dict())

    def paint(adapter: Any, prompt: str) -> np.ndarray:
        painter = DiffusersPainter(tiny, Following(CURVES, adapter))
        long = "noise, hiss, " * 40  # the negative prompt has two chunks
        settings = PaintSettings(prompt, negative_prompt=long, steps=2, seed=3)
        return generate(painter, settings)[0].picture.pixels

    assert np.array_equal(paint(taught, "a dog barks"), paint(plain, "a dog barks"))
    named = paint(taught, "a glass harp")
    assert not np.array_equal(named, paint(plain, "a glass harp"))
    assert np.array_equal(named, paint(taught, "glass harp in a hall"))


def test_a_painter_knows_the_classes_of_its_adapter(
    tiny: Any, taught: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = knowledge_of(MINI)
    assert known is not None and known.sentence("a didgeridoo")
    monkeypatch.setattr("sonopaint.painters.diffusers_painter.knowledge_of", lambda *_: known)
    taught.classes |= {"cow growl": torch.randn(4, 64), "didgeridoo": torch.randn(4, 64)}
    painter = DiffusersPainter(tiny, Following(CURVES, taught))
    assert painter.knowledge is not None and not painter.knowledge.sentence("a didgeridoo")
    assert painter.knowledge.sentence("a bagpipe")
    hummed = parse_points("pitch", "0:1500", 5.12)  # above what a cow reaches, whose growl is none of Mini's
    assert in_register(hummed, known, "cow growl").notes
    assert not in_register(hummed, painter.knowledge, "cow growl").notes


def test_classes_come_back_from_their_file_and_fit_only_their_width(
    tiny: Any, taught: Any, tmp_path: Path
) -> None:
    save_adapter(taught, tmp_path / "a.safetensors", {})
    back = load_adapter(tmp_path / "a.safetensors")
    assert list(back.classes) == list(taught.classes) and fits(back, tiny.unet)
    for name, vectors in taught.classes.items():
        assert torch.allclose(back.classes[name], vectors, atol=2e-3)
    back.classes["glass harp"] = torch.zeros(4, 65)
    assert not fits(back, tiny.unet)


GOOD = torch.ones(4, 64)


@pytest.mark.parametrize(
    ("classes", "vectors"),
    [
        (["harp", "absent"], {"harp": GOOD}),
        ([], {"harp": GOOD}),  # that nobody names
        ("harp", {"harp": GOOD}),
        ([3], {"3": GOOD}),
        ([["harp"]], {"harp": GOOD}),
        (["harp", "harp"], {"harp": GOOD}),
        (["!!"], {"!!": GOOD}),
        (["harp"], {"harp": GOOD[0]}),
        (["harp"], {"harp": torch.ones(78, 64)}),
        (["harp"], {"harp": GOOD[:0]}),
        (["harp"], {"harp": GOOD * torch.nan}),
        (7, {}),
    ],
)
def test_a_header_that_lies_about_classes_is_refused(
    taught: Any, tmp_path: Path, classes: Any, vectors: dict[str, torch.Tensor]
) -> None:
    about = {"variant": "block-film", "channels": 8, "points": taught.points}
    path = tmp_path / "a.safetensors"

    def write(classes: Any, vectors: dict[str, torch.Tensor]) -> None:
        tensors = taught.state_dict() | {CLASS + name: values for name, values in vectors.items()}
        header = {KEY: json.dumps(about | {"classes": classes})}
        write_tensors(path, tensors, header, allow_nan=True, force=True)

    write(["harp"], {"harp": GOOD})
    assert list(load_adapter(path).classes) == ["harp"]
    write(classes, vectors)
    with pytest.raises(SonopaintError, match="a.safetensors is no adapter for curves"):
        load_adapter(path)
