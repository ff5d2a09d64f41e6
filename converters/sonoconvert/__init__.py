"""Sound ⇄ picture ⇄ files: clips, spectrogram formats, pictures, regions, canvases.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonoconvert.conversion.convert import decode, encode
    from sonoconvert.errors import Cancelled, SonopaintError
    from sonoconvert.files.clip import Clip, read_clip, write_clip
    from sonoconvert.pictures.format import PRESETS, SpectrogramFormat, get_format
    from sonoconvert.pictures.picture import Picture, load_picture, save_picture

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
    "PRESETS": "pictures.format",
    "SpectrogramFormat": "pictures.format",
    "get_format": "pictures.format",
    "Clip": "files.clip",
    "read_clip": "files.clip",
    "write_clip": "files.clip",
    "Picture": "pictures.picture",
    "load_picture": "pictures.picture",
    "save_picture": "pictures.picture",
    "encode": "conversion.convert",
    "decode": "conversion.convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sonoconvert' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sonoconvert.{_HOMES[name]}"), name)
