"""Trainers' options as dataclasses, and the command line made from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, asdict, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sonoconvert.errors import SonopaintError, setting

Options = TypeVar("Options")
# In the environment of a command that a page watches: its errors keep their settings for the page to name.
WATCHED = "SONOTRAIN_WATCHED"
THREADS = "processor threads (0: torch's choice)"


def option(
    default: Any,
    help: str,
    choices: tuple[Any, ...] = (),
    flag: str = "",
    *,
    free: bool = False,
    name: str = "",
    of: type = str,
    metavar: str = "TEXT",
    commas: bool = False,
    suited: bool = False,
) -> Any:
    """A field of an options dataclass with its explanation for --help; a tuple takes several values.

    `flag` is another name for it on the command line, `name` one in place of the field's. `free`: a resumed
    run may change it, because it changes no weight. A tuple's values are of the type `of` and shown as
    `metavar`; with `commas` they are given as one text.
    `suited`: without a value it is what suits the model: a form shows it empty, and what stands there counts.
    """
    told = {"help": help, "choices": choices, "flag": flag, "free": free, "name": name, "suited": suited}
    return field(default=default, metadata=told | {"of": of, "metavar": metavar, "commas": commas})


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds --device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Adds --threads, for `use_threads`."""
    parser.add_argument("--threads", type=int, default=0, help=THREADS)


def add_options(parser: Any, kind: type, names: Collection[str] = ()) -> None:
    """Adds --field-name for each field made by `option` (or those called `names`) to a parser or its group.

    Given ones only end up in the namespace.
    """
    for item in fields(kind):
        if "help" not in item.metadata or (names and item.name not in names):
            continue
        told: Any = item.metadata
        shown: Any = item.default
        given: dict[str, Any] = {"default": argparse.SUPPRESS}
        if isinstance(item.default, bool):
            given["action"], shown = argparse.BooleanOptionalAction, "yes" if item.default else "no"
        elif told["commas"]:
            given |= {"type": partial(_split, of=told["of"]), "metavar": told["metavar"]}
            shown = ",".join(map(str, shown))
        elif isinstance(item.default, tuple):
            given |= {"nargs": "*", "type": told["of"], "metavar": told["metavar"]}
        else:
            given["type"] = type(item.default)
            given["choices"] = told["choices"] or None
        said = told["help"]
        if shown not in ("", ()) and "(default:" not in said:
            said += f" (default: {shown})"
        flags = filter(None, (told["flag"], told["name"] or "--" + item.name.replace("_", "-")))
        parser.add_argument(*flags, dest=item.name, help=said, **given)


def _split(text: str, of: type) -> tuple[Any, ...]:
    try:
        return tuple(of(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers with commas between") from None


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The options that the user gave."""
    names = {item.name for item in fields(kind)}
    chosen = {name: value for name, value in vars(arguments).items() if name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}


def use_threads(threads: int) -> None:
    """Sets torch's processor threads; 0 leaves them as they are."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def from_form(items: Sequence[Field[Any]], values: Sequence[Any]) -> dict[str, Any]:
    """What a page's fields say where that differs from the options' defaults; an emptied one says nothing.

    A field of what suits the model (``option(suited=True)``) is a text, empty unless it says something.

    Several values are lines of one text. Raises SonopaintError for what is no number where one belongs.
    """
    found: dict[str, Any] = {}
    for item, value in zip(items, values, strict=True):
        kind: Any = type(item.default)
        value = None if isinstance(value, str) and not value.strip() else value
        said = value is not None
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
        if value != item.default or (item.metadata["suited"] and said):
            found[item.name] = value
    return found


def typed(values: Mapping[str, Any], where: str, kind: type) -> dict[str, Any]:
    """`values` as `kind`'s fields with their types. SonopaintError names the first that doesn't fit."""
    known = {item.name: item for item in fields(kind)}
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise SonopaintError(f"{where} has {key!r}, which is no option.")
        default = known[name].default
        if isinstance(default, tuple) and isinstance(value, list | tuple):
            result[name] = tuple(map(known[name].metadata.get("of", str), value))
        elif isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
            result[name] = float(value)
        elif type(value) is type(default):
            result[name] = value
        else:
            words = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
            wanted = words.get(type(default), "a list of texts")
            raise SonopaintError(f"{where} has {key} = {value!r}; it must be {wanted}.")
    return result


def refuse_changes(folder: Path, saved: Mapping[str, Any], given: Mapping[str, Any], kind: type) -> None:
    """SonopaintError that names the options of `kind` which a resumed run would change."""
    free = {item.name for item in fields(kind) if item.metadata["free"]}
    now = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    different = ", ".join(
        f"{name} ({saved[name]!r} → {value!r})"
        for name, value in now.items()
        if name in saved and name not in free and saved[name] != value
    )
    if different:
        raise SonopaintError(
            f"The run in {folder} was started with other options: {different}; leave these away to go on "
            f"with it, or choose another {setting('out')} to start anew."
        )


def requirer(options: Any) -> Callable[[bool, str, str], None]:
    """`require(condition, field, wanted)`, which raises SonopaintError with one sentence for its value.

    Here already: for a value that is none of a field's choices, and a name that holds folders.
    """

    def require(condition: bool, name: str, wanted: str) -> None:
        if not condition:
            raise SonopaintError(f"{setting(name)} is {getattr(options, name)!r}; it must be {wanted}.")

    for item in fields(options):
        choices = item.metadata["choices"]
        chosen = not choices or getattr(options, item.name) in choices
        require(chosen, item.name, f"one of {', '.join(choices)}")
    require(not {"/", "\\"} & set(options.name), "name", "a file's name without folders")
    return require


def as_dict(options: Any) -> dict[str, Any]:
    """JSON-able options."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(options).items()}


def to_publish(options: Any) -> dict[str, Any]:
    """The options for a file that people pass on: of files and folders only the names, not where they lie."""
    return {
        k: Path(v).resolve().name if isinstance(v, str) and v and os.path.exists(v) else v
        for k, v in as_dict(options).items()
    }
