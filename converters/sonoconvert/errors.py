"""The two exceptions that every wing shares, and how their sentences name settings.

What raises an error knows a setting by its name in the code (``guidance_scale``); people know it as
``--cfg``, “Guidance” or ``cfg_scale``, by the door they came through. So a sentence holds
``setting("guidance_scale")``, and the door that shows it says its own word: ``error.told(flag)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_MARKED = re.compile("\ue000(\\w+)\ue001")  # private characters, which nobody types


def setting(name: str) -> str:
    """A setting in the sentence of a SonopaintError or a warning, by its name in the code."""
    return f"\ue000{name}\ue001"


def named(text: str, called: Callable[[str], str]) -> str:
    """A text with each `setting` in it as `called` says it."""
    return _MARKED.sub(lambda found: called(found[1]), text)


# Control characters (which terminals obey), halves of characters (which no terminal takes), and what turns
# the direction of text round.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """A text out of a file or of its name, as it can be printed: � for what can't, or should not."""
    return _UNPRINTABLE.sub("\ufffd", text)


class SonopaintError(ValueError):
    """Bad input from a person: one clear sentence that says what is wrong and what to do."""

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that the sentence speaks of, by their names in the code."""
        return tuple(_MARKED.findall(super().__str__()))

    def told(self, called: Callable[[str], str]) -> str:
        """The sentence with each setting as `called` says it."""
        return named(plain(super().__str__()), called)

    def __str__(self) -> str:
        return self.told(str)


def flag(name: str) -> str:
    """What command lines call a setting."""
    return "--" + name.replace("_", "-")


class Cancelled(Exception):
    """Raised by a progress callback to stop a long job."""
