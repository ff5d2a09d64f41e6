"""A full disk is said as what it is: it is no fault of the file that somebody dropped."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonoconvert.errors import SonopaintError

FULL_DISK = "The disk of the computer that Studio runs on is full: make room there and try again."


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is that of a full disk or of a used-up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error):  # libraries in Rust tell it as text
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def room(*removed: Path) -> Iterator[None]:
    """Turn a full disk into a SonopaintError, and remove these files and folders then: they take the room."""
    try:
        yield
    except (OSError, SonopaintError) as error:
        if not is_full(error):
            raise
        for path in removed:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        raise SonopaintError(FULL_DISK) from error
