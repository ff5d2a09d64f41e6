"""Saving in other formats: an address beside Gradio's at which a sound is written anew when somebody asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from sonoconvert.errors import SonopaintError
from sonopaint_studio.names import said

FORMATS = ("flac", "ogg", "mp3")
ADDRESS = "/sonopaint/save"


def save_route(folders: Sequence[Path]) -> Route:
    """GET sonopaint/save?path=…&as=mp3: a sound in one of `folders`, in another format."""
    roots = [os.path.realpath(folder) for folder in folders]

    def save(request: Request) -> Response:
        wanted = request.query_params.get("as", "")
        source = Path(os.path.realpath(request.query_params.get("path", "")))
        if wanted not in FORMATS or not any(source.is_relative_to(root) for root in roots):
            return PlainTextResponse("Studio serves no such file.", 403)
        handle, name = tempfile.mkstemp(prefix="sonopaint-", suffix=f".{wanted}")
        os.close(handle)
        try:
            _write(source, Path(name))
        except SonopaintError as error:
            os.unlink(name)
            return PlainTextResponse(said(error), 400)
        return FileResponse(
            name, filename=f"{source.stem}.{wanted}", background=BackgroundTask(os.unlink, name)
        )

    return Route(ADDRESS, save)  # no coroutine: it runs beside the server


def _write(source: Path, target: Path) -> None:
    from sonoconvert.files.clip import read_clip, write_clip

    clip = read_clip(source)
    if target.suffix == ".mp3" and clip.sample_rate > 48_000:
        clip = clip.resampled(48_000)
    wide = clip.subtype not in (None, "PCM_16", "PCM_U8") and target.suffix == ".flac"
    write_clip(clip, target, subtype="PCM_24" if wide else None, force=True)
