"""Every benchmark and every script of the documents starts; with -m slow some also run, in miniature."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/*.py")])
MODULES = {"sounds", "artefacts", "comfyui_examples"}  # what scripts share: they are imported only
NEEDS = {"benchmarks/comfyui.py": "aiohttp"}  # of the host's own Python
# What a run in miniature is given; of the others, hosts, browsers or a training are needed.
SMALL = {
    "benchmarks/edit.py": "--iterations 1 --no-learned --format sonopaint-mini",
    "benchmarks/generate.py": "--model random --steps 1 --runs 1",
    "benchmarks/one_step.py": "--steps 1 --runs 1",
    "benchmarks/repaint.py": "--kinds dog_bark --boxes 1 --seeds 1 --contexts silence --one-step",
    "benchmarks/studio_library.py": "--sounds 30",
    "benchmarks/checkpoints.py": "--gigabytes 0.01",
    "docs/make_nodes_page.py": "--check",
    "docs/make_all.py": "--check",
}


def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with its own folder on the path, as Python has it when it runs."""
    monkeypatch.syspath_prepend(str(path.parent))
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it
    try:
        spec.loader.exec_module(module)
    finally:
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith((str(ROOT / "benchmarks"), str(ROOT / "docs"))):
                del sys.modules[name]
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_script_starts(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = loaded(path, monkeypatch)
    if path.stem in MODULES or "argparse" not in path.read_text(encoding="utf-8"):
        return
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0 and "--help" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_scripts_run_in_miniature(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, ROOT / name, *SMALL[name].split()],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
