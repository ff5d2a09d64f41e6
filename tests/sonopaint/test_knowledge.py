"""What Mini does not know is said, with what comes nearest; what it knows, and words around it, are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sonopaint.cli import main
from sonopaint.knowledge import KEY, Knowledge, knowledge_of
from sonopaint.tasks.result import record
from sonopaint.tasks.settings import PaintSettings

MINI = Path(__file__).resolve().parents[2] / "weights/mini"


@pytest.fixture(scope="module")
def mini() -> Knowledge:
    known = knowledge_of(MINI)
    assert known is not None and len(known.kinds) == 52
    return known


# The words that the shipped model was heard to make nothing of (or another kind) when it painted them.
@pytest.mark.parametrize(
    ("prompt", "unknown", "near"),
    [
        ("a didgeridoo in a cave", "a didgeridoo", ["flute", "train horn"]),
        ("eine Tür knarrt", "eine Tür knarrt", ["door knock"]),
        ("a saxophone", "a saxophone", ["flute", "train horn"]),
        ("the sound of a saxophone, high quality", "a saxophone", ["flute", "train horn"]),
        ("a dog barking and a saxophone in the background", "a saxophone", ["flute", "train horn"]),
        ("a puppy barking", "a puppy", ["dog bark"]),
        ("a duck quacking on a lake", "a duck", ["crow", "frog"]),
        ("a door creaking", "a door", ["door knock"]),
        ("a washing machine", "a machine", ["engine", "drill"]),
        ("a man speaking", "a man speaking", ["speech"]),
        ("a dgo barking", "a dgo", ["dog bark"]),
    ],
)
def test_what_is_not_known_is_named(mini: Knowledge, prompt: str, unknown: str, near: list[str]) -> None:
    assert mini.unknown(prompt) == [unknown]
    assert mini.nearest(unknown) == near
    assert mini.sentence(prompt) == f"Mini does not know {unknown}; nearest: {', '.join(near)}."


def test_nonsense_gets_kinds_too(mini: Knowledge) -> None:
    assert mini.sentence("asdf qwerty").startswith("Mini does not know asdf qwerty; nearest: ")
    assert set(mini.nearest("asdf qwerty")) <= set(mini.kinds)
    assert mini.sentence("a beautiful day") == "“a beautiful day” names no sound that Mini knows."
    assert mini.sentence("") == mini.sentence("… !") == ""


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog barking in the rain",
        "my recording of a dog barking, high quality",
        "a gorgeous dog barking furiously in a spacecraft",
        "(the dogs:1.3) bark",
        "heavy rain on leaves, distant thunder",
        "an old wooden door knock far away",
        "someone typing quickly",
        "a woman talking",  # painted as speech, though no caption has a woman
        "a child laughing",
        "an electric guitar",
        "a violin solo",
        "a bell",
        "car engine idling, cinematic, 8k, masterpiece",
        "an owl in a hall",
        "a prt owl in the distance",
    ],
)
def test_what_is_known_is_not(mini: Knowledge, prompt: str) -> None:
    assert mini.unknown(prompt) == [] and mini.sentence(prompt) == ""


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("a train horn", "train horn"),
        ("somebody whistling in a hall", "whistling"),
        ("a cat meows, far away", "cat meow"),
        ("a horn", None),  # a train's or a car's
        ("a didgeridoo", None),
        ("", None),
    ],
)
def test_the_kind_that_a_prompt_names(mini: Knowledge, prompt: str, kind: str | None) -> None:
    assert mini.kind_of(prompt) == kind


def test_a_lora_knows_more_and_a_student_the_same(mini: Knowledge) -> None:
    assert mini.sentence("a zorblax <lora:zorblax:0.8>") == ""
    assert "a zorblax" in mini.sentence("a zorblax <lora:mini-one-step:1>")
    assert knowledge_of(MINI, ["mini-one-step"]) is not None
    assert knowledge_of(MINI, ["mini-one-step", "tiny-owl"]) is None


def test_other_models_are_silent(tmp_path: Path) -> None:
    assert knowledge_of(tmp_path) is None and knowledge_of(tmp_path / "none.safetensors") is None
    for knows in (
        {},
        {"kinds": ["rain"]},
        {"kinds": {"rain": 3}, "other": "", "also": {}, "near": {}},
        "rain",
    ):
        (tmp_path / "config.json").write_text(json.dumps({KEY: knows}))
        assert knowledge_of(tmp_path) is None
    (tmp_path / "config.json").write_text("[1]")
    assert knowledge_of(tmp_path) is None


class Painter:
    """As much of a painter as a record needs."""

    def __init__(self, knowledge: Knowledge | None) -> None:
        self.knowledge = knowledge

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        return settings.resolved({})

    def describe(self) -> dict[str, Any]:
        return {"model": "mini"}


def test_results_carry_it(mini: Knowledge) -> None:
    painter: Any = Painter(mini)
    said = "Mini does not know a tiger; nearest: cat meow, cow."
    assert record("generate", painter, PaintSettings(prompt="a tiger roaring"))["unknown"] == said
    assert "unknown" not in record("generate", painter, PaintSettings(prompt="a cat meowing"))
    sides = record(
        "extend", painter, PaintSettings(prompt="rain"), left_prompt="a tiger", right_prompt="rain"
    )
    assert sides["unknown"] == said
    to = record("interpolate", painter, PaintSettings(prompt="rain"), to={"prompt": "a tiger"})
    assert to["unknown"] == said
    silent: Any = Painter(None)
    assert "unknown" not in record("generate", silent, PaintSettings(prompt="a tiger roaring"))


def test_the_command_line_says_it(
    mini: Knowledge, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sonopaint.cli._load", lambda args: tiny)
    monkeypatch.setattr("sonopaint.painters.diffusers_painter.knowledge_of", lambda *_: mini)
    quick = ["--steps", "1", "--iterations", "1", "--quiet", "--seconds", "0.5"]
    assert main(["generate", "a didgeridoo", *quick, "--count", "2", "-o", str(tmp_path / "a.wav")]) == 0
    assert "tiny does not know a didgeridoo; nearest: flute, train horn." in capsys.readouterr().err
    assert main(["generate", "rain", *quick, "-o", str(tmp_path / "b.wav")]) == 0
    assert capsys.readouterr().err == ""


def test_kinds_can_be_listed(capsys: Any, tmp_path: Path) -> None:
    assert main(["models", "--kinds"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 52 and any(line.startswith("dog bark") and "a dog barking" in line for line in lines)
    (tmp_path / "config.json").write_text("{}")
    assert main(["models", "--kinds", str(tmp_path)]) == 2
    assert "does not say which kinds" in capsys.readouterr().err
