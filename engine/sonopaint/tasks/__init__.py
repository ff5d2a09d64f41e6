"""Tasks: what people ask for, as functions without UI. Each returns a list of Results.

The first argument of every task is a Model or any Painter; imports are lazy so that a command line or a
host can read PaintSettings without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopaint.tasks.settings import PaintSettings

if TYPE_CHECKING:
    from sonopaint.tasks.edit import Edit
    from sonopaint.tasks.editing import extend, inpaint, vary
    from sonopaint.tasks.generation import generate
    from sonopaint.tasks.interpolation import interpolate
    from sonopaint.tasks.looping import loop
    from sonopaint.tasks.result import Result

_HOMES = {
    "Edit": "edit",
    "Result": "result",
    "extend": "editing",
    "generate": "generation",
    "inpaint": "editing",
    "interpolate": "interpolation",
    "loop": "looping",
    "vary": "editing",
}

__all__ = ["Edit", "PaintSettings", "Result", "extend", "generate", "inpaint", "interpolate", "loop", "vary"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sonopaint.tasks.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
