"""The door: what loading the extension does to the host, and what it costs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def test_what_the_door_imported_stays_importable(webui: Any) -> None:
    """The WebUI takes our folders off sys.path again; submodules are found all the same."""
    import sonopaint_webui.compat
    import sonopaint_webui.settings

    assert sonopaint_webui.settings.get("audio_format") == "wav"
    assert "sonopaint_audio_format" in webui.shared.opts.data_labels


def test_gradio_can_read_the_pages_annotations(webui: Any) -> None:
    """Gradio 4 (Forge) evaluates a handler's annotations: what they name is imported, not for checks only."""
    package = importlib.import_module("sonopaint_webui.tab")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"sonopaint_webui.tab.{found.name}")
        for _, value in inspect.getmembers(module):
            if getattr(value, "__module__", "") != module.__name__:
                continue
            functions = vars(value).values() if inspect.isclass(value) else [value]
            for function in filter(inspect.isfunction, functions):
                if not function.__name__.startswith("_"):  # those are no handlers
                    get_type_hints(function)


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
    uploaded = str(Path(tempfile.gettempdir()) / "gradio" / "a.wav")
    given = {"name": uploaded, "is_file": True, "data": None}
    assert part.preprocess(given) == f"copy of {uploaded}"  # Gradio 3


def test_files_that_were_not_uploaded_are_refused(
    webui: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio 3 reads whatever file of the machine a request names."""
    import gradio as gr

    from sonopaint_webui import compat
    from sonopaint_webui.results import outputs_folder

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inside, made = tmp_path / "uploads" / "1" / "a.wav", outputs_folder() / "b.wav"
    private = tmp_path / "private" / "diary.wav"
    for path in (inside, made, private):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    link = tmp_path / "uploads" / "link.wav"
    link.symlink_to(private)
    audio, file = compat.audio(), compat.file()
    audio.make_temp_copy_if_needed = str
    for path in (private, link, inside.parent / ".." / ".." / "private" / "diary.wav"):
        for crop in ({}, {"crop_min": 10, "crop_max": 20}):
            with pytest.raises(gr.Error, match="not uploaded here"):
                audio.preprocess({"name": str(path), "is_file": True, "data": None} | crop)
        with pytest.raises(gr.Error, match="not uploaded here"):
            file.preprocess([{"name": str(path), "is_file": True}])
    for path in (inside, made):
        assert audio.preprocess({"name": str(path), "is_file": True, "data": None}) == str(path)
