"""What ComfyUI asks for: the list of nodes, family by family, and the web routes of the widgets."""

from __future__ import annotations

import logging
from importlib import import_module

from comfy_api.latest import ComfyExtension, io

log = logging.getLogger("sonopaint")

# One module each; a family whose library is missing is left out and the others load.
FAMILIES = {
    "format_nodes": "formats",
    "convert_nodes": "conversion",
    "region_nodes": "regions",
    "canvas_nodes": "canvases",
    "model_nodes": "models",
    "sampling_nodes": "sampling",
    "one_step_nodes": "one-step sampling",
    "block_prompt_nodes": "prompts for blocks",
    "look_nodes": "plots",
    "audio_nodes": "any model's sounds",
    "file_nodes": "files",
    "heal_nodes": "healing",
    "curve_nodes": "curves",
    "variation_nodes": "choosing variations",
    "match_nodes": "match and edit",
    "blend_nodes": "blending sounds",
}
FOLDER = "sonopaint"  # what the remedy calls the pack


class SonopaintExtension(ComfyExtension):
    """All of Sonopaint's nodes that can be loaded here."""

    async def on_load(self) -> None:
        """Serve the widgets' spectrograms and shared scripts."""
        try:
            from sonopaint_comfyui.routes import add_routes
        except ImportError as error:
            log.error("Sonopaint's widgets have no previews: %s", missing(error))
        else:
            add_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes of every family that imports; one line in the log for each that does not."""
        nodes: list[type[io.ComfyNode]] = []
        for family, name in FAMILIES.items():
            try:
                nodes += import_module(f"sonopaint_comfyui.{family}").NODES
            except ImportError as error:
                log.error("Sonopaint's nodes for %s are not available: %s", name, missing(error))
        return nodes


def missing(error: ImportError) -> str:
    """What could not be imported, and what to do about it."""
    name = error.name or str(error)
    return (
        f"Python can't import {name}; run install.py in custom_nodes/{FOLDER} with ComfyUI's Python "
        "and restart ComfyUI."
    )
