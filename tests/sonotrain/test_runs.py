"""Starting a run from a page or a host: what its process sees, and which folders can be reached."""

from __future__ import annotations

import json
import os
import sys
import venv
from pathlib import Path

import pytest

from sonoconvert.errors import SonopaintError
from sonotrain.files.json_files import write_json
from sonotrain.files.options import from_form
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training import runs

# Stands in for the trainer: says what it sees.
TRAINER = """
import json, os, sys, pathlib
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "seen.json").write_text(json.dumps([sys.prefix, sys.path, dict(os.environ)]))
"""


def test_a_run_in_another_environment_sees_nothing_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "trainers"
    venv.create(place, symlinks=os.name != "nt")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    packages = next(place.rglob("site-packages"))
    (packages / "sonotrain").mkdir()
    (packages / "sonotrain" / "__main__.py").write_text(TRAINER)
    host = tmp_path / "host"
    (host / "sonotrain").mkdir(parents=True)  # would be found first, were the host's paths handed on
    (host / "sonotrain" / "__main__.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(host))
    monkeypatch.setenv("PYTHONPATH", str(host))
    monkeypatch.setenv("VIRTUAL_ENV", str(host))

    process = runs.start(tmp_path / "run", {"rank": 4}, python=str(python))
    assert process.wait(timeout=60) == 0, (tmp_path / "run" / runs.OUTPUT).read_text()
    prefix, path, environ = json.loads((tmp_path / "run" / "seen.json").read_text())
    assert Path(prefix).resolve() == place.resolve()
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & set(environ)
    here = {entry for entry in sys.path if "site-packages" in entry} | {str(host)}
    assert not here & set(path)


def test_runs_are_found_by_their_trainer(tmp_path: Path) -> None:
    for name, command in (("bell", "lora"), ("dog", "subject"), ("coder", "vae")):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", {"command": command})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    assert set(runs.names(tmp_path, "lora")) == {"bell", "coder"}  # a VAE's run has no page of its own
    assert runs.names(tmp_path, "subject") == ["dog"]
    assert runs.names(tmp_path / "none", "lora") == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("vae", ["base", "vae"]),
        ("vocoder", ["vocoder", "train"]),
        ("tune", ["curves", "tune"]),
        ("distill", ["distill"]),
    ],
)
def test_a_page_resumes_a_run_with_its_own_trainer(
    command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(runs.subprocess, "Popen", lambda line, **_: seen.append(line))
    write_json(tmp_path / "config.json", {"command": command})
    runs.start(tmp_path, {}, resume=True, command="lora", python="python")
    assert seen == [["python", "-m", "sonotrain", *words, "--out", str(tmp_path), "--resume"]]
    from sonotrain.cli import build_parser

    arguments = build_parser(seen[0][3:]).parse_args(seen[0][3:])
    assert arguments.resume and arguments.out == str(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "", None])
def test_no_name_leads_out_of_the_runs(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match="There is no run"):
        runs.folder_of(tmp_path, name)


def test_a_form_gives_what_differs_from_the_defaults() -> None:
    from dataclasses import fields

    items = [one for one in fields(LoraOptions) if one.name in ("trigger", "rank", "dora", "preview_prompts")]
    assert [one.name for one in items] == ["trigger", "rank", "dora", "preview_prompts"]
    assert from_form(items, [" zorblat ", 16.0, True, "a\n\n b "]) == {
        "trigger": "zorblat", "rank": 16, "dora": True, "preview_prompts": ("a", "b"),
    }  # fmt: skip
    assert from_form(items, [None, None, False, None]) == {}
    # What suits the model stands in an empty field; a value counts, be it the options' own default.
    assert (
        from_form(items, ["", "8", False, ""]) == {"rank": 8} and from_form(items, ["", " ", False, ""]) == {}
    )
    with pytest.raises(SonopaintError, match="Rank is 'x'; it must be a number"):
        from_form(items, ["", "x", False, ""])


ODD = [
    None, True, "x", "\ud800", [], {}, [1] * 50, [None], -1, 0.5, 1e308, float("nan"), float("inf"),
    2**63, 10**400,
]  # fmt: skip
STATE = {
    "phase": "training", "doing": "x", "step": 3, "total": 100, "seconds": 1.0, "left_s": 5.0,
    "memory_mb": 100.0,
    "notes": ["a"], "file": "x.safetensors",
}  # fmt: skip


def shown(folder: Path) -> runs.RunState:
    """The run's state, after all that a page draws of it has been drawn."""
    from sonotrain.training import run_view

    state = runs.read(folder)
    parts = run_view.sentence_of(state), run_view.facts_of(state), run_view.curves_of(state)
    parts += (run_view.previews_of(state, lambda path, name: name),)
    assert all(isinstance(part, str) for part in parts) and "nan" not in parts[2]
    return state


@pytest.mark.parametrize("key", [*STATE, "prompts", "steps"])
def test_a_state_that_another_program_wrote_is_shown_as_far_as_it_goes(tmp_path: Path, key: str) -> None:
    (tmp_path / "previews/step-00000003").mkdir(parents=True)
    (tmp_path / "previews/step-00000003/sheet.png").touch()
    (tmp_path / "previews/step-x").mkdir()
    (tmp_path / "previews/step-x/sheet.png").touch()
    config = {"command": "lora", "prompts": ["a", "b"], "steps": 100}
    for odd in ODD:
        for name, values in (("state.json", STATE), ("config.json", config)):
            (tmp_path / name).write_text(json.dumps(values | ({key: odd} if key in values else {})))
        state = shown(tmp_path)
        assert state.phase in ("failed", "none", "training") and isinstance(state.step, int)
        if key != "step":
            assert state.step == 3
    for text in ("", "[]", "[" * 100_000, '{"step": ', "\x00", '"x"'):
        (tmp_path / "state.json").write_text(text)
        assert shown(tmp_path).phase == "none"


def test_a_result_outside_of_the_run_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").touch()
    (tmp_path / "run").mkdir()
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "a\0b"):
        write_json(tmp_path / "run/state.json", STATE | {"file": name, "phase": "finished"})
        assert shown(tmp_path / "run").file is None
    (tmp_path / "run/x.safetensors").touch()
    write_json(tmp_path / "run/state.json", STATE | {"phase": "finished"})
    assert shown(tmp_path / "run").file == tmp_path / "run/x.safetensors"


def test_a_damaged_log_is_read_line_by_line(tmp_path: Path) -> None:
    good = [json.dumps({"step": step, "loss": 0.5 + step}) for step in range(5)]
    bad = [
        '{"step": 9223372036854775808, "loss": 0.5}', '{"step": 1.5, "loss": 1}', '{"step": true, "loss": 1}',
        '{"step": 2, "loss": NaN}', '{"step": 2, "loss": 1e999}', f'{{"step": 2, "loss": {10**400}}}', "[1]",
        "{", "",
        "[" * 100_000, '{"step": 3, "loss": "x", "lr": [1]}', '{"step": -1, "loss": 3}',
    ]  # fmt: skip
    for line in bad:
        text = "\n".join([*good[:3], line, *good[3:]]) + "\n"
        (tmp_path / "log.jsonl").write_bytes(text.encode() + b'{"step": 5, \x80\xff\n')
        state = shown(tmp_path)
        losses = [one["loss"] for one in state.log if isinstance(one.get("loss"), float)]
        assert [0.5, 1.5] == losses[:2] and losses[-2:] == [3.5, 4.5], line
