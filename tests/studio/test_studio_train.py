"""The Train page: its form, its run, what it shows; with a stand-in for the trainer's process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sonoconvert.errors import SonopaintError
from sonopaint_studio.context import Context
from sonopaint_studio.subject_tab import SubjectTab
from sonopaint_studio.train_tab import TrainTab, more_options
from sonotrain.files.json_files import write_json
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training import run_view, runs
from sonotrain.training.run_folder import RunFolder


def request(host: str = "127.0.0.1") -> Any:
    return SimpleNamespace(session_hash="tab", client=SimpleNamespace(host=host))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainTab:
    monkeypatch.setenv("SONOPAINT_RUNS", str(tmp_path / "runs"))
    return TrainTab(Context())


def shown(item: Any) -> Any:
    """What an option's field holds before anybody touched it."""
    return "" if item.metadata["suited"] or isinstance(item.default, tuple) else item.default


def values(**changed: Any) -> list[Any]:
    """What the form holds: dataset, trigger, steps and the folded options, each at its default."""
    more = [changed.pop(i.name, shown(i)) for i in more_options()]
    return [changed.get("dataset", "/sounds"), changed.get("trigger", ""), changed.get("steps", 0), *more]


def finished_run(folder: Path) -> None:
    """What a trainer leaves while it runs and at its end."""
    from PIL import Image

    with RunFolder(folder) as run:
        for step in range(1, 6):
            run.log(step=step, loss=0.1 / step, lr=1e-3, seconds_per_step=0.5)
            if step % 2 == 0:
                run.log(step=step, validation_loss=0.2 / step)
        shown = run.previews / "step-00000004"
        shown.mkdir()
        Image.new("RGB", (32, 16)).save(shown / "sheet.png")
        for kind in ("with", "without"):
            Image.new("RGB", (32, 16)).save(shown / f"0-{kind}.png")
            (shown / f"0-{kind}.wav").write_bytes(b"RIFF")
        write_json(folder / "config.json", {"command": "lora", "prompts": ["a <b>bell</b>"], "steps": 5})
        (folder / "bell.safetensors").write_bytes(b"x")
        state = {"phase": "finished", "step": 5, "total": 5, "file": "bell.safetensors", "memory_mb": 700}
        write_json(folder / "state.json", state)


def test_the_page_starts_what_the_form_says(page: TrainTab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(runs, "start", lambda folder, options, **more: seen.append((folder, options, more)))
    status, run, _ = page.start(
        request(),
        "/m/mini",
        "bells",
        *values(trigger="zorblat", steps=50, rank=4, dora=True, preview_prompts="a\n b\n"),
    )
    folder, options, more = seen[0]
    assert (
        run == "bells"
        and folder.name == "bells"
        and more == {"resume": False, "command": "lora"}
        and "Starting" in status
    )
    assert options == {
        "model": "/m/mini", "dataset": "/sounds", "trigger": "zorblat", "steps": 50, "rank": 4, "dora": True,
        "preview_prompts": ("a", "b"), "name": "bells",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "changed", "message"),
    [
        ("10.0.0.9", {}, "only on the computer"),
        ("127.0.0.1", {"dataset": "  "}, "which dataset"),
    ],
)
def test_a_start_that_can_not_be_is_one_sentence(
    host: str, changed: dict[str, Any], message: str, page: TrainTab
) -> None:
    status, *_ = page.start(request(host), None, "x", *values(**changed))
    assert message in status and "sp-error" in status


def test_runs_outside_the_folder_can_not_be_reached(page: TrainTab) -> None:
    for name in ("../x", "/etc", "", None):
        assert "There is no run" in page.stop(request(), name)


def test_a_finished_run_is_shown(page: TrainTab, tmp_path: Path) -> None:
    finished_run(tmp_path / "runs" / "bell")
    status, facts, curves, previews, go, stop, resume, add = page.look(request(), "bell")
    assert "Finished at step 5 of 5" in status and "bell.safetensors" in status
    assert "0.0200" in facts and "0.7 GB" in facts
    assert curves.count("<svg") == 2 and "polyline" in curves
    assert "a &lt;b&gt;bell" in previews and previews.count("<audio") == 2 and previews.count("<img") == 2
    assert go["interactive"] and not stop["visible"] and not resume["visible"] and add["visible"]


def test_a_killed_run_is_failed_and_can_be_resumed(page: TrainTab, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "bell"
    finished_run(folder)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    write_json(folder / "state.json", {**state, "phase": "training", "file": None, "left_s": 3.0})
    with RunFolder(folder):  # somebody trains in it
        assert runs.read(folder).phase == "training"
        assert page.look(request(), "bell")[5]["visible"]
        with pytest.raises(SonopaintError, match="in use"):
            runs.start(folder, {})
        assert "saved" in page.stop(request(), "bell") and (folder / "stop").exists()
    (folder / runs.OUTPUT).write_text("step 3\nsonotrain: The disk is full.\n", encoding="utf-8")
    found = runs.read(folder)
    assert found.phase == "failed" and found.message == "The disk is full." and found.resumable
    assert "The disk is full." in page.look(request(), "bell")[0]


def test_options_become_words_of_the_command_line() -> None:
    words = runs.flags({"rank": 4, "dora": True, "tensorboard": False, "preview_prompts": ("a b", "c")})
    assert words == ["--rank=4", "--dora", "--no-tensorboard", "--preview-prompts", "a b", "c"]
    from sonotrain.cli import build_parser
    from sonotrain.files.options import given

    parsed = build_parser(["lora"]).parse_args(["lora", *words])
    assert given(parsed, LoraOptions) == {
        "rank": 4, "dora": True, "tensorboard": False, "preview_prompts": ("a b", "c"),
    }  # fmt: skip


def test_a_chart_keeps_within_its_frame() -> None:
    svg = run_view.chart("Loss", [1, 2, 9], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    points = [pair.split(",") for part in svg.split('points="')[1:] for pair in part.split('"')[0].split()]
    assert len(points) == 6
    for x, y in points:
        assert 0 <= float(x) <= run_view.WIDTH and 0 <= float(y) <= run_view.HEIGHT


def test_a_subject_starts_with_copies_of_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOPAINT_RUNS", str(tmp_path / "runs"))
    seen: list[Any] = []
    monkeypatch.setattr(runs, "start", lambda folder, options, **more: seen.append((options, more)))
    page = SubjectTab(Context())
    uploads = page.context.sessions.uploads
    for name in ("a.wav", "b.wav"):
        (uploads / name).write_bytes(b"x")
    files = [{"path": str(uploads / name), "name": name} for name in ("a.wav", "b.wav")]
    form: tuple[Any, ...] = ("/m/mini", "dog bark", "", "", "adapters", 0, 0.75)
    assert "Drop a few clips" in page.start(request(), *form)[0]
    _, listed = page.dropped(request(), SimpleNamespace(files=files))
    assert "a.wav" in listed and "b.wav" in listed
    assert "Say what it is" in page.start(request(), "/m/mini", " ", *form[2:])[0]
    assert "only on the computer" in page.start(request("10.0.0.9"), *form)[0]
    told, update = page.start(request(), *form)
    clips = tmp_path / "runs" / "dog-bark" / "clips"
    assert "Starting" in told and update["value"] == "dog-bark"
    assert sorted(path.name for path in clips.iterdir()) == ["a.wav", "b.wav"]
    assert seen == [
        (
            {
                "clips": str(clips), "class": "dog bark", "model": "/m/mini", "name": "dog-bark",
                "mode": "adapters", "alpha": 0.75,
            },
            {"resume": False, "command": "subject"},
        )
    ]  # fmt: skip
    too_many, _ = page.dropped(request(), SimpleNamespace(files=files * 25))
    assert "52 clips are too many" in too_many
    assert "a.wav" not in page.clear(request())


def test_a_fresh_tab_shows_the_run_that_trains(page: TrainTab, tmp_path: Path) -> None:
    assert page.watch(request(), None)[0] == {"__type__": "update"}  # nothing yet
    finished_run(tmp_path / "runs" / "older")
    with RunFolder(tmp_path / "runs" / "now"):
        state = {"phase": "preparing", "doing": "Painting what the model knows: 4 of 52, 9 min left"}
        write_json(tmp_path / "runs" / "now" / "config.json", {"command": "lora"})
        write_json(tmp_path / "runs" / "now" / "state.json", state)
        finished_run(tmp_path / "runs" / "newer")
        run, status, *_ = page.watch(request(), None)
        assert run["value"] == "now" and "4 of 52" in status
    assert page.watch(request(), None)[0]["value"] == "newer"
    assert page.watch(request(), "older")[0] == {"__type__": "update"}


def test_missing_trainers_are_said_before_anything_starts(
    page: TrainTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonopaint_studio.run_page.TRAINERS", ("no_such_package",))
    status, *_ = page.start(request(), "mini", "bells", *values(trigger="zorblat"))
    assert "install.py studio" in status
