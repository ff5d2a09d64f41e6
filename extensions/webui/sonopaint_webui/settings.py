"""The page "Sonopaint" in the WebUI's settings, and what is set there."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import shared

SECTION = ("sonopaint", "Sonopaint")
AUDIO_FORMATS = ("wav", "flac")


def add_settings() -> None:
    """Called by the host while it builds its settings."""
    option = shared.OptionInfo
    for key, info in {
        "sonopaint_audio_format": option(
            "wav", "Format of saved sounds", gr.Radio, {"choices": list(AUDIO_FORMATS)}, section=SECTION
        ),
    }.items():
        shared.opts.add_option(key, info)


def get(key: str) -> Any:
    """The setting `sonopaint_<key>`; its default before the settings were built."""
    return getattr(shared.opts, f"sonopaint_{key}", {"audio_format": "wav"}[key])
