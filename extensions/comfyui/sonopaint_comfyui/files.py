"""Files in ComfyUI's folders."""

from __future__ import annotations

import uuid
from pathlib import Path

import folder_paths

from sonoconvert.clip import Clip, write_clip


def temporary_wav(clip: Clip) -> dict[str, str]:
    """Write a clip for the browser to play; ComfyUI empties its temp folder when it starts."""
    folder = Path(folder_paths.get_temp_directory())
    name = f"sonopaint-{uuid.uuid4().hex}.wav"
    write_clip(clip, folder / name, subtype="PCM_16")
    return {"filename": name, "subfolder": "", "type": "temp"}
