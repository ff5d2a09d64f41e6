"""A small stand-in for the parts of the WebUI's public API that the extension uses.

Written from the behaviour seen in AUTOMATIC1111 1.10 and Forge; nothing of their code is in it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class OptionInfo:
    """A setting: its default, its label and its component."""

    def __init__(
        self, default: Any = None, label: str = "", component: Any = None, component_args: Any = None,
        section: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        self.default, self.label, self.section = default, label, section
        self.component, self.component_args = component, component_args

    def info(self, text: str) -> OptionInfo:
        return self


class Options:
    """Settings by their names: those of the host, and those that were added."""

    def __init__(self, **values: Any) -> None:
        self.data_labels: dict[str, OptionInfo] = {}
        self.data: dict[str, Any] = values

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.data_labels[key] = info

    def __getattr__(self, name: str) -> Any:
        if name in self.data:
            return self.data[name]
        if name in self.data_labels:
            return self.data_labels[name].default
        raise AttributeError(name)


class Callbacks(types.ModuleType):
    """modules.script_callbacks: `called[name]` are the functions that were given to on_<name>."""

    def __init__(self) -> None:
        super().__init__("modules.script_callbacks")
        self.called: dict[str, list[Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda function, name=name[3:]: self.called.setdefault(name, []).append(function)


def module(name: str, **values: Any) -> types.ModuleType:
    made = types.ModuleType(f"modules.{name}")
    made.__dict__.update(values)
    return made


def install(base: Path) -> SimpleNamespace:
    """Put the stand-in into sys.modules; the answer has its modules by their names."""
    opts = Options(samples_save=True, samples_format="png", outdir_samples=str(base / "outputs"))
    state = SimpleNamespace(
        interrupted=False, skipped=False, stopping_generation=False, job="", textinfo=None
    )
    made: dict[str, types.ModuleType] = {
        "script_callbacks": Callbacks(),
        "shared": module(
            "shared",
            OptionInfo=OptionInfo,
            opts=opts,
            state=state,
            cmd_opts=SimpleNamespace(api=True),
            sd_model=None,
            demo=None,
        ),
    }
    package = types.ModuleType("modules")
    package.__path__ = []
    package.__dict__.update(made)
    sys.modules["modules"] = package
    sys.modules.update({f"modules.{name}": one for name, one in made.items()})
    return SimpleNamespace(**made)


def remove() -> None:
    """Take the stand-in, and what was imported on top of it, out of sys.modules."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("modules", "sonopaint_webui"):
            del sys.modules[name]
