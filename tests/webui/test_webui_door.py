"""The door: what loading the extension does to the host, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def test_what_the_door_imported_stays_importable(webui: Any) -> None:
    """The WebUI takes our folders off sys.path again; submodules are found all the same."""
    import sonopaint_webui.compat
    import sonopaint_webui.settings

    assert sonopaint_webui.settings.get("audio_format") == "wav"
    assert "sonopaint_audio_format" in webui.shared.opts.data_labels


def test_the_door_imports_nothing_heavy() -> None:
    code = (
        "import importlib.util as u, sys, types\n"
        "host = types.ModuleType('modules'); host.__path__ = []\n"
        "callbacks = types.ModuleType('modules.script_callbacks')\n"
        "callbacks.__getattr__ = lambda name: lambda function: None\n"
        "scripts = types.ModuleType('modules.scripts'); scripts.Script = object\n"
        "host.script_callbacks, host.scripts = callbacks, scripts\n"
        "sys.modules.update({'modules': host, 'modules.script_callbacks': callbacks})\n"
        f"spec = u.spec_from_file_location('door', {str(ROOT / 'scripts/sonopaint_webui.py')!r})\n"
        "spec.loader.exec_module(u.module_from_spec(spec))\n"
        "heavy = {'torch', 'gradio', 'scipy', 'librosa', 'diffusers', 'transformers', 'peft', 'fastapi'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stdout == "", answer.stderr


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_sounds_come_from_the_page_as_they_are(webui: Any, tmp_path: Path, suffix: str) -> None:
    """Gradio would make 16-bit WAVs of them, with FFmpeg."""
    from sonopaint_webui import compat

    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"not looked into")
    assert compat.audio().preprocess(None) is None
    assert compat.audio().preprocess(SimpleNamespace(path=str(path))) == str(path)
    part = compat.audio()
    part.make_temp_copy_if_needed = lambda name: f"copy of {name}"
    assert part.preprocess({"name": "a", "is_file": True, "data": None}) == "copy of a"  # Gradio 3
