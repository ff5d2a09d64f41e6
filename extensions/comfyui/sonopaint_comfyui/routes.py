"""What the widgets ask the server for."""

from __future__ import annotations


def add_routes() -> None:
    """Register the routes with the running server."""
