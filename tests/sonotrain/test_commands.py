"""The table of sonotrain's commands: every place in it is there, and every command explains itself."""

from __future__ import annotations

from importlib import import_module

import pytest

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
