"""The two exceptions that every wing shares."""

from __future__ import annotations


class SonopaintError(ValueError):
    """Bad input from a person: one clear sentence that says what is wrong and what to do."""


class Cancelled(Exception):
    """Raised by a progress callback to stop a long job."""
