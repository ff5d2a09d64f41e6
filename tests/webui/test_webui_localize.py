"""Translations: every text of the page is in them, and nothing that is gone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LANGUAGES = sorted((ROOT / "localizations").glob("*.json"))
spec = importlib.util.spec_from_file_location("localize", ROOT / "extensions/webui/localize.py")
assert spec and spec.loader
localize = importlib.util.module_from_spec(spec)
spec.loader.exec_module(localize)


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_a_translation_has_every_text(path: Path) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    there = localize.texts()
    known = set(said)
    assert known == there, f"run python extensions/webui/localize.py {path.stem}, and translate what is new"
    assert all(isinstance(text, str) and text for text in said.values())


def test_texts_of_all_kinds_are_found() -> None:
    assert LANGUAGES
    there = localize.texts()
    for text in (
        "Paste settings", "Seconds before", "Prompt", "what should not be heard", "Set size", "Send to …",
        "Box: drag over what to repaint", "flac is as exact and about half as large", "as the model says",
        "Only what is marked changes. Every other sample stays as it is.",
    ):  # fmt: skip
        assert text in there, text


def test_a_new_language_begins_in_english_and_keeps_what_is_translated(tmp_path: Path) -> None:
    path = tmp_path / "localizations/xx_XX.json"
    localize.update(path)
    said = json.loads(path.read_text(encoding="utf-8"))
    assert all(text == key for key, text in said.items())
    path.write_text(json.dumps({**said, "Skip": "Hop", "An old text": "gone"}), encoding="utf-8")
    localize.update(path)
    assert json.loads(path.read_text(encoding="utf-8")) == {**said, "Skip": "Hop"}
