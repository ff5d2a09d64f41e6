"""Disks that are full, fail, or lose what they were given: the old file stays, and a sentence is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files import atomic
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.tags import add_tags
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture, save_picture

resource = pytest.importorskip("resource")  # POSIX


def noise(samples: int = 9000) -> Clip:
    generator = torch.Generator().manual_seed(0)
    return Clip(torch.rand(1, samples, generator=generator) - 0.5, 32_000, {"prompt": "x" * 300})


def picture() -> Picture:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 40, 3)).astype(np.uint8)
    return Picture(pixels, PRESETS["sonopaint-mini"], 1.0)


def write_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    with atomic_path(path, force=True) as beside:
        save_file({"a": torch.zeros(3000)}, beside)


def write_checkpoint(path: Path) -> None:
    from sonoconvert.checkpoints.files import write_tensors

    write_tensors(path, {"a": torch.zeros(3000)}, {}, force=True)


def write_json(path: Path) -> None:
    with atomic_path(path, force=True) as beside:
        beside.write_text(json.dumps(list(range(3000))), encoding="utf-8")


WRITERS: dict[str, Callable[[Path], object]] = {
    "x.wav": lambda path: write_clip(noise(), path, force=True),
    "float.wav": lambda path: write_clip(noise(), path, subtype="FLOAT", force=True),
    "x.flac": lambda path: write_clip(noise(), path, force=True),
    "x.ogg": lambda path: write_clip(noise(), path, force=True),
    "x.png": lambda path: save_picture(picture(), path, force=True),
    "x.safetensors": write_safetensors,
    "checkpoint.safetensors": write_checkpoint,
    "x.json": write_json,
}


@contextmanager
def only(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the write that does fails as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def check_refused(path: Path, write: Callable[[Path], object]) -> None:
    """The write says a sentence; what was there is there, and nothing else."""
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(SonopaintError, match="can't be written|was not written|could not be written"):
        write(path)
    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_anywhere_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    path, write = tmp_path / name, WRITERS[name]
    write(path)
    size = path.stat().st_size
    # At each of some 40 places, and at the very last bytes, which encoders write when they close.
    for limit in [*range(0, size, max(size // 40, 1)), size - 1]:
        with only(limit):
            check_refused(path, write)
    with only(size + 100_000):
        write(path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_what_the_system_says_last_counts(
    tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotas and network drives tell at the end only (fsync, as close does) that there was no room."""
    WRITERS[name](tmp_path / name)

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    check_refused(tmp_path / name, WRITERS[name])


class Failing:
    """A file that fails at its n-th write, at flush, or at close."""

    def __init__(self, file: object, at: int | str) -> None:
        self._file, self._at, self._writes = file, at, 0

    def write(self, data: bytes) -> int:
        self._writes += 1
        if self._writes == self._at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)  # type: ignore[attr-defined, no-any-return]

    def flush(self) -> None:
        if self._at == "flush":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._file.flush()  # type: ignore[attr-defined]

    def close(self) -> None:
        self._file.close()  # type: ignore[attr-defined]
        if self._at == "close":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.parametrize("at", [1, 2, 3, 5, "close"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_encoders_that_swallow_errors_are_watched(
    tmp_path: Path,
    suffix: str,
    at: int | str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"x{suffix}"
    write_clip(noise(), path)
    opened = Path.open

    def failing(self: Path, mode: str = "r", *more: object, **options: object) -> object:
        file = opened(self, mode, *more, **options)  # type: ignore[call-overload]
        return Failing(file, at) if mode == "w+b" else file

    monkeypatch.setattr(Path, "open", failing)
    check_refused(path, lambda path: write_clip(noise(), path, force=True))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("lost", [1, 700, 5000])
def test_a_file_that_did_not_arrive_does_not_replace_a_good_one(
    tmp_path: Path, suffix: str, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses the end without a word: the new file is looked at."""
    from sonoconvert.files import writing

    path = tmp_path / f"x{suffix}"
    write_clip(Clip(noise(60_000).waveform, 32_000), path)
    verify = writing._verify

    def cut_first(beside: Path, target: Path, written: int) -> None:
        with beside.open("r+b") as file:
            file.truncate(beside.stat().st_size - lost)
        verify(beside, target, written)

    monkeypatch.setattr(writing, "_verify", cut_first)
    check_refused(path, lambda path: write_clip(Clip(noise(60_000).waveform, 32_000), path, force=True))


def test_tags_are_added_beside_and_renamed(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    write_clip(noise(), path)
    with only(path.stat().st_size // 2):
        check_refused(path, lambda path: add_tags(path, {"prompt": "y" * 9000}))
    add_tags(path, {"prompt": "y"})
    assert read_clip(path).num_samples == 9000


@contextmanager
def mounted(disk: Path, options: str) -> Iterator[None]:
    """A small disk of its own."""
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not every root may")
    try:
        yield
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_small_disk(tmp_path: Path, name: str) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=256k"):
        WRITERS[name](disk / name)
        size = (disk / name).stat().st_size
        pages = -(-size // 4096)
        for free in range(1, pages):
            (disk / "filler").unlink(missing_ok=True)
            left = shutil.disk_usage(disk).free
            (disk / "filler").write_bytes(bytes(left - free * 4096))
            check_refused(disk / name, WRITERS[name])
        (disk / "filler").unlink(missing_ok=True)
        WRITERS[name](disk / name)


def test_a_mount_that_may_only_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sonoconvert.cli import main

    disk = tmp_path / "disk"
    write_clip(noise(), tmp_path / "a.wav")
    with mounted(disk, "size=1m"):
        for name, write in WRITERS.items():
            write(disk / name)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for name, write in WRITERS.items():
            check_refused(disk / name, write)
        assert main(["to-picture", str(tmp_path / "a.wav"), "-o", str(disk / "new" / "a.png")]) == 2
        said = capsys.readouterr().err
        assert "Read-only file system" in said and str(disk / "new") in said and "Traceback" not in said


# What killed programs leave behind --------------------------------------------------------------------------


def test_a_killed_write_is_swept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, sys\nfrom sonoconvert.files.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as beside:\n    beside.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.wav")])
    (left,) = tmp_path.iterdir()
    theirs = [
        tmp_path / name for name in (".sonopaint-notes", ".x-abcdefgh.wav", ".sonopaint-short.wav", "old.wav")
    ]
    for path in theirs:
        path.write_text("precious")
    hours_ago = time.time() - 2 * 3600
    for path in (left, *theirs):
        os.utime(path, (hours_ago, hours_ago))
    young = tmp_path / ".sonopaint-abcd1234.wav"
    young.write_text("being written")
    monkeypatch.setattr(atomic, "_swept", set())
    write_clip(noise(), tmp_path / "new.wav")
    assert not left.exists()
    assert young.exists() and all(path.read_text() == "precious" for path in theirs)


def test_names_near_the_systems_limit(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    write_clip(noise(), tmp_path / f"{'n' * (longest - 4)}.wav")
    write_clip(noise(), tmp_path / f"{'é' * ((longest - 4) // 2)}.wav")
    with pytest.raises(SonopaintError, match="too long.*another name"):
        write_clip(noise(), tmp_path / f"{'n' * longest}.wav")
    assert len(list(tmp_path.iterdir())) == 2
