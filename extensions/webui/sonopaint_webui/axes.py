"""The options of the accordion "Sound" as axes of the host's X/Y/Z plot, which makes sounds along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from modules import scripts

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS
from sonopaint_webui import host, settings
from sonopaint_webui.sound_run import OWN_FORMAT, SoundOptions

SWITCH = {"on": True, "off": False}
# Label → (field of SoundOptions, what the plot reads, its choices).
AXES: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "[Sound] Spectrogram format": ("format", str, (OWN_FORMAT, *PRESETS)),
    "[Sound] Sound file": ("audio_format", str, settings.AUDIO_FORMATS),
    "[Sound] Iterations": ("iterations", int, ()),
    "[Sound] Learned decoder": ("learned", str, tuple(SWITCH)),
}


def add_axes() -> None:
    """Called before the host builds its page: put ours at the end of the plot's axes."""
    remove_axes()
    for plot in _plots():
        for label, (name, kind, choices) in AXES.items():
            plot.axis_options.append(
                plot.AxisOption(
                    label,
                    kind,
                    _apply(name),
                    confirm=_confirm(name),
                    choices=(lambda choices=choices: list(choices)) if choices else None,
                )
            )


def remove_axes() -> None:
    """Leave the plot's axes as they were."""
    for plot in _plots():
        plot.axis_options[:] = [axis for axis in plot.axis_options if axis.label not in AXES]


def _plots() -> Iterator[Any]:
    for data in scripts.scripts_data:
        if hasattr(data.module, "axis_options") and hasattr(data.module, "AxisOption"):
            yield data.module


def _apply(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, values: Any) -> None:
        p.sonopaint_axes = {**getattr(p, "sonopaint_axes", {}), "enabled": True, name: _read(name, value)}

    return apply


def _confirm(name: str) -> Callable[[Any, Any], None]:
    """Refuses a plot with a value that makes no sense, before anything is painted."""

    def confirm(p: Any, values: Any) -> None:
        for value in values:
            try:
                SoundOptions.of(**{name: _read(name, value)})
            except SonopaintError as error:
                raise host.Refused(str(error)) from None

    return confirm


def _read(name: str, value: Any) -> Any:
    return SWITCH.get(str(value).strip().lower(), value) if name == "learned" else value
