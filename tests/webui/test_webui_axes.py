"""The accordion's options as axes of the X/Y/Z plot, on the stand-in."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def axes(webui: Any) -> dict[str, Any]:
    """The plot's axes by their labels, after the host has built its page twice."""
    for _ in range(2):
        webui.script_callbacks.called["before_ui"][0]()
    options = webui.scripts.scripts_data[0].module.axis_options
    assert len({one.label for one in options}) == len(options)
    return {one.label.removeprefix("[Sound] "): one for one in options}


def test_each_cell_has_its_own_value(webui: Any, axes: dict[str, Any]) -> None:
    p = SimpleNamespace(extra_generation_params={}, said=[])
    cells = []
    for iterations, decoder in ((2, "on"), (30, "off")):
        cell = copy.copy(p)  # as the host does it
        axes["Iterations"].apply(cell, iterations, [2, 30])
        axes["Learned decoder"].apply(cell, decoder, ["on", "off"])
        cells.append(cell)
    assert not hasattr(p, "sonopaint_axes")
    from sonopaint_webui.sound_run import SoundOptions

    options = [SoundOptions.of(**cell.sonopaint_axes) for cell in cells]
    assert [(one.enabled, one.iterations, one.learned) for one in options] == [
        (True, 2, True),
        (True, 30, False),
    ]


@pytest.mark.parametrize(
    ("axis", "good", "bad"),
    [
        ("Iterations", [0, 200], -1),
        ("Spectrogram format", ["From the checkpoint", "perkins-10s"], "mp3"),
        ("Sound file", ["wav", "flac"], "exe"),
        ("Learned decoder", ["on", "Off"], "maybe"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_painted(
    axes: dict[str, Any], axis: str, good: list[Any], bad: Any
) -> None:
    axes[axis].confirm(None, good)
    with pytest.raises(Exception, match=str(bad)) as caught:
        axes[axis].confirm(None, [good[0], bad])
    assert vars(caught.value)["status_code"] == 422
    if axes[axis].choices:
        axes[axis].confirm(None, axes[axis].choices())


def test_what_was_added_is_gone_when_the_extension_is_unloaded(webui: Any, axes: dict[str, Any]) -> None:
    called = webui.script_callbacks.called
    assert "Sonopaint one-step" in webui.sd_samplers.all_samplers_map and len(axes) == 5
    called["script_unloaded"][0]()
    assert [one.label for one in webui.scripts.scripts_data[0].module.axis_options] == ["Seed"]
    assert [one.name for one in webui.sd_samplers.all_samplers] == ["Euler"]
    assert list(webui.sd_samplers.all_samplers_map) == ["Euler"]
    assert list(webui.sd_samplers.samplers_map) == ["euler"]
