"""Run folders: locks, checkpoints that survive damage, and clear refusals."""

from __future__ import annotations

from pathlib import Path

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
