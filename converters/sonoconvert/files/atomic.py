"""Writing files safely: beside the target first, renamed only when complete; and names made safe."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonoconvert.errors import SonopaintError, setting

# Device names of Windows: a file called "con.safetensors" can't be opened there.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))}
_LONGEST_NAME = 100
# Temporary names are ours alone, and short: names near the system's limit have no room for more.
_PREFIX = ".sonopaint-"
UNFINISHED = re.compile(r"\.sonopaint-[a-z0-9_]{8}(\.\w*)?")
_ORPHAN_S = 3600.0
_swept: set[Path] = set()
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    The temporary name keeps the suffix (encoders choose their format by it). Before it is renamed, the file
    is seen onto the disk. If the block raises, nothing is left behind and an existing file stays as it was.
    What a killed program left behind is swept an hour later, when something is written beside it.

    Raises:
        SonopaintError: `path` exists and `force` is false, its folder can't be written to, or the disk is
            full.
    """
    target = Path(path)
    refuse_existing(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=target.suffix[:40], dir=target.parent)
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
        _onto_disk(beside)
        refuse_existing(target, force=force)
        os.replace(beside, target)
    except Exception as error:
        number = _system_error(error)
        if number not in _NO_ROOM:
            raise
        raise SonopaintError(
            f"{target} can't be written ({os.strerror(number)}): make room on the disk. What was there "
            "before is unchanged."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    _folder_onto_disk(target.parent)


def write_text(path: str | os.PathLike[str], text: str, *, force: bool = False) -> None:
    """Write a text file in UTF-8 as `atomic_path` writes; bytes of file names that are none become \\udc…."""
    with atomic_path(path, force=force) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _system_error(error: Exception) -> int:
    """The system's number of an error; 0 where there is none. Libraries in Rust tell it as text."""
    if isinstance(error, OSError):
        return error.errno or 0
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else 0


def _onto_disk(path: Path) -> None:
    """Raise an OSError where the system could not write what it was given."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _folder_onto_disk(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # not every file system can; the file is there
        pass
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Delete temporary files that no living program writes; each folder is looked at once."""
    if folder in _swept:
        return
    _swept.add(folder)
    for left in folder.iterdir():
        try:
            if UNFINISHED.fullmatch(left.name) and time.time() - left.stat().st_mtime > _ORPHAN_S:
                left.unlink()
        except OSError:
            continue  # another program was quicker, or it is not ours to delete


def refuse_existing(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Raise a SonopaintError if `path` is a folder, a file that may not be replaced, or no possible name."""
    target = Path(path)
    try:
        if target.is_dir():
            raise SonopaintError(f"{target} is a folder; give the name of a file to write.")
        exists = target.exists()
    except OSError as error:  # mostly a name that is too long
        raise SonopaintError(f"{target} can't be written ({error.strerror}); give another name.") from error
    if exists and not force:
        raise SonopaintError(f"{target} already exists; use {setting('force')} to replace it.")


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 become \\udc…."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


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
