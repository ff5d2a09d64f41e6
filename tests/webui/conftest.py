"""The WebUI extension on a stand-in for the WebUI."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def load(name: str, path: Path) -> Any:
    """A module from its path, as the WebUI loads scripts."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def webui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in with the extension loaded through its door; `webui.door` is that module.

    sys.path is put back after the door has been loaded, as the WebUI does it. A Studio that serves the
    browser tests in this process leaves its own folders in the environment; a WebUI would not have them.
    """
    for variable in ("GRADIO_TEMP_DIR", "SONOPAINT_MODELS", "SONOPAINT_RUNS"):
        monkeypatch.delenv(variable, raising=False)
    stand_in = load("webui_stand_in", HERE / "stand_in.py")
    host = stand_in.install(tmp_path)
    try:
        with monkeypatch.context() as loading:
            loading.syspath_prepend(str(ROOT))
            host.door = load("sonopaint_webui_door", ROOT / "scripts/sonopaint_webui.py")
        for function in host.script_callbacks.called.get("ui_settings", []):
            function()
        yield host
    finally:
        stand_in.remove()


@pytest.fixture
def host(webui: Any, tmp_path: Path) -> Any:
    """The stand-in's painting (painting.py) on top of `webui`."""
    return load("webui_painting", HERE / "painting.py").add(webui, tmp_path)
