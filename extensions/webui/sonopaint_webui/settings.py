"""The page "Sonopaint" in the WebUI's settings, and what is set there."""

from __future__ import annotations

from typing import Any

from sonoconvert.defaults import ITERATIONS

SECTION = ("sonopaint", "Sonopaint")
AUDIO_FORMATS = ("wav", "flac")
MOST_ITERATIONS = 200
# How infotexts name settings; the host reads them back into its "Override settings".
INFOTEXT = {"iterations": "Sound iterations", "learned": "Sound decoder"}
# Setting → (default, label, explanation, component, its arguments).
SETTINGS: dict[str, tuple[Any, str, str, str, dict[str, Any]]] = {
    "audio_format": (
        "wav",
        "Sound files are",
        "flac is as exact and about half as large",
        "Radio",
        {"choices": list(AUDIO_FORMATS)},
    ),
    "iterations": (
        ITERATIONS,
        "Iterations of the phase reconstruction",
        "more are slower and a little truer",
        "Slider",
        {"minimum": 0, "maximum": MOST_ITERATIONS, "step": 1},
    ),
    "learned": (
        True,
        "Begin with the learned decoder",
        "where Sonopaint has weights for the spectrogram format",
        "Checkbox",
        {},
    ),
    "most_players": (
        16,
        "Most players under the gallery",
        "0 shows none",
        "Slider",
        {"minimum": 0, "maximum": 100, "step": 1},
    ),
}


def add_settings() -> None:
    """Called by the host while it builds its settings."""
    import gradio as gr
    from modules import shared

    for key, (default, label, explanation, component, arguments) in SETTINGS.items():
        option = shared.OptionInfo(
            default=default,
            label=label,
            component=getattr(gr, component),
            component_args=arguments,
            section=SECTION,
            infotext=INFOTEXT.get(key),
        )
        shared.opts.add_option(f"sonopaint_{key}", option.info(explanation))


def get(key: str) -> Any:
    """The setting `sonopaint_<key>`; its default where the host has not built its settings."""
    from modules import shared

    return getattr(shared.opts, f"sonopaint_{key}", SETTINGS[key][0])
