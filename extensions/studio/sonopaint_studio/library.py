"""The library: a folder of everything that was made, and an index beside it to search thousands at once.

A folder for each day, in it one for each sound: ``2026-11-29/a-dog-barking-7/``. The sounds and pictures with
the settings in their tags are the truth, a file named ``favourite`` beside them says what somebody likes; the
index (SQLite, full text) is made from them again wherever it is absent, broken or behind.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sonoconvert.errors import SonopaintError
from sonopaint_studio.disk import FULL_DISK, is_full, room
from sonopaint_studio.sounds import Sound, file_stem, keep, opened

logger = logging.getLogger(__name__)
T = TypeVar("T")
LIBRARY_VARIABLE = "SONOPAINT_LIBRARY"
KINDS = {
    "generate": "Generated",
    "inpaint": "Repainted",
    "extend": "Extended",
    "loop": "Loop",
    "vary": "Varied",
    "heal": "Healed",
    "blend": "Blended",
}
HIDDEN = ".sonopaint"  # the index, and what was deleted; never served
DELETED_KEPT_S = 30 * 86400.0
VERSION = 1  # of the index; another one is made anew
FAVOURITE = "favourite"
_KEY = re.compile(r"(?!\.)[^/\\]+/(?!\.)[^/\\]+")  # day/name
_SOUNDS = (".wav", ".flac", ".ogg")  # the first that a folder holds is its sound
_TABLES = """
CREATE TABLE sounds(id INTEGER PRIMARY KEY, key TEXT UNIQUE, stamp TEXT, made REAL, kind TEXT, title TEXT,
    prompt TEXT, favourite INTEGER);
CREATE INDEX by_time ON sounds(made DESC, id DESC);
CREATE VIRTUAL TABLE words USING fts5(text, tokenize='unicode61 remove_diacritics 2');
"""


def library_folder() -> Path:
    """$SONOPAINT_LIBRARY, else ``library`` in the current folder."""
    named = os.environ.get(LIBRARY_VARIABLE)
    return (Path(named).expanduser() if named else Path("library")).absolute()


@dataclass(frozen=True)
class Found:
    """A page of what was searched for, newest first: keys of sounds, and how many there are in all."""

    keys: list[str]
    total: int


class Library:
    """The sounds under `root`; safe to use from any thread."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or library_folder()
        self.hidden = self.root / HIDDEN
        self._lock = threading.RLock()
        self._fresh = False  # whether the index was compared with the files since Studio began

    # Adding and removing -----------------------------------------------------------------------------------

    def keep(self, spare: Callable[[], Path], clip: Any, *, title: str, stem: str, **options: Any) -> Sound:
        """Write a result into today's folder (options: see ``sounds.keep``).

        Where the library's disk is full it goes into the folder that `spare` makes, to be saved from there.
        """
        try:
            folder = self._new_folder(stem)
            with room(folder):
                sound = keep(folder, clip, title=title, stem=stem, **options)
        except (OSError, SonopaintError) as error:
            if not is_full(error) and not isinstance(error, OSError):
                raise
            logger.warning("The library takes no more: %s", error)
            sound = keep(spare(), clip, title=title, stem=stem, **options)
            sentence = FULL_DISK if is_full(error) else f"{self.root} can't be written to."
            return replace(sound, note=f"{sound.note} · not in the library", unkept=sentence)
        try:
            self._ask(lambda index: self._add(index, folder))
        except (SonopaintError, sqlite3.Error, OSError) as error:
            logger.warning("Not in the index until Studio begins anew: %s", error)
        return replace(sound, key=self._key(folder), kept=True)

    def _new_folder(self, stem: str) -> Path:
        day = self.root / datetime.now().strftime("%Y-%m-%d")
        day.mkdir(parents=True, exist_ok=True)
        stem, number = file_stem(stem), 1
        while True:
            folder = day / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1

    def delete(self, key: str) -> None:
        """Take a sound out; ``restore`` brings it back within DELETED_KEPT_S."""
        source, target = self._place(key), self.hidden / "deleted" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        source.rename(target)
        os.utime(target)
        self._ask(lambda index: _remove(index, key))

    def restore(self, key: str) -> None:
        """Undo ``delete``."""
        source, target = self.hidden / "deleted" / key, self.root / key
        if not _KEY.fullmatch(key) or not source.is_dir() or target.exists():
            raise SonopaintError("This sound can't be brought back: it is gone, or its place is taken.")
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        self._ask(lambda index: self._add(index, target))

    def like(self, key: str, favourite: bool) -> None:
        """Mark a sound as a favourite, or no longer."""
        folder = self._place(key)
        mark = folder / FAVOURITE
        mark.touch() if favourite else mark.unlink(missing_ok=True)
        self._ask(lambda index: self._add(index, folder))

    def _place(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or not (self.root / key).is_dir():
            raise SonopaintError("This sound is no longer in the library.")
        return self.root / key

    # Looking -----------------------------------------------------------------------------------------------

    def search(
        self, words: str = "", *, kind: str = "", favourites: bool = False, first: int = 0, count: int = 24
    ) -> Found:
        """Sounds whose prompt, kind, model, day or file name hold words that begin with each of `words`."""
        tokens = ['"' + token.replace('"', '""') + '"*' for token in words.split()]
        where, values = ["1"], []
        if tokens:
            where.append("id IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(" ".join(tokens))
        if kind:
            where.append("kind=?")
            values.append(kind)
        if favourites:
            where.append("favourite")
        rest = f"FROM sounds WHERE {' AND '.join(where)}"  # of our own words only; values are bound

        def asked(index: sqlite3.Connection) -> Found:
            total = index.execute(f"SELECT count(*) {rest}", values).fetchone()[0]  # noqa: S608
            page = f"SELECT key {rest} ORDER BY made DESC, key DESC LIMIT ? OFFSET ?"  # noqa: S608
            return Found([key for (key,) in index.execute(page, (*values, count, first))], total)

        return self._ask(asked)

    def prompts(self, count: int = 200) -> list[str]:
        """What was asked for, each once, the last first."""
        asked = "SELECT prompt FROM sounds WHERE prompt != '' GROUP BY prompt ORDER BY max(made) DESC LIMIT ?"
        return self._ask(lambda index: [prompt for (prompt,) in index.execute(asked, (count,))])

    def sound(self, key: str) -> Sound | None:
        """A sound of the library by its key; None where there is none."""
        asked = "SELECT title, favourite, stamp FROM sounds WHERE key=?"
        row = self._ask(lambda index: index.execute(asked, (key,)).fetchone())
        if row is None:
            return None
        try:
            sound = _opened(self.root / key, row[2])
        except (SonopaintError, OSError) as error:
            logger.info("%s is not shown: %s", key, error)
            return None
        return replace(sound, key=key, title=row[0], favourite=bool(row[1]), kept=True)

    # The index ---------------------------------------------------------------------------------------------

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` finds or changes in the index, which is fresh and whole; a broken one is made anew."""
        with self._lock:
            try:
                return self._tried(work)
            except sqlite3.OperationalError as error:  # locked, or no room
                raise SonopaintError(f"The library's index can't be used ({error}); try again.") from error
            except sqlite3.DatabaseError as error:
                logger.warning("The library's index is made anew: %s", error)
                self.forget_index()
                return self._tried(work)

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(self._opened()) as connection, connection:
            return work(connection)

    def _opened(self) -> sqlite3.Connection:
        self.hidden.mkdir(parents=True, exist_ok=True)
        path = self.hidden / "index.sqlite"
        if not path.exists():
            self._fresh = False
        connection = sqlite3.connect(path, timeout=10.0)
        try:
            connection.execute("PRAGMA synchronous=OFF")  # it can be made again
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                if version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise sqlite3.DatabaseError(f"it has the version {version}")
                connection.executescript(f"{_TABLES} PRAGMA user_version={VERSION};")
            if not self._fresh:
                connection.execute("SELECT count(*) FROM words WHERE words MATCH 'x'").fetchone()
                with connection:
                    self._compare(connection)
                self._fresh = True
        except BaseException:
            connection.close()
            raise
        return connection

    def forget_index(self) -> None:
        """Remove the index; it is made from the files when it is next asked."""
        with self._lock:
            (self.hidden / "index.sqlite").unlink(missing_ok=True)
            self._fresh = False

    def look_again(self) -> None:
        """Compare the index with the files at the next question: somebody may have moved them."""
        self._fresh = False

    def _compare(self, index: sqlite3.Connection) -> None:
        """Add what is new, forget what is gone."""
        known = dict(index.execute("SELECT key, stamp FROM sounds"))
        there = {self._key(folder): folder for folder in self._folders()}
        for key in known.keys() - there.keys():
            _remove(index, key)
        for key, folder in there.items():
            found = looked_at(folder)
            if known.get(key) != (found and found[1]):
                self._add(index, folder)
        for old in (self.hidden / "deleted").glob("*/*"):
            if time.time() - old.stat().st_mtime > DELETED_KEPT_S:
                shutil.rmtree(old, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        """The folders of all sounds."""
        for day in os.scandir(self.root):
            if day.is_dir() and not day.name.startswith("."):
                yield from (Path(entry.path) for entry in os.scandir(day.path) if entry.is_dir())

    def _add(self, index: sqlite3.Connection, folder: Path) -> None:
        from sonoconvert.files.clip import sound_header

        key, found = self._key(folder), looked_at(folder)
        _remove(index, key)
        if found is None:
            return
        path, stamp, favourite = found
        try:
            settings = sound_header(path).settings
        except (SonopaintError, OSError) as error:
            logger.info("%s is not in the index: %s", key, error)
            return
        task, prompt = str(settings.get("task", "")), str(settings.get("prompt", ""))
        kind = KINDS.get(task, "")
        title = prompt or path.stem
        if kind and task != "generate":
            title = f"{kind} · {prompt or path.stem}"
        row = (key, stamp, path.stat().st_mtime, task, title, prompt, favourite)
        cursor = index.execute(
            "INSERT INTO sounds(key, stamp, made, kind, title, prompt, favourite) VALUES(?,?,?,?,?,?,?)", row
        )
        text = [
            key,
            kind,
            prompt,
            *(str(settings.get(k, "")) for k in ("negative_prompt", "model", "source")),
        ]
        index.execute("INSERT INTO words(rowid, text) VALUES(?,?)", (cursor.lastrowid, " ".join(text)))

    def _key(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()


def looked_at(folder: Path) -> tuple[Path, str, bool] | None:
    """(sound, what changes when it does, whether it is a favourite) of a folder; None without a sound."""
    files = {entry.name: entry for entry in os.scandir(folder)}
    names = (name for suffix in _SOUNDS for name in sorted(files) if name.lower().endswith(suffix))
    name = next(names, None)
    if name is None:
        return None
    status, favourite = files[name].stat(), FAVOURITE in files
    return folder / name, f"{name} {status.st_mtime_ns} {status.st_size} {favourite}", favourite


@lru_cache(maxsize=128)
def _opened(folder: Path, stamp: str) -> Sound:
    del stamp  # another one: the files have changed
    found = looked_at(folder)
    if found is None:
        raise SonopaintError(f"There is no sound in {folder}.")
    return opened(found[0])


def _remove(index: sqlite3.Connection, key: str) -> None:
    row = index.execute("SELECT id FROM sounds WHERE key=?", (key,)).fetchone()
    if row is not None:
        index.execute("DELETE FROM words WHERE rowid=?", row)
        index.execute("DELETE FROM sounds WHERE id=?", row)
