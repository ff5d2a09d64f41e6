"""Trainers' options as dataclasses, and the command line made from them."""

from __future__ import annotations

import argparse
from dataclasses import field, fields
from typing import Any, TypeVar

Options = TypeVar("Options")


def option(default: Any, help: str, choices: tuple[Any, ...] = (), flag: str = "") -> Any:
    """A field of an options dataclass with its explanation for --help; a tuple takes several values.

    `flag` is another name for it on the command line.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "flag": flag})


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Adds --field-name for each field; given ones only end up in the namespace."""
    for item in fields(kind):
        given: dict[str, Any] = {"default": argparse.SUPPRESS}
        if isinstance(item.default, bool):
            given["action"] = argparse.BooleanOptionalAction
        elif isinstance(item.default, tuple):
            given |= {"nargs": "*", "metavar": "TEXT"}
        else:
            given["type"] = type(item.default)
            given["choices"] = item.metadata["choices"] or None
        shown = ("yes" if item.default else "no") if isinstance(item.default, bool) else item.default
        told = "" if shown in ("", ()) or "(default:" in item.metadata["help"] else f" (default: {shown})"
        flags = filter(None, (item.metadata["flag"], "--" + item.name.replace("_", "-")))
        parser.add_argument(*flags, dest=item.name, help=item.metadata["help"] + told, **given)


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The options that the user gave."""
    names = {item.name for item in fields(kind)}
    chosen = {name: value for name, value in vars(arguments).items() if name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
