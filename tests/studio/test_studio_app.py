"""The application: its command line, its ports, and what it may serve."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from sonoconvert.errors import SonopaintError

REPEATED = {"like", "remove", "caption", "cancel", "move", "turned", "undo", "redo", "files", "reject"}


def test_port_is_the_next_free_one() -> None:
    from sonopaint_studio.app import free_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if port < 65_000:
            assert port < free_port("127.0.0.1", port) <= port + 100
    with pytest.raises(SonopaintError, match="port"):
        free_port("127.0.0.1", 70_000)


def test_unknown_model_ends_with_a_sentence(models_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sonopaint_studio.app import main

    assert main(["--no-browser", "--model", "nothing-like-it"]) == 2
    assert "no model 'nothing-like-it'" in capsys.readouterr().err


def test_page_asks_nobody_else() -> None:
    """Neither our scripts nor our style sheet name another machine."""
    from sonopaint_studio import theme

    text = theme.head() + theme.css()
    assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
    assert "</script>" not in "".join((theme.ASSETS / name).read_text() for name in theme.SCRIPTS)


def test_colours_are_readable() -> None:
    """WCAG contrast of text on its ground, light and dark."""
    from sonopaint_studio.theme import COLOURS

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [("ink", "panel"), ("quiet", "panel"), ("quiet", "ground"), ("on-paint", "paint"),
             ("paint", "panel"), ("danger", "danger-soft")]  # fmt: skip
    for text, ground in pairs:
        for mode in (0, 1):
            high, low = sorted(
                (luminance(COLOURS[text][mode]), luminance(COLOURS[ground][mode])), reverse=True
            )
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, mode)


def test_app_builds_and_is_private(context: Any) -> None:
    from sonopaint_studio.app import build_app

    app = build_app(context)
    assert not app.analytics_enabled
    assert all(
        fn.api_visibility == "private"
        for fn in app.fns.values()
        if fn.targets and fn.targets[0][1] != "unload"
    )


def test_a_studio_that_has_nothing_to_do_leaves_the_processor_alone(context: Any) -> None:
    """Gradio's queue looks for events a thousand times a second, a tenth of a core."""
    from sonopaint_studio.app import build_app

    plain, ours = gr.Blocks().queue()._queue, build_app(context)._queue
    for name in ("sleep_when_free", "progress_update_sleep_when_free"):
        assert hasattr(plain, name) and getattr(ours, name) >= 0.02


def test_no_event_is_lost_or_answered_with_the_data_of_another(context: Any) -> None:
    """Gradio's text fields tell `input` of keys alone, not of what is pasted. What `always_last` put off
    brings the first event's data, and `once` drops all that come before the answer.
    """
    from sonopaint_studio.app import build_app

    app = build_app(context)
    for wired in app.fns.values():
        told = inspect.signature(wired.fn).parameters.values() if callable(wired.fn) else ()
        own = any("EventData" in str(one.annotation) for one in told)
        for number, event in wired.targets:
            part = app.blocks.get(number)
            assert not (isinstance(part, gr.Textbox) and event == "input"), (part.label, event)
            assert not (own and wired.trigger_mode == "always_last"), (wired.fn, event)
            if own and isinstance(part, gr.HTML) and event in REPEATED:
                assert wired.trigger_mode == "multiple", (wired.fn, event)


def test_defaults_are_those_of_every_door(context: Any) -> None:
    """The pages start where the command line, the API and the nodes do, and with the model's own length."""
    from sonoconvert.defaults import FEATHER_S, FORMAT, UNSAID_FORMAT
    from sonopaint.tasks.settings import EXTEND_S, SD_DEFAULTS, VARY_STRENGTH
    from sonopaint_studio.app import build_app

    app = build_app(context)
    fields = [block for block in app.blocks.values() if hasattr(block, "value")]
    by_id, by_label = ({getattr(one, name): one.value for one in fields} for name in ("elem_id", "label"))
    assert by_id["strength"] == VARY_STRENGTH
    assert (by_id["extend-left"], by_id["extend-right"]) == (0, EXTEND_S)
    assert by_label["Soft edge (ms)"] == 1000 * FEATHER_S
    assert by_id["picture-format"] == FORMAT and by_label["Kind of picture"] == UNSAID_FORMAT
    assert by_id["seconds"] == 5.12
    assert context.store.defaults("/nothing/there") == SD_DEFAULTS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"overlap": 2.0}, "“Overlap” is 2.0; it must be 0 to 0.9."),
        ({"validation": 0.8, "test": 0.8}, "“For validation” 0.8 and “For the evaluation” 0.8 leave less"),
        ({"max_windows": -1}, "“Clips of one recording” is -1"),
    ],
)
def test_errors_of_datasets_name_the_fields(options: dict[str, Any], says: str) -> None:
    from sonopaint_studio.names import said
    from sonotrain.data.options import DatasetOptions

    with pytest.raises(SonopaintError) as caught:
        DatasetOptions(**options)
    assert said(caught.value).startswith(says)


def test_errors_name_the_fields(context: Any, tab: Any) -> None:
    from types import SimpleNamespace

    from sonoconvert.edits.region import Region
    from sonopaint.tasks.settings import PaintSettings
    from sonopaint_studio.generate_tab import GenerateTab
    from sonopaint_studio.names import said

    def refused(make: Any) -> str:
        with pytest.raises(SonopaintError) as caught:
            make()
        return said(caught.value)

    assert refused(lambda: PaintSettings(guidance_scale=200)) == "“Guidance” must be from 0 to 100, not 200."
    assert refused(lambda: PaintSettings(prompt="a" * 10_001)).startswith("The prompt has 10,001 characters")
    assert refused(lambda: Region(feather_s=-1.0)).startswith("“Soft edge” must be 0 s or more")
    bar = [str(context.store.models()[0].path), "", "", "", 1, 1, 1]
    [shown] = GenerateTab(context).generate(
        SimpleNamespace(session_hash="a"),
        *bar, "rain", "", 0.01, 1, "full", -23, 1, False, 2, 4, "euler", "", True,
    )  # fmt: skip
    assert "“Seconds” must be from 0.1 to 60, not 0.01." in shown[0]
