"""AUTOMATIC1111's and Forge's door: makes this folder's packages importable and hangs in the hooks."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("converters", "engine", "lora_training", "extensions/webui"):
    if (path := str(ROOT / folder)) not in sys.path:
        sys.path.insert(0, path)

# The host puts sys.path back after this file. What is imported by then stays importable, submodules too.
import sonoconvert  # noqa: E402, F401
import sonopaint  # noqa: E402, F401
import sonotrain  # noqa: E402, F401
from sonopaint_webui import hooks  # noqa: E402

if hooks.register():
    from sonopaint_webui.sound_script import SoundScript  # noqa: F401  (found here by the host)
