"""Where models lie (the conversion wing knows it too: its decoder has weights)."""

from __future__ import annotations

from sonoconvert.files.folders import MODELS_VARIABLE, shipped_folder, user_folder

__all__ = ["MODELS_VARIABLE", "shipped_folder", "user_folder"]
