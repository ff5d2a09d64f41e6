"""Where the extension hangs in the host: one function for each callback, which imports what it needs.

Loading the extension at the host's start costs these few lines; everything else is imported when it is used.
"""

from __future__ import annotations

import logging
from typing import Any

from modules import script_callbacks

logger = logging.getLogger(__name__)


def register() -> None:
    """Tell the host which functions to call. It forgets them itself when it reloads."""
    script_callbacks.on_ui_settings(on_ui_settings)
    script_callbacks.on_app_started(on_app_started)


def on_ui_settings() -> None:
    from sonopaint_webui.settings import add_settings

    add_settings()


def on_app_started(demo: Any, app: Any) -> None:
    from sonopaint_webui.api import add_routes

    add_routes(app)
