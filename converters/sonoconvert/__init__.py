"""Sound ⇄ picture ⇄ files: clips, spectrogram formats, pictures, regions, canvases.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonoconvert.clip import Clip, read_clip, write_clip
    from sonoconvert.convert import decode, encode
    from sonoconvert.errors import Cancelled, SonopaintError
    from sonoconvert.format import PRESETS, SpectrogramFormat, get_format
    from sonoconvert.picture import Picture, load_picture, save_picture

__all__ = [
    "PRESETS",
    "Cancelled",
    "Clip",
    "Picture",
    "SonopaintError",
    "SpectrogramFormat",
    "decode",
    "encode",
    "get_format",
    "load_picture",
    "read_clip",
    "save_picture",
    "write_clip",
]

_HOMES = {
    "Cancelled": "errors",
    "SonopaintError": "errors",
    "PRESETS": "format",
    "SpectrogramFormat": "format",
    "get_format": "format",
    "Clip": "clip",
    "read_clip": "clip",
    "write_clip": "clip",
    "Picture": "picture",
    "load_picture": "picture",
    "save_picture": "picture",
    "encode": "convert",
    "decode": "convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sonoconvert' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sonoconvert.{_HOMES[name]}"), name)
