"""The table of sonotrain's commands: every place in it is there, and every command explains itself."""

from __future__ import annotations

import logging
from argparse import Namespace
from importlib import import_module

import pytest

from sonoconvert.errors import setting
from sonotrain import cli
from sonotrain.cli import build_parser
from sonotrain.commands import COMMANDS, GROUPS, Export

PLACES = {(name,): what for name, (_, _, what) in COMMANDS.items()} | {
    (group, name): what for group, (_, steps) in GROUPS.items() for name, (_, what) in steps.items()
}


@pytest.mark.parametrize("words", PLACES, ids=" ".join)
def test_a_command_is_where_the_table_says(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    what = PLACES[words]
    module, _, name = (what.function if isinstance(what, Export) else what).partition(":")
    assert callable(getattr(import_module(module), name))
    with pytest.raises(SystemExit) as left:
        build_parser(words).parse_args([*words, "--help"])
    told = capsys.readouterr().out
    assert left.value.code == 0 and told.startswith(f"usage: sonotrain {' '.join(words)}")


def test_what_is_logged_names_settings_as_flags(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(_: Namespace) -> bool:
        logging.getLogger("sonotrain.anything").warning("%s: not installed; going on.", setting("wandb"))
        return True

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(
        cli, "build_parser", lambda words: Namespace(parse_args=lambda _: Namespace(run=warn))
    )
    assert cli.main(["anything"]) == 0
    assert "--wandb: not installed; going on." in capsys.readouterr().err
