"""Who may talk to Studio: its own pages and programs that name it rightly. And Studio asks nobody.

Any website can make a browser send requests to this computer, and with a name of its own that points here
(DNS rebinding) read the answers. Both show in the request's Host, Origin and Sec-Fetch-* headers, which pages
can't change.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sonopaint_studio.disk import FULL_DISK, is_full

logger = logging.getLogger(__name__)

OWN_NAMES = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")
# Gradio fetches what stands here; a drive's letter (file=C:/…) is no address.
_FETCHES = re.compile(r"/proxy=|/file[=/]\s*(?:[a-z][a-z0-9+.-]+:|//)", re.IGNORECASE)


class Guard:
    """An ASGI application in front of Gradio's; everything that it refuses gets status 403 and a sentence.

    `host` is what Studio listens on and `port` its port; `uploads` is where Gradio puts what browsers send.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, uploads: Path) -> None:
        self.app, self.port, self.uploads = app, port, uploads
        self.everywhere = host in EVERYWHERE
        name = socket.gethostname().lower()
        self.names = {*OWN_NAMES, *((name, f"{name}.local") if self.everywhere else (host.lower(),))}
        self.uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # Studio uses none
        elif scope["type"] == "http" and (reason := self.refusal(Request(scope))):
            logger.warning("Refused %s %s: %s", scope["method"], scope["path"][:200], reason)
            await PlainTextResponse(f"Studio refuses this: {reason}.", 403)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].rstrip("/").endswith("/upload"):
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def refusal(self, request: Request) -> str | None:
        """Why a request is refused; None where it is not."""
        headers = request.headers
        if not self._is_ours(headers.get("host", "")):
            return f"it is not served under the name {headers.get('host', '')[:100]!r}"
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(re.sub(r"^https?://", "", origin)):
            return f"the page {origin[:100]!r} is not Studio's"
        elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        followed = request.method == "GET" and headers.get("sec-fetch-dest") == "document"  # a link to Studio
        if elsewhere and not followed:
            return "another page asked for it"
        if _FETCHES.search(request.scope["path"]):
            return "it fetches nothing from addresses"
        return None

    def _is_ours(self, netloc: str) -> bool:
        """Whether "name:port" of a Host or an Origin is ours; a port that is left out is 80."""
        match = re.fullmatch(r"\[([0-9a-f:.]+)\](?::(\d+))?|([^:\[\]/@]+)(?::(\d+))?", netloc.lower())
        if match is None or int(match[2] or match[4] or 80) != self.port:
            return False
        name = match[1] or match[3]
        return name in self.names or (self.everywhere and _is_address(name))

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An upload, after which no unfinished file stays behind (finished ones lie in folders)."""
        self.uploading += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.uploading -= 1
            if not self.uploading:
                for file in self.uploads.glob("*"):
                    if file.is_file():
                        file.unlink(missing_ok=True)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _on_os_error(request: Request, error: Exception) -> Response:
    if not is_full(error):
        raise error
    logger.error("The disk is full: %s", error)
    return PlainTextResponse(FULL_DISK, 507)


def app_options(host: str, port: int, uploads: Path) -> dict[str, Any]:
    """What Gradio hands to FastAPI so that the Guard stands before all of it, from the first request on."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        app.middleware_stack = Guard(app.middleware_stack, host, port, uploads)
        yield

    guarded: Callable[[Any], AbstractAsyncContextManager[None]] = lifespan
    return {"lifespan": guarded, "exception_handlers": {OSError: _on_os_error}}


def fetch_nothing() -> None:
    """From now on Gradio downloads no address that a request names in the place of a file."""
    from gradio import processing_utils

    async def refuse(url: str) -> NoReturn:
        raise PermissionError("Studio fetches nothing from addresses.")

    processing_utils.async_ssrf_protected_get = refuse
