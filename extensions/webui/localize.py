"""Brings the WebUI's translations up to date: python extensions/webui/localize.py de_DE

Each file in localizations/ says every text of the extension's page in one language, as the host reads it. A
new name makes a new language. New texts come in as they are, for somebody to translate; old ones go.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOCALIZATIONS = ROOT / "localizations"
PAGES = ("tab/*.py", "names.py", "sound_ui.py", "settings.py")
SCRIPTS = (
    *sorted((ROOT / "javascript").glob("*.js")),
    *(
        ROOT / "converters/sonoconvert/web" / name
        for name in ("spectrogram.js", "region_widget.js", "curve_lanes.js")
    ),
)
# Calls whose texts are for the log, or have values in them that no list of texts can have.
UNSEEN = {
    "SonopaintError", "ValueError", "message", "info", "warning", "debug", "error", "exception",
    "ParamBinding",
}  # fmt: skip
CHOICES = ("sampler", "scheduler", "format", "student")  # menus, which are never empty
WORDS = re.compile(r"[A-Z“][^_<{]*[a-zé.”)]|[a-z][^_<{=]* [^_<{=]*")
SCRIPT_TEXT = re.compile(r'"([A-Z][a-z]+(?:[ :,][^"\\$<]*)?|(?:from|to) \w+)"')
# What looks like a text of the page and is none: keys, components, other hosts' hints, names in infotexts.
NO_TEXT = {
    "Enter", "Home", "End", "Escape", "Delete", "Backspace", "Tab", "Automatic", "Radio", "Slider",
    "Checkbox", "Hz", "Sonopaint", "Sound decoder", "Sound iterations",
    "Run the workflow to see and hear the sound here.",
    "Connect a sound, then run the workflow once: its spectrogram appears here to draw on.",
}  # fmt: skip


def texts() -> set[str]:
    """Every text of the extension that the page shows, as its code has it."""
    package = HERE / "sonopaint_webui"
    labels = _dictionary(ast.parse((package / "names.py").read_text(encoding="utf-8")), "LABELS")
    found = set(_field_texts(ast.parse((package / "arguments.py").read_text(encoding="utf-8")), labels))
    for pattern in PAGES:
        for path in sorted(package.glob(pattern)):
            found.update(_python_texts(ast.parse(path.read_text(encoding="utf-8"))))
    for path in SCRIPTS:
        found.update(SCRIPT_TEXT.findall(path.read_text(encoding="utf-8")))
    return found - NO_TEXT


def _dictionary(module: ast.Module, name: str) -> set[str]:
    """The keys of a dictionary that a module defines."""
    for node in module.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return set(ast.literal_eval(node.value))
    return set()


def _field_texts(module: ast.Module, labels: set[str]) -> Iterator[str]:
    """What fields without a label of their own are called, and what empty ones say about themselves."""
    for node in ast.walk(module):
        call = node.value if isinstance(node, ast.AnnAssign) else None
        if not isinstance(node, ast.AnnAssign) or not isinstance(call, ast.Call):
            continue
        if getattr(call.func, "id", "") != "_option":
            continue
        name = getattr(node.target, "id", "")
        if name not in labels and name not in ("action", "region"):
            yield name.replace("_", " ").capitalize()
        if getattr(call.args[0], "value", None) == "" and name not in CHOICES:
            yield str(getattr(call.args[1], "value", ""))


def _python_texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.JoinedStr, ast.Raise)):
        return
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in UNSEEN:
            return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORDS.fullmatch(node.value):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _python_texts(child)


def update(path: Path) -> None:
    """Make a language's file have all texts, and no others."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    said = {text: known.get(text, text) for text in sorted(texts())}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for language in sys.argv[1:]:
        update(LOCALIZATIONS / f"{language}.json")
