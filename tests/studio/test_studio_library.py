"""The library: what was made stays, is found, liked, deleted and brought back; files are the truth."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint_studio.library import Library


def clip(prompt: str, **settings: Any) -> Clip:
    tone = 0.2 * torch.sin(torch.arange(8000) / 20)[None]
    return Clip(tone, 16_000, {"task": "generate", "prompt": prompt, "seed": 7, "model": "mini", **settings})


def never() -> Path:
    raise AssertionError("the library has room")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def kept(library: Library, prompt: str, **settings: Any) -> str:
    made = library.keep(never, clip(prompt, **settings), title=prompt, stem=prompt)
    assert made.kept and made.view()["kept"]
    return made.key


def test_what_is_made_is_found_again_with_its_settings(library: Library) -> None:
    key = kept(library, "a dog barking")
    day, name = key.split("/")
    assert name == "a-dog-barking" and len(day) == 10
    later = Library(library.root)  # Studio was started again
    sound = later.sound(key)
    assert sound is not None and sound.title == "a dog barking" and sound.settings["seed"] == 7
    assert torch.equal(sound.clip().waveform, read_clip(library.root / key / "a-dog-barking.wav").waveform)
    assert {"WAV", "FLAC", "PNG"} <= set(sound.downloads) and sound.view_path.is_file()
    assert kept(later, "a dog barking") == f"{day}/a-dog-barking-2"


def test_search_finds_words_kinds_and_favourites(library: Library) -> None:
    dog, rain = kept(library, "a dog barking in the rain"), kept(library, "heavy rain")
    horn = kept(library, "Türglocke, train horn", task="inpaint")
    assert library.search("rain").keys == [rain, dog] and library.search("").total == 3
    assert library.search("RAI dog").keys == [dog] == library.search("bark").keys
    assert library.search("turglocke").keys == [horn] == library.search(kind="inpaint").keys
    assert library.search("repainted").keys == [horn]
    assert library.search('"x" OR (rain* NEAR').total == 0  # nobody's query language
    library.like(dog, True)
    assert library.search(favourites=True).keys == [dog]
    assert library.search(first=1, count=1).keys == [rain] and library.search(first=1, count=1).total == 3
    assert library.sound(horn).title == "Repainted · Türglocke, train horn"
    assert library.prompts() == ["Türglocke, train horn", "heavy rain", "a dog barking in the rain"]


def test_deleted_sounds_come_back(library: Library) -> None:
    key, other = kept(library, "rain"), kept(library, "wind")
    library.like(key, True)
    library.delete(key)
    assert library.search("").keys == [other] and library.sound(key) is None
    assert not (library.root / key).exists()
    with pytest.raises(SonopaintError, match="no longer"):
        library.delete(key)
    library.restore(key)
    assert library.search(favourites=True).keys == [key] and library.sound(key) is not None
    with pytest.raises(SonopaintError, match="can't be brought back"):
        library.restore(key)


def test_nothing_else_is_reached_by_a_key(library: Library, tmp_path: Path) -> None:
    kept(library, "rain")
    (tmp_path / "mine" / "x").mkdir(parents=True)
    for key in ("../mine/x", "..", "", ".sonopaint/deleted", str(tmp_path / "mine"), "a\\..\\b/c"):
        for action in (library.delete, library.restore, lambda k: library.like(k, True)):
            with pytest.raises(SonopaintError):
                action(key)
        assert library.sound(key) is None
    assert (tmp_path / "mine" / "x").is_dir()


@pytest.mark.parametrize("damage", ["absent", "no database", "cut", "another version"])
def test_the_index_is_made_again(library: Library, damage: str) -> None:
    keys = [kept(library, prompt) for prompt in ("rain", "wind", "horn")]
    library.like(keys[1], True)
    index = library.hidden / "index.sqlite"
    if damage == "absent":
        index.unlink()
    elif damage == "no database":
        index.write_bytes(b"not a database at all" * 400)
    elif damage == "cut":
        index.write_bytes(index.read_bytes()[:5000])
    else:
        import sqlite3

        with sqlite3.connect(index) as connection:
            connection.execute("PRAGMA user_version=99")
    for one in (library, Library(library.root)):
        assert sorted(one.search("").keys) == sorted(keys)
        assert one.search("wind", favourites=True).keys == [keys[1]]


def test_files_are_the_truth(library: Library, tmp_path: Path) -> None:
    gone, stays = kept(library, "rain"), kept(library, "wind")
    shutil.rmtree(library.root / gone)
    brought = library.root / "from elsewhere" / "my horn"
    brought.mkdir(parents=True)
    write_clip(clip("a train horn"), brought / "recording 7.wav")
    (library.root / "2020-01-01" / "notes").mkdir(parents=True)  # no sound in it
    library.look_again()
    assert sorted(library.search("").keys) == [stays, "from elsewhere/my horn"]
    shown = library.sound("from elsewhere/my horn").view()  # the picture is made
    assert Path(shown["view"]).is_file() and shown["duration"] == 0.5
    write_clip(clip("a ship horn"), brought / "recording 7.wav", force=True)
    library.look_again()
    assert library.search("ship").keys == ["from elsewhere/my horn"] and library.search("train").total == 0


def test_a_full_disk_loses_nothing(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sonopaint_studio import sounds
    from sonopaint_studio.disk import FULL_DISK

    first = kept(library, "rain")
    real = sounds.save_view

    def full(picture: Any, path: Path, peak: Any) -> None:
        if path.is_relative_to(library.root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(picture, path, peak)

    monkeypatch.setattr(sounds, "save_view", full)
    (tmp_path / "spare").mkdir()
    made = library.keep(lambda: tmp_path / "spare", clip("wind"), title="wind", stem="wind")
    assert not made.kept and made.view()["warning"] == FULL_DISK and made.clip_path.is_file()
    assert library.search("").keys == [first]
    assert [path.name for path in (library.root / first).parent.iterdir()] == ["rain"]  # nothing half written


def test_ten_thousand_sounds_are_quick(library: Library) -> None:
    """With 10,000 a search, a page and a comparison with the files take no time that anybody notices."""
    one = kept(library, "a template")
    source = library.root / one / "a-template.wav"
    day = library.root / "2020-01-01"
    for number in range(10_000):
        folder = day / f"sound-{number:05d}"
        folder.mkdir(parents=True)
        os.link(source, folder / "a-template.wav")
    # As after reading 10,000 headers, which takes a while: the rows are put in directly.
    header = SimpleNamespace(settings={"prompt": "rain", "task": "generate"})
    patch = pytest.MonkeyPatch()
    patch.setattr("sonoconvert.files.clip.sound_header", lambda path: header)
    began = time.monotonic()
    library.look_again()
    assert library.search("").total == 10_001
    made = time.monotonic() - began
    patch.undo()
    times = []
    for words in ("rain", "sound-0999", "nothing", ""):
        began = time.monotonic()
        library.search(words)
        times.append(time.monotonic() - began)
    began = time.monotonic()
    library.look_again()
    library.search("rain", first=9000)
    assert max(times) < 0.5 and time.monotonic() - began < 5 and made < 60  # ten times what it takes


def test_the_page_searches_likes_deletes_and_sends(context: Any, tab: Any) -> None:
    from sonopaint_studio.library_tab import AT_ONCE, LibraryTab
    from sonopaint_studio.subject_tab import SubjectTab

    page, library, request = LibraryTab(context), context.library, tab()
    keys = [kept(library, f"rain number {n}", steps=9, sampler="euler") for n in range(AT_ONCE + 2)]
    _, value, first, span, newer, older = page.look("rain", "", False, 0)
    assert len(value["cards"]) == AT_ONCE and value["library"] and f"of {AT_ONCE + 2}" in span
    assert not newer["visible"] and older["visible"]
    assert value["cards"][0]["key"] == keys[-1]
    _, value, _, _, newer, older = page.look("rain", "", False, AT_ONCE)
    assert [card["key"] for card in value["cards"]] == [keys[1], keys[0]] and newer["visible"]
    assert "words" in page.look("didgeridoo", "", False, 0)[1]["empty"]
    page.like(SimpleNamespace(key=keys[0], on=True))
    assert [card["key"] for card in page.look("", "", True, 0)[1]["cards"]] == [keys[0]]
    told, undo, deleted = page.remove(SimpleNamespace(key=keys[0]))
    assert undo["visible"] and deleted == keys[0] and "Deleted" in told
    assert page.look("", "", True, 0)[1]["cards"] == []
    page.restore(deleted)
    shown = page.again(SimpleNamespace(key=keys[0]))
    assert shown[0]["selected"] == "generate" and shown[3] == "rain number 0" and shown[8] == 9
    page.to_subject(request, SimpleNamespace(key=keys[0]))
    assert [p.name for p in SubjectTab(context).clips_of(request).iterdir()] == ["rain-number-0.wav"]
    told, source, name = page.to_dataset(request, SimpleNamespace(key=keys[0]))
    folder = context.sessions.of(request).folder / "dropped" / name
    assert (folder / "rain-number-0.txt").read_text() == "rain number 0" and source.endswith(name)
    assert "no longer" in page.to_subject(request, SimpleNamespace(key="../../x"))[0]
