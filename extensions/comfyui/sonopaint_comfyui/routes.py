"""What the widgets ask the server for: shared scripts, and the spectrogram of a sound before it is run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web
from server import PromptServer

import sonoconvert
from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FORMAT, LONGEST_S
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.view import view_of
from sonopaint_comfyui.file_nodes import EXAMPLES, example_names

SHARED = Path(sonoconvert.__file__).parent / "web"
SCRIPTS = ("dom.js", "spectrogram.js", "region_editor.js", "curve_lanes.js", "region_widget.js")


def add_routes() -> None:
    """Register the routes with the running server."""
    routes = PromptServer.instance.routes
    routes.get("/sonopaint/script/{name}")(send_script)
    routes.get("/sonopaint/example/{name}")(send_example)
    routes.get("/sonopaint/view")(send_view)


async def send_script(request: web.Request) -> web.StreamResponse:
    """One of the scripts that all of Sonopaint's pages share."""
    name = request.match_info["name"]
    if name not in SCRIPTS:
        raise web.HTTPNotFound
    return web.FileResponse(SHARED / name, headers={"Content-Type": "text/javascript; charset=utf-8"})


async def send_example(request: web.Request) -> web.StreamResponse:
    """One of the example sounds."""
    name = request.match_info["name"]
    if name not in example_names():
        raise web.HTTPNotFound
    return web.FileResponse(EXAMPLES / f"{name}.ogg")


async def send_view(request: web.Request) -> web.Response:
    """The spectrogram of an input file (?file=name) or an example (?example=name), for spectrogram.js."""
    try:
        path = sound_path(request.query)
        view = await asyncio.get_running_loop().run_in_executor(None, view_of_file, path)
    except SonopaintError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response(view)


def sound_path(query: Any) -> Path:
    """The file that a request names; never one outside of ComfyUI's own folders."""
    if query.get("example") in example_names():
        return EXAMPLES / f"{query['example']}.ogg"
    name = query.get("file", "")
    places = ("get_input_directory", "get_output_directory", "get_temp_directory")
    folders = [getattr(folder_paths, place)() for place in places]
    try:
        path = Path(folder_paths.get_annotated_filepath(name)).resolve()
    except ValueError:  # newer versions refuse other folders themselves
        path = Path()
    if not path.is_file() or not any(path.is_relative_to(Path(one).resolve()) for one in folders):
        raise SonopaintError(f"There is no sound {name!r} in ComfyUI's input folder.")
    return path


def view_of_file(path: Path) -> dict[str, Any]:
    clip = read_clip(path, duration_s=LONGEST_S)
    return view_of(encode(clip.mono(), PRESETS[FORMAT]))
