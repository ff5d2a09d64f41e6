"""Writing files safely: beside the target first, renamed only when complete; and names made safe."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonoconvert.errors import SonopaintError, setting

# Device names of Windows: a file called "con.safetensors" can't be opened there.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))}
_LONGEST_NAME = 100


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    The temporary name keeps the suffix (encoders choose their format by it). If the block raises,
    nothing is left behind and an existing file stays as it was.

    Raises:
        SonopaintError: `path` exists and `force` is false, or its folder can't be written to.
    """
    target = Path(path)
    refuse_existing(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent
        )
    except OSError as error:
        raise SonopaintError(
            f"The folder {target.parent} can't be written to ({error.strerror}); choose another one."
        ) from error
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        # mkstemp makes private files; give the result the permissions that open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)
        refuse_existing(target, force=force)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def refuse_existing(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Raise a SonopaintError if `path` is a folder, or a file that may not be replaced."""
    target = Path(path)
    if target.is_dir():
        raise SonopaintError(f"{target} is a folder; give the name of a file to write.")
    if target.exists() and not force:
        raise SonopaintError(f"{target} already exists; use {setting('force')} to replace it.")


def safe_name(name: str) -> str:
    """One harmless path component from what a browser said: no folders, no hidden or reserved names."""
    last = re.split(r"[\\/]", unicodedata.normalize("NFKC", name))[-1]
    plain = re.sub(r"[^\w. ()+-]", "_", last).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    stem, suffix = (stem, f".{suffix}") if dot else (plain, "")
    stem = stem[: _LONGEST_NAME - len(suffix)].strip(" .")
    if not stem or not re.search(r"\w", stem):
        stem = "model"
    if stem.split(".")[0].lower() in _RESERVED:
        stem = f"_{stem}"
    return stem + suffix
