"""What a build has done so far, in DATASET/.build: one line for each job, so that it can go on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.clips import Job
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.locks import hold

logger = logging.getLogger(__name__)


class Ledger:
    """The ledger of a dataset, locked while open (use as a context manager).

    Attributes:
        results: what make_clips returned, by the job's name.
        groups: the split of every group of recordings that was ever in the dataset.
        captions: what builds wrote for each clip (two texts where one was stopped while writing); another
            text in the metadata was edited by a person.
        left_out: clips that the last build removed as duplicates; their files need not be there.

    Raises SonopaintError where another build is going on in the folder, or the dataset was made with other
    `settings`.
    """

    def __init__(self, target: Path, settings: dict[str, Any], *, checks: str) -> None:
        self.target = target
        self.folder = self.folder_of(target)
        self.settings = json.loads(json.dumps(settings))
        self.checks = checks  # how duplicates are looked for
        self.results: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, str] = {}
        self.captions: dict[str, list[str]] = {}
        self.left_out: set[str] = set()

    @staticmethod
    def folder_of(target: Path) -> Path:
        return target / ".build"

    @classmethod
    def is_at(cls, target: Path) -> bool:
        """Whether a build was begun in that folder."""
        return (cls.folder_of(target) / "settings.json").is_file()

    def __enter__(self) -> Ledger:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SonopaintError(
                f"The folder {self.target} can't be written to ({error.strerror}); choose another "
                f"{setting('out')}."
            ) from error
        self._lock = hold(
            self.folder / "lock", f"Another process makes the dataset {self.target}; wait until it is done."
        )
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._lock.close()

    def _open(self) -> None:
        path = self.folder / "settings.json"
        if path.is_file():
            self._compare(read_json(path))
        else:
            write_json(path, self.settings)
        for line in self._lines():
            self.results[line["name"]] = line
        self.groups = self.read("groups.json")
        self.captions = self.read("captions.json")
        left_out = self.read("left_out.json")
        self.left_out = set(left_out.get("clips", ())) if left_out.get("checks") == self.checks else set()
        self._file = open(self.folder / "clips.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - held open

    def _compare(self, before: dict[str, Any]) -> None:
        changed = [
            f"{setting(name)} was {_short(before.get(name))}, now {_short(value)}"
            for name, value in self.settings.items()
            if before.get(name) != value
        ]
        if changed:
            raise SonopaintError(
                f"The dataset {self.target} was made with other options ({'; '.join(changed)}); make it anew "
                f"with {setting('force')}, or choose another {setting('out')}."
            )

    def _lines(self) -> list[dict[str, Any]]:
        """All whole lines; the last one may be cut off where the build was killed."""
        path = self.folder / "clips.jsonl"
        lines = []
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                path.write_bytes(whole)
            for text in whole.decode("utf-8", errors="replace").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict) and {"name", "stamp", "clips", "skipped", "notes"} <= line.keys():
                    lines.append(line)
        return lines

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the ledger's folder; {} where there is none."""
        path = self.folder / name
        return read_json(path) if path.is_file() else {}

    def has(self, job: Job) -> bool:
        """Whether a job was done, its recording is unchanged and its files are there."""
        result = self.results.get(job.name)
        if result is None or result["stamp"] != list(job.stamp):
            return False
        if len(result["clips"]) + len(result["skipped"]) != len(job.starts):
            return False
        folder = Path(job.folder)
        return all(
            clip["stem"] in self.left_out
            or ((folder / f"{clip['stem']}.png").is_file() and (folder / f"{clip['stem']}.flac").is_file())
            for clip in result["clips"]
        )

    def add(self, result: dict[str, Any]) -> None:
        self.results[result["name"]] = result
        self._file.write(json.dumps(result, ensure_ascii=False) + "\n")
        self._file.flush()

    def keep_groups(self, splits: dict[str, str]) -> None:
        """Remember splits, those of recordings that are gone too: they may come back."""
        self.groups |= splits
        write_json(self.folder / "groups.json", self.groups)

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file into the ledger's folder."""
        write_json(self.folder / name, value)

    def will_write(self, captions: dict[str, str]) -> None:
        """Remember captions before they are written."""
        both = {stem: [*self.captions.get(stem, []), text] for stem, text in captions.items()}
        write_json(self.folder / "captions.json", self.captions | both)

    def finish(self, captions: dict[str, str], left_out: list[str]) -> None:
        """Remember what the finished dataset says and lacks."""
        write_json(self.folder / "captions.json", {stem: [text] for stem, text in captions.items()})
        write_json(self.folder / "left_out.json", {"checks": self.checks, "clips": left_out})


def _short(value: Any) -> str:
    return str(value.get("name", "?")) if isinstance(value, dict) else str(value)
