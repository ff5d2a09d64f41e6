"""Run folders: locks, checkpoints that survive damage, and clear refusals."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonotrain.files.json_files import read_json, write_json
from sonotrain.training.run_folder import RunFolder


def test_the_newest_whole_checkpoint_is_used(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        for step in (1, 2, 3):
            run.save_checkpoint(step, {"step": step, "weight": torch.full((8,), float(step))})
        assert sorted(p.name for p in run.checkpoints.glob("*.pt")) == [
            "step-00000002.pt",
            "step-00000003.pt",
        ]
        saved = run.load_checkpoint()
        assert saved is not None and saved["step"] == 3
        newest = run.checkpoints / "step-00000003.pt"
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 0xFF  # one damaged byte
        newest.write_bytes(content)
        saved = run.load_checkpoint()
        assert saved is not None and saved["step"] == 2
        newest.write_bytes(bytes(content[:100]))  # half written
        saved = run.load_checkpoint()
        assert saved is not None and saved["step"] == 2
        (run.checkpoints / "step-00000002.sha256").unlink()  # killed between the two files
        assert run.load_checkpoint() is None


def test_a_folder_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(SonopaintError, match="in use"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path):
        pass


def test_a_run_is_neither_overwritten_nor_resumed_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match="no run to resume"), RunFolder(tmp_path, resume=True):
        pass
    with RunFolder(tmp_path) as run:
        run.save_checkpoint(1, {"step": 1})
        write_json(run.path / "config.json", {"command": "vae"})
    with pytest.raises(SonopaintError, match="add resume to go on"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path, resume=True) as run:
        assert run.load_checkpoint() == {"step": 1}


def test_environment_and_log_are_written(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.log(step=1, loss=torch.tensor(0.25))
        run.log(step=2, loss=1 / 3)
    assert read_json(tmp_path / "environment.json")["torch"] == torch.__version__
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines == ['{"step": 1, "loss": 0.25}', '{"step": 2, "loss": 0.333333}']


@pytest.mark.parametrize("content", ["", "[1]", '{"a": '])
def test_broken_json_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(SonopaintError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def write_checkpoint(folder: Path, content: Any) -> None:
    """A checkpoint of anything, with the digest that a stranger can make, too."""
    path = folder / "checkpoints/step-00000001.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


FOREIGN = [Evil(), {"parts": Evil()}, [1], 5, b"", b"PK\x03\x04", b"\x80\x02.", b"x" * 500]


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_checkpoints_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "run", content)
    with pytest.raises(SonopaintError, match="is no checkpoint of one of Sonopaint's runs"):
        RunFolder(tmp_path / "run", resume=True).load_checkpoint()
    assert not (tmp_path / "pwned").exists()


def test_checkpoints_are_not_opened_by_a_pytorch_that_could_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, {"step": 1})
    for version in ("2.5.1+cu121", "2.1.0", "1.13", "2.6.0", "2.10.0a0"):
        monkeypatch.setattr(torch, "__version__", version)
        if version in ("2.6.0", "2.10.0a0"):
            assert RunFolder(tmp_path).load_checkpoint() == {"step": 1}
        else:
            with pytest.raises(SonopaintError, match="CVE-2025-32434.*update PyTorch"):
                RunFolder(tmp_path).load_checkpoint()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"parts": {}, "step": 1, "seconds": 1.0},
        {"parts": {"network": {"weight": torch.zeros(3, 3)}}, "step": 1, "seconds": 1.0},
        {"parts": {"network": 5}, "step": 1, "seconds": 1.0},
        {"parts": {"network": torch.nn.Linear(2, 2).state_dict()}, "step": "x", "seconds": 1.0},
        {"parts": {"network": torch.nn.Linear(2, 2).state_dict()}},
    ],
)
def test_resuming_from_another_runs_checkpoint_is_one_sentence(tmp_path: Path, state: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from sonotrain.training.loop import Loop

    write_checkpoint(tmp_path, state)
    loop = SimpleNamespace(run=RunFolder(tmp_path), parts={"network": torch.nn.Linear(2, 2)})
    with pytest.raises(SonopaintError, match="is of another run"):
        Loop.resume(loop, torch.device("cpu"))  # type: ignore[arg-type]
