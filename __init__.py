"""ComfyUI's door, imported from custom_nodes: it stays light and never breaks the host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WEB_DIRECTORY = "./extensions/comfyui/sonopaint_comfyui/web"


async def comfy_entrypoint() -> Any:
    """Called by ComfyUI: make this folder's packages importable and hand over the nodes."""
    root = Path(__file__).resolve().parent
    for folder in ("converters", "engine", "extensions/comfyui"):
        if (path := str(root / folder)) not in sys.path:
            sys.path.insert(0, path)
    from sonopaint_comfyui.extension import SonopaintExtension

    return SonopaintExtension()
