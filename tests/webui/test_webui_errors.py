"""What the host raises and comments on: told on the tab and in the API, with the request at fault or not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sonoconvert.checkpoints.layouts import CONFIG_KEY

MINI = {CONFIG_KEY: "{}"}  # in its header
QUICK = {"format": "sonopaint-mini", "iterations": 2, "seed": 3, "seconds": 0.6}


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def asked(host: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`asked(prompt=…)`: (status, answer) of the API's generate."""
    from sonopaint_webui.api import add_routes

    app = FastAPI()
    add_routes(app)
    client = TestClient(app)

    def ask(**body: Any) -> tuple[int, dict[str, Any]]:
        answer = client.post("/sonopaint/v1/generate", json=QUICK | body)
        return answer.status_code, answer.json()

    return ask


def shown(**values: Any) -> str:
    """The status of the sub-tab Generate."""
    from sonopaint_webui.tab.panel import Panel

    panel = Panel("generate")
    given = [{"styles": [], **QUICK, **values}.get(name) for name in panel.names]
    return panel.run("", None, "", *given)[0]


class NansException(Exception):
    """The host's name for it."""


class OutOfMemoryError(RuntimeError):
    """PyTorch's name for it."""


class Known(Exception):
    """One with a status of its own, as FastAPI's."""

    status_code, detail = 422, "This sampler needs a mask."


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (NansException("A tensor with NaNs was produced in Unet."), 500, "NaNs was produced in Unet"),
        (OutOfMemoryError("Tried to allocate 20 GiB"), 500, "ran out of memory: make fewer or shorter"),
        (RuntimeError("CUDA out of memory."), 500, "ran out of memory"),
        (RuntimeError("mat1 and mat2"), 500, "could not paint this: RuntimeError: mat1 and mat2"),
        (Known(), 422, "needs a mask"),
    ],
)
def test_what_the_host_raises_is_told(
    host: Any, asked: Any, error: Exception, status: int, says: str
) -> None:
    def fails(request: Any) -> None:
        raise error

    host.fails = fails
    got, answer = asked(prompt="horn")
    assert got == status and says in answer["detail"], answer
    said = shown(prompt="horn")
    assert "sonopaint-error" in said and says in said
    assert host.shared.state.job == "", "the host goes on"
    host.fails = None
    assert asked(prompt="horn")[0] == 200


def test_a_prompt_that_the_host_can_not_read_is_the_requests_fault(
    host: Any, asked: Any, tmp_path: Path
) -> None:
    parser = tmp_path / "prompt_parser.py"
    parser.write_text("def parse(prompt):\n    return float(prompt.split(':')[1].rstrip(')'))\n")
    reads = loaded(parser).parse
    host.fails = lambda request: reads(request.prompt)
    status, answer = asked(prompt="(horn:1.1.1)")
    assert status == 400 and "can't read the prompt “(horn:1.1.1)”" in answer["detail"], answer
    assert "look at its brackets" in shown(prompt="(horn:1.1.1)")


def test_what_the_host_comments_on_comes_with_the_sound(host: Any, asked: Any) -> None:
    assert "detail" not in asked(prompt="horn")[1]
    host.comments = "Prompt too long.\n"
    status, answer = asked(prompt="horn", count=2)
    assert status == 200 and answer["detail"] == "Prompt too long."
    assert [one["settings"]["notes"] for one in answer["sounds"]] == [["Prompt too long."]] * 2
    assert "sonopaint-warning" in (said := shown(prompt="horn")) and "Prompt too long." in said


def test_a_missing_lora_is_said_once(host: Any, asked: Any) -> None:
    assert "There is no LoRA 'nobody' here" in asked(prompt="a horn <lora:nobody:0.8>")[1]["detail"]
    assert "detail" not in asked(prompt="a horn <lora:nobody:0>")[1], "at 0 it is not used"
    host.comments = "Networks not found: nobody\n"
    assert asked(prompt="a horn <lora:nobody:1>")[1]["detail"] == "Networks not found: nobody"


@pytest.mark.parametrize(
    ("checkpoint", "learnt", "told"),
    [
        ({}, "sonopaint_mini", "horn was learnt on Sonopaint Mini: the sound was painted without it."),
        (MINI, "sd_v1", "horn was learnt on another model: the sound was painted without it."),
        ({}, "sd_v1", None),
        (MINI, "sonopaint_mini", None),
    ],
)
def test_a_lora_of_another_model_is_said(
    checkpoint: dict[str, str], learnt: str, told: str | None, host: Any, asked: Any, tmp_path: Path
) -> None:
    """Forge leaves it away without a word."""
    from sonoconvert.checkpoints.files import write_tensors

    tensors = {"lora_unet_x.alpha": torch.ones(1)}
    write_tensors(tmp_path / "Lora/horn.safetensors", tensors, {"ss_base_model_version": learnt})
    model = sys.modules["modules"].shared.sd_model  # type: ignore[attr-defined]
    write_tensors(tmp_path / "painter.safetensors", tensors, checkpoint)
    model.sd_checkpoint_info.filename = str(tmp_path / "painter.safetensors")
    assert asked(prompt="a horn <lora:horn:1>")[1].get("detail") == told


def test_what_the_host_tells_its_console_only(host: Any, asked: Any) -> None:
    """A LoRA's weight that is no number, and whatever a script of another extension does."""
    records = sys.modules["modules"].errors.exception_records  # type: ignore[attr-defined]
    records.append({"exception": "an old one"})
    host.fails = lambda request: records.append({"exception": "could not convert string to float: 'x'"})
    told = asked(prompt="horn")[1]["detail"]
    assert told == "The WebUI reports an error: could not convert string to float: 'x'"
    # Forge fails of a LoRA that is not there without saying which.
    host.fails = lambda request: records.append(
        {"exception": "'NoneType' object has no attribute 'filename'"}
    )
    assert asked(prompt="horn <lora:nobody:1>")[1]["detail"].startswith("There is no LoRA 'nobody' here")


def test_a_style_that_is_not_there(host: Any, asked: Any) -> None:
    status, answer = asked(prompt="horn", styles=["loud"])
    assert status == 400 and "no style 'loud' here; there are none yet" in answer["detail"]
    host.shared.prompt_styles = SimpleNamespace(styles={"soft": None})
    assert "choose one of soft" in asked(prompt="horn", styles=["loud"])[1]["detail"]
    assert asked(prompt="horn", styles=["soft"])[0] == 200


def test_what_nobody_expected_is_told_too(host: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sonopaint_webui import actions

    def fails(*given: Any) -> Any:
        raise KeyError("surprise")

    monkeypatch.setattr(actions, "painter_for", fails)
    status, answer = asked(prompt="horn")
    assert status == 500 and "Sonopaint failed (KeyError: 'surprise')" in answer["detail"]
    assert "Sonopaint failed" in shown(prompt="horn")


def test_a_host_without_hashes_writes_no_none(host: Any, asked: Any) -> None:
    host.shared.sd_model.sd_model_hash = None
    assert asked(prompt="horn")[1]["sounds"][0]["settings"]["model_hash"] == ""


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": 10**12}, "seed must be from -1 to 4294967295"),
        ({"steps": 0}, "steps must be from 1 to 1000"),
        ({"cfg_scale": 1e9}, "cfg_scale must be from 1 to 30"),
    ],
)
def test_limits_are_written_out(asked: Any, values: dict[str, Any], says: str) -> None:
    status, answer = asked(**values)
    assert status == 400 and says in answer["detail"]
    assert "e+" not in answer["detail"].split(", not")[0]
