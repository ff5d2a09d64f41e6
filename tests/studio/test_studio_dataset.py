"""The Dataset page without a browser: making datasets, looking at them, editing captions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

FIELDS = ["zorb", "", "Cut into clips", 0, 0, -60, "Near and exact", 20, 0, 25]


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SONOPAINT_DATASETS", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen short noises, one called after a dog, and a file that is no sound."""
    folder = tmp_path_factory.mktemp("sounds") / "my sounds"
    folder.mkdir()
    for index in range(15):
        noise = np.random.default_rng(index).standard_normal(4000).clip(-3, 3)
        soundfile.write(folder / ("dog bark.wav" if index == 3 else f"rain {index}.wav"), 0.2 * noise, 16000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture
def here() -> Callable[[str], Any]:
    """A request of a tab on this computer; `here("a", "10.0.0.7")` is one of another."""
    return lambda name="a", host="127.0.0.1": SimpleNamespace(
        session_hash=name, client=SimpleNamespace(host=host)
    )


@pytest.fixture
def page(context: Any) -> Any:
    from sonopaint_studio.dataset_tab import DatasetTab

    return DatasetTab(context)


def make(
    page: Any, request: Any, source: Any, name: str = "mine", fields: Any = None
) -> list[tuple[Any, ...]]:
    steps: Iterator[tuple[Any, ...]] = page.make(request, None, str(source), name, False, *(fields or FIELDS))
    return list(steps)


@pytest.fixture(scope="module")
def made_once(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of datasets with `mine`, made of `sounds` as the page makes it."""
    from sonopaint_studio.context import Context
    from sonopaint_studio.dataset_tab import DatasetTab
    from sonopaint_studio.library import Library
    from sonopaint_studio.session import Sessions

    folder = tmp_path_factory.mktemp("once")
    context = Context(sessions=Sessions(folder / "studio"), library=Library(folder / "library"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONOPAINT_DATASETS", str(folder / "datasets"))
        request = SimpleNamespace(session_hash="a", client=SimpleNamespace(host="127.0.0.1"))
        make(DatasetTab(context), request, sounds)
    context.close()
    return folder / "datasets"


@pytest.fixture
def mine(made_once: Path, datasets: Path) -> Path:
    """A dataset that was made already."""
    shutil.copytree(made_once, datasets)
    return datasets / "mine"


def test_a_folder_becomes_a_dataset_on_the_page(page: Any, here: Any, sounds: Path, datasets: Path) -> None:
    steps = make(page, here(), sounds)
    said, stop, chosen, value = steps[-1]
    assert (
        "mine: " in said and "train" in said and chosen["value"] == "mine" and chosen["choices"] == ["mine"]
    )
    assert not stop["visible"]
    assert (datasets / "mine" / "report.html").is_file()
    assert value["total"] == 15 and value["pages"] == 2 and len(value["clips"]) == 12
    clip = value["clips"][0]
    served = str(page.context.sessions.outputs)
    assert clip["view"].startswith(served) and clip["audio"].startswith(served)
    assert soundfile.info(clip["audio"]).duration == pytest.approx(clip["duration"])
    assert len(clip["edges"]) == 129 and clip["text"].startswith("zorb")


def test_search_pages_and_parts(page: Any, here: Any, mine: Path) -> None:
    _, value = page.show("mine", "All", "bark DOG", here())
    assert [clip["source"] for clip in value["clips"]] == ["dog bark.wav"]
    _, value = page.show("mine", "Validation", "", here())
    assert 0 < value["total"] < 15 and {clip["split"] for clip in value["clips"]} == {"validation"}
    for number, expected in ((1, 1), (99, 1), (-5, 0)):
        _, value = page.turn("mine", "All", "", here(), SimpleNamespace(page=number))
        assert value["page"] == expected and value["clips"]
    _, value = page.show("mine", "All", "elephant", here())
    assert value["clips"] == [] and "No clip" in value["empty"]
    assert page.show(None, "All", "", here())[1]["clips"] == []


def test_captions_are_saved_and_survive_making_again(page: Any, here: Any, sounds: Path, mine: Path) -> None:
    from sonotrain.data.dataset import load_dataset

    _, value = page.show("mine", "All", "dog", here())
    key = value["clips"][0]["key"]
    assert "Saved" in page.save("mine", here(), SimpleNamespace(key=key, text="zorb,  a small\ndog"))
    make(page, here(), sounds)
    _, value = page.show("mine", "All", "dog", here())
    assert value["clips"][0]["text"] == "zorb, a small dog"
    said, value = page.replace("mine", "All", "dog", "small", "large", here())
    assert "1 captions changed" in said and value["clips"][0]["text"] == "zorb, a large dog"
    from sonotrain.data.folders import list_datasets

    texts = [e.text for part in load_dataset(list_datasets()[0]).splits.values() for e in part]
    assert sum("large" in text for text in texts) == 1


@pytest.mark.parametrize("name", ["../mine", "/etc", "nothing", None, ""])
def test_only_datasets_of_the_folder_can_be_opened(page: Any, here: Any, mine: Path, name: Any) -> None:
    event = SimpleNamespace(key="train/x.png", text="y")
    assert "There is no dataset" in page.save(name, here(), event)
    assert "There is no dataset" in page.report(name)[0]


@pytest.mark.parametrize("key", ["../../x", "train/../../x.png", "test/zz-0.png", ""])
def test_hostile_keys_change_nothing(page: Any, here: Any, mine: Path, key: str) -> None:
    assert "has no clip" in page.save("mine", here(), SimpleNamespace(key=key, text="y"))


def test_names_become_harmless_and_mistakes_are_said(
    page: Any, here: Any, sounds: Path, datasets: Path
) -> None:
    assert "mine" in make(page, here(), sounds, "../../mine")[-1][0]
    assert [path.name for path in datasets.iterdir()] == ["mine"]
    for source, words in (
        ("", "Name the folder"),
        (sounds / "nowhere", "There is no folder"),
        (sounds / "broken.wav", "is a single file"),
    ):
        assert words in make(page, here(), source, "other")[-1][0]
    changed = [*FIELDS]
    changed[3] = 50
    assert "“Overlap” was 0.0, now 0.5" in make(page, here(), sounds, fields=changed)[-1][0]
    assert (
        "make it anew with “Make anew”, or choose another name."
        in make(page, here(), sounds, fields=changed)[-1][0]
    )
    changed[1] = "{path}"
    assert "{path}" in make(page, here(), sounds, fields=changed)[-1][0]


def test_other_computers_can_not_name_folders(page: Any, here: Any, sounds: Path, datasets: Path) -> None:
    said = make(page, here("b", "10.0.0.7"), sounds)[-1][0]
    assert "only on the computer that Studio runs on" in said and not datasets.exists()
    assert "only on the computer" in make(page, SimpleNamespace(session_hash="c"), sounds)[-1][0]


def test_dropped_folders_are_used_wherever_the_browser_is(
    page: Any, here: Any, sounds: Path, upload: Any, datasets: Path
) -> None:
    far = here("b", "10.0.0.7")
    files = [upload(f"animals/../dog/{p.name}", p) for p in sorted(sounds.glob("*.wav"))]
    files.append(upload("animals/dog/dog bark.txt", "a dog, barking".encode("utf-16")))
    event = SimpleNamespace(files=[{"path": f.path, "name": f.name.replace("..", "dog")} for f in files])
    said, source, name = page.dropped(far, event)
    assert "17 files" in said and source == "dropped: animals" and name == "animals"
    _, _, chosen, value = make(page, far, source, name)[-1]
    assert chosen["value"] == "animals" and value["total"] == 15
    # Nobody reaches another tab's files, or the disk, through the name.
    for source in ("dropped: ../../x", "dropped: /usr/share/sounds"):
        assert make(page, here("z", "10.0.0.7"), source)[-1][0].count("There is no folder") == 1


def test_stop_keeps_what_is_done(page: Any, here: Any, sounds: Path) -> None:
    session = page.context.sessions.of(here())
    last: Any = None
    for step in page.make(here(), None, str(sounds), "mine", False, *FIELDS):
        last = step
        if "rain" in step[0]:
            page.stop(here())
    assert "Stopped" in last[0] and "go on from there" in last[0] or "Done" in last[0]
    assert session.working == 0
    assert "mine: " in make(page, here(), sounds)[-1][0]


def test_the_report_is_shown(page: Any, mine: Path) -> None:
    _, value = page.report("mine")
    assert value["html"].startswith("<!doctype html>") and "broken.wav" in value["html"]
    (mine / "report.html").unlink()
    assert "no report" in page.report("mine")[0]
    assert page.look_again("gone")["value"] is None and page.look_again("mine")["value"] == "mine"
