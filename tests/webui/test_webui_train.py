"""The sub-tabs Train LoRA and Train subject, with a stand-in for the trainers' environment."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="starts a shell script")
ROOT = Path(__file__).resolve().parent.parent.parent
TRAINER = ROOT / "tests/browser/stand_in_trainer.py"


def person(host: str = "127.0.0.1") -> Any:
    return SimpleNamespace(client=SimpleNamespace(host=host))


def wait_for(happened: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
    return found


@pytest.fixture
def place(webui: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with one checkpoint, and trainers whose runs are the stand-in's."""
    import safetensors.torch
    import torch

    from sonopaint_webui import trainers

    name = "riffusion.safetensors"
    checkpoint = SimpleNamespace(name=name, title=name, filename=str(tmp_path / name))
    host = {"sd_models": SimpleNamespace(checkpoints_list={name: checkpoint}), "paths": SimpleNamespace()}
    for module, there in host.items():
        monkeypatch.setattr(sys.modules["modules"], module, there, raising=False)
    webui.shared.cmd_opts.lora_dir = str(tmp_path / "Lora")
    python = tmp_path / "pack/.venv/bin/python"
    python.parent.mkdir(parents=True)
    # the stand-in imports sonotrain, which the trainers' real environment has installed
    paths = os.pathsep.join(str(ROOT / wing) for wing in ("converters", "engine", "lora_training"))
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" "{TRAINER}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "pack/.venv/sonopaint.json").write_text(json.dumps({"extras": ["eval", "train"]}))
    monkeypatch.setattr(trainers, "ROOT", tmp_path / "pack")
    header = {"ss_base_model_version": "sd_v1", "modelspec.trigger_phrase": "zorblat"}
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "made.safetensors", metadata=header)
    monkeypatch.setenv("STAND_IN_LORA", str(tmp_path / "made.safetensors"))
    monkeypatch.setenv("SONOPAINT_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def sounds(tmp_path: Path) -> list[Any]:
    """Files as the page's field gives them."""
    paths = [tmp_path / "dropped" / name for name in ("a.wav", "b.wav")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(b"x")
    return [SimpleNamespace(name=str(path)) for path in paths]


@pytest.mark.parametrize(("extras", "here"), [("studio", True), ("dev", True), ("engine", False)])
def test_studios_environment_has_the_trainers(place: Path, extras: str, here: bool) -> None:
    from sonopaint_webui import trainers

    (place / "pack/.venv/sonopaint.json").write_text(json.dumps({"extras": [extras]}))
    assert trainers.installed() is here


def panel(command: str) -> Any:
    from sonopaint_webui.tab.train import TrainPanel

    return TrainPanel(command)


def values(form: Any, **changed: Any) -> list[Any]:
    """The form's options, each at its default where it isn't changed."""

    def shown(one: Any) -> Any:
        return "" if one.metadata["suited"] or isinstance(one.default, tuple) else one.default

    return [changed.get(one.name, shown(one)) for one in form.items]


SHOWN = "runs models about install cancel log status facts curves previews start stop resume use seen".split()


def look(form: Any, run: str | None, seen: str = '{"previews": ""}') -> dict[str, Any]:
    return dict(zip(SHOWN, form.look(run, seen), strict=True))


def test_a_lora_is_trained_stopped_resumed_and_put_among_the_loras(place: Path, sounds: list[Any]) -> None:
    form = panel("lora")
    told, run = form.start(
        person(), sounds, "", "riffusion.safetensors", "", *values(form, trigger="zorblat", rank=4)
    )
    assert told == "" and run["value"] == "zorblat"
    shown = wait_for(lambda: (at := look(form, "zorblat"))["previews"] and "svg" in at["curves"] and at)
    assert "Training: step" in shown["status"] and not shown["start"]["interactive"]
    assert shown["stop"]["visible"] and not shown["use"]["visible"]
    assert "sonopaint/file/" in shown["previews"] and json.loads(shown["seen"])["again"]
    assert look(form, "zorblat", shown["seen"])["previews"] == {"__type__": "update"}  # a sound plays on

    new = look(form, None, "")  # the page was loaded again
    assert new["runs"]["value"] == "zorblat" and "Training: step" in new["status"]
    assert new["models"]["choices"] == ["Sonopaint Mini", "riffusion.safetensors"]
    other, _ = panel("subject").start(
        person(), sounds, "", "Sonopaint Mini", "", *values(panel("subject"), noun="door")
    )
    assert "The run zorblat is training already" in other

    assert "Stopping" in form.stop(person(), "zorblat")
    shown = wait_for(lambda: (at := look(form, "zorblat"))["resume"]["visible"] and at)
    assert "Stopped" in shown["status"]
    assert form.resume(person(), "zorblat") == ""
    wait_for(lambda: "Finished at step 40" in look(form, "zorblat")["status"])
    done = wait_for(lambda: (at := look(form, "zorblat"))["start"]["interactive"] and at)
    assert done["use"]["visible"] and not json.loads(done["seen"])["again"]

    arguments = json.loads((place / "runs/zorblat/config.json").read_text())["arguments"]
    folder, model = place / "runs/zorblat/clips", place / "riffusion.safetensors"
    said = {"--trigger=zorblat", "--rank=4", f"--dataset={folder}", f"--model={model}"}
    assert said <= set(arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "b.wav"]
    for _ in range(2):  # a second time it replaces its own copy
        told, checkpoint, tab, prompt, *_ = form.use(person(), "zorblat")
        assert "&lt;lora:zorblat:1&gt;" in told and "value" not in checkpoint
        assert (tab["selected"], prompt["value"]) == ("generate", "zorblat <lora:zorblat:1>")
    assert (place / "Lora/zorblat.safetensors").is_file()
    (place / "Lora/zorblat.safetensors").write_bytes(b"somebody else's")
    assert "There is another zorblat.safetensors" in form.use(person(), "zorblat")[0]
    assert (place / "Lora/zorblat.safetensors").read_bytes() == b"somebody else's"


def test_what_mini_learnt_is_used_here(place: Path, webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One press: the subject among the LoRAs, Mini and its student beside it, and the right sub-tab."""
    import safetensors.torch
    import torch

    models = sys.modules["modules"].sd_models  # type: ignore[attr-defined]
    (place / "Stable-diffusion").mkdir()
    models.model_path = str(place / "Stable-diffusion")

    def list_models() -> None:
        for path in (place / "Stable-diffusion").glob("*.safetensors"):
            about = SimpleNamespace(name=path.name, title=f"{path.name} [01]", filename=str(path))
            models.checkpoints_list[path.name] = about

    models.list_models = list_models
    run = place / "runs/dog"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"command": "subject"}))
    (run / "state.json").write_text(json.dumps({"phase": "finished", "file": "dog.safetensors"}))
    header = {
        "ss_base_model_version": "sonopaint_mini",
        "sonopaint.on_student": json.dumps({"student": "mini-one-step", "timestep": 999}),
        "sonopaint.subject": json.dumps({"prompt": "a prt dog bark"}),
    }
    safetensors.torch.save_file({"x": torch.zeros(1)}, run / "dog.safetensors", metadata=header)
    told, checkpoint, tab, _, prompt, student = panel("subject").use(person(), "dog")
    assert "dog is among the LoRAs" in told and "works with Sonopaint Mini" in told
    assert checkpoint["value"] == "sonopaint-mini.safetensors [01]"
    assert (tab["selected"], prompt["value"]) == ("one-step", "a prt dog bark")
    assert student["value"] == "dog" and {"dog", "mini-one-step"} <= set(student["choices"])
    loras = {path.stem for path in (place / "Lora").rglob("*.safetensors")}
    assert {"dog", "mini-one-step"} <= loras
    from sonopaint_webui import training

    assert training.models() == ["Sonopaint Mini", "riffusion.safetensors"], "Mini stands there once"


def test_forge_trains_on_what_it_can_load(place: Path, sounds: list[Any]) -> None:
    import safetensors.torch
    import torch

    models = sys.modules["modules"].sd_models  # type: ignore[attr-defined]
    models.forge_model_reload = lambda: None
    form = panel("lora")
    new = look(form, None, "")
    assert new["models"]["choices"] == ["riffusion.safetensors"]
    assert new["models"]["value"] == "riffusion.safetensors"
    run = place / "runs/dog"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"command": "lora"}))
    (run / "state.json").write_text(json.dumps({"phase": "finished", "file": "dog.safetensors"}))
    header = {"ss_base_model_version": "sonopaint_mini"}
    safetensors.torch.save_file({"x": torch.zeros(1)}, run / "dog.safetensors", metadata=header)
    assert "works with Sonopaint Mini, which Forge can&#x27;t load" in form.use(person(), "dog")[0]
    assert not list((place / "Lora").rglob("dog*")), "nothing is copied for a host that can't use it"
    models.checkpoints_list.clear()
    assert look(form, None, "")["models"]["value"] is None
    told, _ = form.start(person(), sounds, "", None, "x", *values(form))
    assert "There is no checkpoint to learn on" in told


@pytest.mark.parametrize(
    ("command", "changed", "message"),
    [
        ("lora", {"files": None}, "There are no sounds to learn from"),
        ("lora", {"files": None, "folder": "/nowhere/at/all"}, "There is no folder /nowhere/at/all"),
        ("lora", {"model": "gone.safetensors"}, "There is no checkpoint &#x27;gone.safetensors&#x27;"),
        ("lora", {"rank": "many"}, "Rank is &#x27;many&#x27;; it must be a number"),
        ("lora", {"host": "10.0.0.9"}, "only the computer that the WebUI runs on"),
        ("subject", {"noun": " "}, "Say what it is"),
        ("subject", {"noun": "door", "many": 51}, "51 clips are too many"),
    ],
)
def test_a_start_that_can_not_be_is_one_sentence(
    command: str, changed: dict[str, Any], message: str, place: Path, sounds: list[Any]
) -> None:
    form = panel(command)
    files = sounds[:1] * changed["many"] if "many" in changed else changed.get("files", sounds)
    told, run = form.start(
        person(changed.get("host", "127.0.0.1")),
        files,
        changed.get("folder", ""),
        changed.get("model", "Sonopaint Mini"),
        "x",
        *values(form, **changed),
    )
    assert message in told and "sonopaint-error" in told and "value" not in run
    assert not list((place / "runs").glob("*/output.txt"))


def test_sounds_that_are_still_on_their_way_are_waited_for(place: Path, sounds: list[Any]) -> None:
    """Gradio 3.41 hands out empty files while the browser still sends them."""
    Path(sounds[1].name).write_bytes(b"")
    form = panel("subject")
    told, _ = form.start(person(), sounds, "", "Sonopaint Mini", "x", *values(form, noun="door"))
    assert "not all here yet" in told and not (place / "runs").exists()


def test_no_button_reaches_a_folder_that_is_no_run(place: Path) -> None:
    form = panel("lora")
    for name in ("../x", "/etc", "", None):
        for button in (form.stop, form.resume, form.use):
            assert "There is no run" in str(button(person(), name))
        assert "Nothing is training" in look(form, name)["status"]


def test_with_share_nobody_is_known_to_be_here(place: Path, webui: Any) -> None:
    webui.shared.cmd_opts.share = True
    assert "without --share" in panel("lora").install(person())
    webui.shared.cmd_opts.enable_insecure_extension_access = True
    assert "There is no run" in panel("lora").stop(person(), "")


def test_a_trainer_that_ends_at_once_says_why(place: Path, sounds: list[Any]) -> None:
    python = place / "pack/.venv/bin/python"
    python.write_text("#!/bin/sh\necho 'sonotrain: the sounds are silent.'\nexit 2\n")
    form = panel("lora")
    form.start(person(), sounds, "", "Sonopaint Mini", "x", *values(form))
    assert wait_for(lambda: "the sounds are silent." in look(form, "x")["status"])
    assert look(form, "x")["start"]["interactive"]
    from sonopaint_webui import training

    training._processes.clear()  # the WebUI was started again
    shown = look(form, None, "")
    assert shown["runs"]["value"] == "x" and "the sounds are silent." in shown["status"]
    assert "x" not in look(panel("subject"), None, "")["runs"]["choices"]


INSTALL = """
import os, pathlib, signal, sys, time, json
def stop(*_): print("Interrupted; the same command goes on from here."); sys.exit(130)
signal.signal(signal.SIGTERM, stop)
root = pathlib.Path(__file__).parent
print("[   1 s] PyTorch", flush=True)
(root / "seen.json").write_text(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))
while not (root / "go").exists(): time.sleep(0.02)
if (root / "fail").exists():
    print("How to go on: Check the connection. Then run the same command again."); sys.exit(1)
(root / ".venv" / "bin").mkdir(parents=True); (root / ".venv/bin/python").touch()
(root / ".venv" / "sonopaint.json").write_text('{"extras": ["eval", "train"]}')
"""


def test_the_trainers_are_installed_by_one_button(
    place: Path, sounds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place / "pack/.venv")
    (place / "pack/install.py").write_text(INSTALL)
    monkeypatch.setenv("PYTHONPATH", "/the/host")
    monkeypatch.setenv("VIRTUAL_ENV", "/the/host")
    form = panel("lora")
    shown = look(form, None, "")
    assert "GB" in shown["about"] and str(place / "pack/.venv") in shown["about"]
    assert shown["install"]["visible"] and not shown["start"]["interactive"]
    told, _ = form.start(person(), sounds, "", "Sonopaint Mini", "x", *values(form))
    assert "press “Install the trainers” first" in told

    assert form.install(person()) == ""
    shown = wait_for(lambda: "PyTorch" in (at := look(form, None))["log"] and at)
    assert shown["cancel"]["visible"] and not shown["install"]["visible"]
    assert "being installed already" in panel("subject").install(person())
    words, environ, folder = wait_for(lambda: _json(place / "pack/seen.json"))
    assert words == ["train"] and folder == str(place / "pack")
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(environ)
    form.cancel(person())
    wait_for(lambda: "was cancelled" in look(form, None)["about"])

    (place / "pack/go").touch()
    (place / "pack/fail").touch()
    form.install(person())
    wait_for(lambda: "Check the connection" in look(form, None)["about"])
    (place / "pack/fail").unlink()
    form.install(person())
    shown = wait_for(lambda: (at := look(form, None))["start"]["interactive"] and at)
    assert shown["about"] == "" and not shown["install"]["visible"] and not shown["cancel"]["visible"]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
