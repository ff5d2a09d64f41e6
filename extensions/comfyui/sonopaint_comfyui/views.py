"""What the nodes' widgets show: a spectrogram with its axes, and the sound to play."""

from __future__ import annotations

from typing import Any

from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.view import view_of


def shown(picture: Picture, clip: Clip) -> dict[str, Any]:
    """The `ui` part of a node's output: the view, with the clip as a WAV in ComfyUI's temp folder."""
    from sonopaint_comfyui.files import temporary_wav

    return {"sonopaint": [{**view_of(picture), "audio": temporary_wav(clip)}]}
