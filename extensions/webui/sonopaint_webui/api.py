"""The routes /sonopaint/v1/…: JSON in, sounds and pictures as base64 or files out. docs/webui_api.md.

Bodies are read and checked here, because hosts have pydantic 1 or 2; bad ones get a 4xx with one sentence.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import mimetypes
import re
import secrets
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.concurrency import run_in_threadpool

import sonoconvert
from sonoconvert.conversion.convert import decode, encode
from sonoconvert.defaults import LONGEST_S, UNSAID_FORMAT
from sonoconvert.errors import Cancelled, SonopaintError, setting
from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import PRESETS, get_format
from sonoconvert.pictures.picture import load_picture, save_picture
from sonopaint_webui import actions, host, results
from sonopaint_webui.arguments import PAINTS, Arguments, schema
from sonopaint_webui.names import answered

logger = logging.getLogger(__name__)

PREFIX = "/sonopaint/v1"
MAX_BODY = 96 << 20  # bytes of one request: ten minutes of CD stereo as FLAC in base64
SCRIPTS = ("dom.js", "spectrogram.js", "region_editor.js", "region_widget.js", "curve_lanes.js")
ITERATIONS = {"type": "integer", "minimum": 0, "maximum": 1000, "default": PhaseSearch.iterations}
# What every request may say about what comes back, and where a sound comes from.
OUTPUT = {
    "output": {"type": "string", "enum": ["base64", "file"], "default": "base64"},
    "audio_format": {"type": "string", "enum": list(results.AUDIO_FORMATS), "default": "wav"},
}
SOURCE = {
    "audio": {"type": "string", "description": "a sound file in base64, or a data URL"},
    "file": {"type": "string", "description": "instead: a path in the WebUI's output folders"},
}
FORMAT = {"type": "string", "description": f"one of {', '.join(PRESETS)}"}


class TooLarge(SonopaintError):
    """A body of more bytes than are read: 413."""


def add_routes(app: FastAPI) -> None:
    """Called by the host when its server is up: what the page needs, and the API where it runs with --api."""
    from modules import shared

    if any(getattr(route, "path", "") == f"{PREFIX}/about" for route in app.routes):
        return
    add = app.add_api_route
    add("/sonopaint/script/{name}", send_script, methods=["GET"], include_in_schema=False)
    add("/sonopaint/file/{key}/{name}", send_file, methods=["GET"], include_in_schema=False)
    if not getattr(shared.cmd_opts, "api", False):
        return
    guarded: dict[str, Any] = {"tags": ["Sonopaint"]}
    if getattr(shared.cmd_opts, "api_auth", None):
        guarded["dependencies"] = [Depends(_known_user)]
    add(f"{PREFIX}/about", about, methods=["GET"], **guarded)
    works: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], dict[str, Any]]] = {
        "audio-to-image": (audio_to_image, {**SOURCE, "format": FORMAT, "output": OUTPUT["output"]}),
        "image-to-audio": (image_to_audio, {**_IMAGE, "format": FORMAT, "iterations": ITERATIONS, **OUTPUT}),
    }
    for action in PAINTS:
        properties = {**schema(action)["properties"], **OUTPUT}
        if action in ("inpaint", "outpaint", "loop", "vary"):
            properties |= SOURCE
        works[action] = (partial(paint, action), properties)
    for name, (work, properties) in works.items():
        body = {"type": "object", "additionalProperties": False, "properties": properties}
        described = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}
        add(
            f"{PREFIX}/{name}", _endpoint(work, properties), methods=["POST"], openapi_extra=described,
            name=f"sonopaint_{name}", **guarded,
        )  # fmt: skip


_IMAGE = {
    "image": {"type": "string", "description": "a PNG in base64, or a data URL"},
    "file": SOURCE["file"],
}


_credentials = Depends(HTTPBasic())


def _known_user(credentials: HTTPBasicCredentials = _credentials) -> None:
    """The host's --api-auth user:password,… ; 401 for others."""
    from modules import shared

    for pair in shared.cmd_opts.api_auth.split(","):
        user, _, password = pair.strip().partition(":")
        same_user = secrets.compare_digest(credentials.username.encode(), user.encode())
        if same_user & secrets.compare_digest(credentials.password.encode(), password.encode()):
            return
    raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})


def send_script(name: str) -> Response:
    """One of the scripts that all of Sonopaint's pages share."""
    if name not in SCRIPTS:
        raise HTTPException(404, "There is no such script.")
    path = Path(sonoconvert.__file__).parent / "web" / name
    return FileResponse(path, media_type="text/javascript; charset=utf-8")


def send_file(key: str, name: str, request: Request) -> Response:
    """A sound or picture whose address the page was given; a part of it, without which browsers can't seek.

    Starlette answers to ranges itself from 0.39 on, which no host has.
    """
    path = results.path_of(key)
    if path is None:
        raise HTTPException(404, "This file is no longer there; make it again.")
    size = path.stat().st_size
    asked = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", request.headers.get("range", ""))
    if not asked or int(asked[1]) >= size:
        return FileResponse(path, headers={"Accept-Ranges": "bytes"})
    start, stop = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    with path.open("rb") as file:
        file.seek(start)
        part = file.read(max(stop - start + 1, 0))
    kind = mimetypes.guess_type(path.name)[0]
    return Response(part, 206, {"Content-Range": f"bytes {start}-{stop}/{size}"}, media_type=kind)


def about() -> dict[str, Any]:
    """What can be asked for here: formats, samplers, schedules, one-step files, and each action's fields."""
    return {
        "formats": list(PRESETS),
        "samplers": host.sampler_names(),
        "schedulers": host.scheduler_names(),
        "one_step": [student.name for student in host.students()],
        "actions": {action: schema(action)["properties"] for action in PAINTS},
    }


def _endpoint(work: Callable[[dict[str, Any]], dict[str, Any]], properties: dict[str, Any]) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            values = _parsed(await _body(request), properties)
            return JSONResponse(await run_in_threadpool(work, values))
        except TooLarge as error:
            return JSONResponse({"detail": str(error)}, 413)
        except SonopaintError as error:
            # Not where on this machine it lay for a moment.
            told = re.sub(r"[^\s'\"]*[\\/]sent-(\w+)", r"The \1 that was sent", answered(error))
            return JSONResponse({"detail": told}, getattr(error, "status", 400))
        except Cancelled as error:
            return JSONResponse({"detail": str(error) or "It was stopped."}, 409)
        except Exception as error:  # noqa: BLE001 - the host would answer with an empty detail
            logger.exception("A request failed.")
            return JSONResponse({"detail": f"Sonopaint failed ({type(error).__name__}: {error})."}, 500)

    return endpoint


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise TooLarge(
                f"The request has more than {MAX_BODY >> 20} MB; send a shorter sound, or the path of a file."
            )
    return bytes(data)


def _parsed(body: bytes, properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a body, with names that are known."""
    try:
        values = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except SonopaintError:
        raise
    except (ValueError, RecursionError) as error:
        raise SonopaintError("The request must be one JSON object; this can't be read.") from error
    if not isinstance(values, dict):
        raise SonopaintError(f"The request must be one JSON object, not {type(values).__name__}.")
    unknown = ", ".join(sorted(set(values) - set(properties)))[:200]
    if unknown:
        raise SonopaintError(f"{unknown} is not known here; there are {', '.join(properties)}.")
    for name in OUTPUT:
        allowed = OUTPUT[name]["enum"]
        if name in values and values[name] not in allowed:
            raise SonopaintError(
                f"{setting(name)} must be one of {', '.join(allowed)}, not {str(values[name])[:40]!r}."
            )
    return values


def _refuse_constant(word: str) -> None:
    raise SonopaintError(f"{word} is no number; leave the field out or give a number.")


def audio_to_image(values: dict[str, Any]) -> dict[str, Any]:
    """A sound as its spectrogram."""
    clip = _clip(values)
    picture = encode(clip, get_format(_text(values, "format") or UNSAID_FORMAT))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if values.get("output") != "file" else _new_folder()
        path = folder / "spectrogram.png"
        save_picture(picture, path)
        answer = _file(path, values, "image")
    return {**answer, "seconds": clip.duration_s, "format": picture.format.to_dict(), "peak": picture.peak}


def image_to_audio(values: dict[str, Any]) -> dict[str, Any]:
    """A spectrogram as its sound."""
    iterations = values.get("iterations", ITERATIONS["default"])
    if isinstance(iterations, bool) or not isinstance(iterations, int) or not 0 <= iterations <= 1000:
        raise SonopaintError(
            f"{setting('iterations')} must be a whole number from 0 to 1000, not {str(iterations)[:40]}."
        )
    fmt = _text(values, "format")
    with tempfile.TemporaryDirectory() as temporary:
        path = _source(values, "image", Path(temporary))
        picture = load_picture(path, format=get_format(fmt) if fmt else None)
        if picture.duration_s > LONGEST_S:
            raise SonopaintError(f"The picture lasts {picture.duration_s:.0f} s; cut it into shorter ones.")
        clip = decode(picture, PhaseSearch(iterations))
        folder = Path(temporary) if values.get("output") != "file" else _new_folder()
        path = folder / f"sound.{values.get('audio_format', 'wav')}"
        write_clip(clip, path)
        answer = _file(path, values, "audio")
    return {**answer, "seconds": clip.duration_s, "sample_rate": clip.sample_rate}


def paint(action: str, values: dict[str, Any]) -> dict[str, Any]:
    """generate, inpaint, outpaint, loop, vary, interpolate or one-step on the host's model.

    What is to be said of a sound is among its settings' notes, and of all of them in `detail`.
    """
    own = {name: value for name, value in values.items() if name not in (*OUTPUT, *SOURCE)}
    arguments = Arguments.of(action, own)
    clip = _clip(values) if {"audio", "file"} & set(values) else None
    if clip is None and action in ("inpaint", "outpaint", "vary"):
        raise SonopaintError("There is no sound: give audio in base64, or the path of a file.")
    sounds = []
    told: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if values.get("output") != "file" else None
        for result, infotext in actions.run(arguments, clip):
            kept = results.keep(
                result, infotext, audio_format=values.get("audio_format", "wav"), folder=folder
            )
            told |= dict.fromkeys(actions.notes_of(result.settings))
            sounds.append(
                {
                    **_file(kept.sound, values, "audio"),
                    **_file(kept.picture, values, "image"),
                    "seconds": result.clip.duration_s,
                    "sample_rate": result.clip.sample_rate,
                    "settings": _plain(result.settings),
                    "infotext": infotext,
                }
            )
    return {"sounds": sounds, **({"detail": " ".join(told)} if told else {})}


def _clip(values: dict[str, Any]) -> Clip:
    with tempfile.TemporaryDirectory() as folder:
        return results.open_sound(_source(values, "audio", Path(folder)))


def _source(values: dict[str, Any], name: str, folder: Path) -> Path:
    """The file that a request sends in base64 as `name`, or names in `file`."""
    sent, given = _text(values, name), _text(values, "file")
    if bool(sent) == bool(given):
        raise SonopaintError(f"Give either {name}, a file in base64, or file, a path.")
    if sent:
        path = folder / f"sent-{name}"
        path.write_bytes(actions.from_base64(sent, name))
        return path
    return allowed_path(given)


def allowed_path(given: str) -> Path:
    """A path inside the WebUI's output folders. Raises SonopaintError for every other one."""
    try:
        path = Path(given).resolve()
        inside = any(path.is_relative_to(folder) for folder in results.allowed_folders())
        if inside and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError) as error:
        logger.debug("Not a usable path: %s", error)
    raise SonopaintError("file must be the path of a sound or picture in the WebUI's output folders.")


def _new_folder() -> Path:
    folder = results.outputs_folder() / f"api-{secrets.token_hex(6)}"
    folder.mkdir(parents=True)
    return folder


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise SonopaintError(f"{setting(name)} must be text, not {str(value)[:40]}.")
    return value


def _file(path: Path, values: dict[str, Any], name: str) -> dict[str, Any]:
    if values.get("output") == "file":
        return {f"{name}_file": str(path)}
    return {name: base64.b64encode(path.read_bytes()).decode("ascii")}


def _plain(value: Any) -> Any:
    """JSON-able settings: what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
