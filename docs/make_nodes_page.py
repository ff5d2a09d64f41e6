"""Write NODES.md and the nodes' help pages from their definitions: python docs/make_nodes_page.py

Needs no ComfyUI: the definitions are read on the tests' stand-in for its public API. `--check` only says
whether the pages are up to date.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "NODES.md"
HELP = ROOT / "extensions/comfyui/sonopaint_comfyui/web/docs"
HEAD = """# Sonopaint's ComfyUI nodes

All are in the category *audio/sonopaint*. Ids, inputs and outputs are stable: they are added to, never
renamed or reordered. [docs/comfyui.md](docs/comfyui.md) shows how they go together. This page is written by
`python docs/make_nodes_page.py` from the nodes' own definitions.
"""
# What a table of sockets can't say.
MORE = {
    "SonopaintFormat": "Every field but the preset may stay as it is, and be left out by API. A picture can "
    "only be read in the format that it was made with, and a model paints well only in the format that it "
    "was trained on.",
    "SonopaintEmptySpectrogram": "The format output remembers the length: connect it to Spectrogram → Audio, "
    "which cuts off the columns that only fill the latent up to a multiple of 64.",
    "SonopaintSpectrogramToAudio": "A picture that came from Audio → Spectrogram comes back at its own level "
    "and length; a painted one has no level, so its peak becomes −1 dBFS.",
    "SonopaintRegion": "Drag boxes or paint with the brush; the eraser takes away; Delete removes the chosen "
    "box; Ctrl+wheel zooms along time; space plays. Drawing, typed boxes and mask are united.",
    "SonopaintInpaintCanvas": "image → VAE Encode → Set Latent Noise Mask (with mask) → KSampler → VAE "
    "Decode → Put Back (with context). The picture is cut to the region and its surroundings, so that a "
    "short repair in a long recording is quick; boxes that lie far apart are a batch of pictures.",
    "SonopaintPutBack": "Samples outside of the region and its feather are the recording's own, bit for bit, "
    "at its own rate and channels. One picture for each recording, or several of one recording.",
    "SonopaintLoop": "Use Empty Spectrogram Latent with loop switched on. One of Seamless Loop and Long "
    "Audio is enough: a loop longer than the model's width goes in windows that wrap.",
    "SonopaintLongAudio": "A model from Load Sonopaint Mini does so by itself; this node is for those of "
    "other loaders. ControlNet can't be used with it: its hints are as wide as the whole sound.",
    "SonopaintInterpolation": "Give its three outputs to a guider, SamplerCustomAdvanced's noise and its "
    "latent. The first sound is what the same seed paints of A alone, the last that of B.",
    "SonopaintOneStepSampler": "A model says by its file that it was distilled (safetensors key "
    "`sonopaint.one_step`); others are refused, because one step of them is noise.",
    "SonopaintLatentMask": "audio → VAE Encode Audio → Audio Latent Mask → KSampler → VAE Decode Audio → Put "
    "Back Audio. Whole frames of latents are free or kept (40 to 93 ms); Put Back Audio takes the region "
    "itself. The region's frequencies count there only.",
    "SonopaintPutBackAudio": "The sound is resampled and mixed to the recording's rate and channels. It must "
    "begin where the recording does and be at least as long as the region reaches.",
    "SonopaintPlaySynth": "The synth's knobs are the widgets below its name; “as matched” takes the "
    "match that is connected, with changes such as `pitch=+3st decay=2x`. docs/match.md lists them all.",
    "SonopaintSaveAudio": "FLAC and OGG hold the workflow as tags that ComfyUI reads, WAV in its comment, "
    "which Sonopaint's page script reads. The settings come back in Sonopaint Studio, too.",
}


def definitions() -> list[Any]:
    """The schema of every node, in the order of the families."""
    spec = importlib.util.spec_from_file_location("comfyui_stand_in", ROOT / "tests/comfyui/stand_in.py")
    assert spec and spec.loader
    stand_in = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = stand_in
    spec.loader.exec_module(stand_in)
    with tempfile.TemporaryDirectory() as base:
        stand_in.install(Path(base))
        for folder in ("converters", "engine", "extensions/comfyui"):
            sys.path.insert(0, str(ROOT / folder))
        families = import_module("sonopaint_comfyui.extension").FAMILIES
        modules = [import_module(f"sonopaint_comfyui.{family}") for family in families]
        return [node.define_schema() for module in modules for node in module.NODES]


def described(schema: Any, level: int) -> str:
    """One node as Markdown."""
    lines = [f"{'#' * level} {schema.display_name}", "", f"`{schema.node_id}` · {schema.category}", ""]
    lines += [schema.description, ""]
    if schema.node_id in MORE:
        lines += [MORE[schema.node_id], ""]
    lines += ["| input | type | default | |", "|---|---|---|---|"]
    for one in schema.inputs:
        optional = " (optional)" if one.optional else ""
        tooltip = one.options.get("tooltip", "")
        lines.append(f"| {one.id} | {one.io_type}{optional} | {shown(one)} | {tooltip} |")
    lines += ["", "| output | type | |", "|---|---|---|"]
    for one in schema.outputs:
        lines.append(f"| {one.display_name or one.io_type} | {one.io_type} | {one.tooltip or ''} |")
    return "\n".join(lines) + "\n"


def shown(one: Any) -> str:
    """An input's default, as people see it."""
    if one.default is None or one.default == "":
        options = one.options.get("options")
        return f"{getattr(options[0], 'key', options[0])}" if options else ""
    if isinstance(one.default, bool):
        return "on" if one.default else "off"
    return f"{one.default}"


def anchor(title: str) -> str:
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def pages() -> dict[Path, str]:
    schemas = definitions()
    contents = "\n".join(
        f"- [{s.display_name}](#{anchor(s.display_name)}) – {s.description.split('. ')[0].rstrip('.')}"
        for s in schemas
    )
    result = {PAGE: "\n".join([HEAD, contents, "", *(described(schema, 2) for schema in schemas)])}
    for schema in schemas:
        result[HELP / f"{schema.node_id}.md"] = described(schema, 1)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is old")
    check = parser.parse_args().check
    old = []
    for path, text in pages().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        old.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    if old:
        print(("Out of date: " if check else "Written: ") + ", ".join(old))
    return int(bool(old) and check)


if __name__ == "__main__":
    sys.exit(main())
