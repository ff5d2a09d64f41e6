"""A lock that the system releases with its process, however that ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from sonoconvert.errors import SonopaintError


def hold(path: Path, refusal: str) -> IO[str]:
    """Take the advisory lock on a file until the result is closed; SonopaintError(refusal) if it is taken."""
    handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held by the caller
    try:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise SonopaintError(refusal) from error
    return handle
