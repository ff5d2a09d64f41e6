"""ComfyUI's door, imported from custom_nodes: it stays light and never breaks the host."""

from __future__ import annotations

import logging
from typing import Any

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}

logging.getLogger("sonopaint").info("Sonopaint has no ComfyUI nodes in this version; nothing was registered.")
