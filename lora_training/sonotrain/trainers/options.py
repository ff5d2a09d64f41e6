"""Trainers' options as dataclasses, and the command line made from them."""

from __future__ import annotations

import argparse
from dataclasses import field, fields
from typing import Any, TypeVar

Options = TypeVar("Options")


def option(default: Any, help: str) -> Any:
    """A field of an options dataclass with its explanation for --help."""
    return field(default=default, metadata={"help": help})


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Adds --field-name for each field; given ones only end up in the namespace."""
    for item in fields(kind):
        parser.add_argument(
            "--" + item.name.replace("_", "-"),
            type=type(item.default),
            default=argparse.SUPPRESS,
            help=item.metadata["help"] + ("" if item.default == "" else f" (default: {item.default})"),
        )


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The options that the user gave."""
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in vars(arguments).items() if name in names}
