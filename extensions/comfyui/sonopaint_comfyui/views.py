"""What the nodes' widgets show: spectrograms with their axes, and the sounds to play."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FORMAT, LONGEST_S
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.view import grey, row_edges


def shown(pictures: Sequence[Picture], clips: Sequence[Clip]) -> dict[str, Any]:
    """The `ui` part of a node's output: views of sounds, which lie as WAV in ComfyUI's temp folder."""
    from sonopaint_comfyui.files import temporary_wav

    pairs = zip(pictures, clips, strict=True)
    return {"sonopaint": [view(picture, temporary_wav(clip)) for picture, clip in pairs]}


def view(picture: Picture | None, audio: dict[str, str]) -> dict[str, Any]:
    """One view: where its picture and its sound lie, seconds, and the rows' edges in Hz.

    Pictures are files in the temp folder, so that ComfyUI's history, which holds the views, stays small.
    """
    from sonopaint_comfyui.files import temporary_png

    if picture is None:
        return {"audio": audio}
    place = temporary_png(grey(picture))
    return {
        "view": place,
        "audio": audio,
        "duration": picture.duration_s,
        "edges": row_edges(picture.format),
    }


def drawn(clip: Clip) -> Picture | None:
    """The picture of any sound for its view; None where it is too long for one."""
    return None if clip.duration_s > LONGEST_S else encode(clip.mono(), PRESETS[FORMAT])
