"""The palette: every kind that the shipped Mini knows, small files, pictures of one size."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile
from PIL import Image

from sonopaint_studio.palette import FOLDER, demo, palette

MOST_BYTES = 1_500_000


def test_the_palette_holds_what_mini_knows(repository: Path) -> None:
    config = json.loads((repository / "weights/mini/config.json").read_text("utf-8"))
    made = json.loads((FOLDER / "palette.json").read_text("utf-8"))
    assert [one["kind"] for one in made["kinds"]] == list(config["knows"]["kinds"])
    assert len(palette()["demos"]) == 3
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST_BYTES


def test_its_sounds_and_pictures_can_be_read_and_say_what_they_are() -> None:
    tiles = [tile for tiles in palette()["groups"].values() for tile in tiles]
    for tile in [*tiles, *palette()["demos"]]:
        sound = soundfile.SoundFile(tile["audio"])
        assert json.loads(sound.comment)["prompt"] == tile["prompt"]
        assert 2 < sound.frames / sound.samplerate < 6
        with Image.open(tile["view"]) as picture:
            assert picture.size == (160, 72)
    path, prompt = demo(palette()["demos"][1]["key"]) or (Path(), "")
    assert path.is_file() and prompt == palette()["demos"][1]["prompt"]
    assert demo("rain") is None
