"""Tags in FLAC and Ogg files: they come back, and the sound stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.tags import add_tags, read_tags


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sounds")
    noise = 0.3 * torch.randn(2, 60_000, generator=torch.Generator().manual_seed(1))
    clip = Clip(noise.clamp(-1, 1), 32_000, {"prompt": "rain", "seed": 3})
    for name in ("a.flac", "a.ogg"):
        write_clip(clip, folder / name)
    return {name: (folder / name).read_bytes() for name in ("a.flac", "a.ogg")}


# Around the sizes where an Ogg packet fills a segment, a page, and several pages.
SIZES = [0, 1, 254, 255, 256, 3900, 65_020, 65_025, 65_030, 200_000]


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
@pytest.mark.parametrize("size", SIZES)
def test_tags_of_any_size_come_back_and_the_sound_stays(
    sounds: dict[str, bytes], tmp_path: Path, name: str, size: int
) -> None:
    path = tmp_path / name
    path.write_bytes(sounds[name])
    before = soundfile.read(path, dtype="float32")[0]
    add_tags(path, {"workflow": "x" * size, "prompt": json.dumps({"1": {"text": "Grüße"}})})
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], before)
    tags = read_tags(path)
    assert tags["workflow"] == "x" * size and json.loads(tags["prompt"])["1"]["text"] == "Grüße"
    assert read_clip(path).settings == {"prompt": "rain", "seed": 3}
    # Once more: replaced, not doubled.
    add_tags(path, {"Workflow": "new"})
    assert read_tags(path)["workflow"] == "new"
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], before)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=2000))
@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_any_text_comes_back(sounds: dict[str, bytes], tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(sounds[name])
    add_tags(path, {"workflow": text})
    assert read_tags(path)["workflow"] == text


def test_comfyuis_page_finds_them_in_an_ogg(sounds: dict[str, bytes], tmp_path: Path) -> None:
    """Its page looks for prompt={…} and workflow={…}, each followed by a zero byte."""
    import re

    path = tmp_path / "a.ogg"
    path.write_bytes(sounds["a.ogg"])
    add_tags(path, {"prompt": '{"a": {"b": 1}}', "workflow": '{"nodes": []}'})
    text = path.read_bytes().decode("latin-1")
    for name in ("prompt", "workflow"):
        found = re.search(name + r"=(\{.*?(\}.*?\x00))", text, re.S)
        assert found and json.loads(re.search(r"\{.*\}", found[1])[0])  # type: ignore[index]


def test_what_can_hold_no_tags_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF0000WAVE")
    with pytest.raises(SonopaintError, match="neither FLAC nor Ogg"):
        add_tags(tmp_path / "a.wav", {"a": "b"})
    assert read_tags(tmp_path / "a.wav") == {}
    (tmp_path / "cut.flac").write_bytes(b"fLaC\x00\x00")
    with pytest.raises(SonopaintError, match="save it again"):
        add_tags(tmp_path / "cut.flac", {"a": "b"})
    (tmp_path / "cut.ogg").write_bytes(b"OggS" + bytes(10))
    with pytest.raises(SonopaintError, match="Only Ogg files with Vorbis"):
        add_tags(tmp_path / "cut.ogg", {"a": "b"})
