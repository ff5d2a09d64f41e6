"""Trainers' options as dataclasses, and the command line made from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import Field, field, fields
from typing import Any, TypeVar

from sonoconvert.errors import SonopaintError

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


def from_form(items: Sequence[Field[Any]], values: Sequence[Any]) -> dict[str, Any]:
    """What a page's fields say where that differs from the options' defaults; an emptied one says nothing.

    Several values are lines of one text. Raises SonopaintError for what is no number where one belongs.
    """
    found: dict[str, Any] = {}
    for item, value in zip(items, values, strict=True):
        kind: Any = type(item.default)
        if isinstance(item.default, tuple):
            value = tuple(line.strip() for line in str(value or "").splitlines() if line.strip())
        elif isinstance(item.default, str):
            value = str(value or "").strip() or item.default
        elif value is None:
            value = item.default
        else:
            try:
                value = kind(value)
            except (TypeError, ValueError) as error:
                label = item.name.replace("_", " ").capitalize()
                raise SonopaintError(f"{label} is {str(value)[:40]!r}; it must be a number.") from error
        if value != item.default:
            found[item.name] = value
    return found
