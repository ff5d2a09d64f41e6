"""What can be chosen when a dataset is made; each field is also a flag of `sonotrain dataset`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.files.options import option

LAYOUTS = ("auto", "folder", "table", "esc50", "audiocaps", "audioset")
PLACEHOLDERS = ("text", "label", "name", "trigger", "tags")
# What the files of a dataset hang on. The rest (captions, duplicates) may change when it is made again.
_FIXED = (
    "windows", "overlap", "max_windows", "min_seconds", "silence_db", "max_clipping",
    "validation", "test", "seed", "group",
)  # fmt: skip


@dataclass(frozen=True)
class DatasetOptions:
    """Everything with a default that suits a folder of sound effects. SonopaintError for what can't be."""

    format: str = option("", "spectrogram format (default: that of --model, else sonopaint-mini)")
    model: str = option("", "the model to train on: its format is used and its tokenizer counts captions")
    layout: str = option("auto", f"how SOURCE is laid out: {', '.join(LAYOUTS)}")
    audio: str = option("", "folder with the clips that a table names (default: the table's own folder)")
    only: str = option("", "only these labels, with commas (or semicolons) between")
    windows: str = option(
        "all", "long recordings: all = cut into several clips, first = only their beginning"
    )
    overlap: float = option(0.0, "part of a clip that the next one repeats, 0 to 0.9")
    max_windows: int = option(0, "at most so many clips of one recording, spread over it (0: no limit)")
    min_seconds: float = option(0.05, "leave out recordings that are shorter")
    silence_db: float = option(-60.0, "leave out clips whose peak lies below so many dBFS")
    max_clipping: float = option(0.05, "leave out clips with a larger part of clipped samples, 0 to 1")
    duplicates: str = option("near", "leave out near duplicates, only exact ones, or keep: near, exact, keep")
    similarity: float = option(0.88, "how alike near duplicates are, 0.5 to 1")
    caption: str = option(
        "", "template of captions, of {text}, {label}, {name}, {trigger} and {tags} (default: text and tags)"
    )
    trigger: str = option("", "a word that no other sound has; begins every caption")
    signifier: str = option("", 'words before the text, such as "a spectrogram of"')
    tagger: str = option("", "folder with the weights of CLAP or an audio tagger; its tags join the captions")
    tag_words: str = option("", "text file with the words that CLAP chooses from, one a line")
    tags: int = option(2, "at most so many tags for each clip")
    validation: float = option(0.1, "part of the recordings to validate with")
    test: float = option(0.1, "part of the recordings to keep for the evaluation")
    seed: int = option(0, "seed of the split")
    group: str = option(
        "", "regular expression: files whose names it matches alike are one recording, never split"
    )
    max_unreadable: float = option(0.25, "stop when a larger part of the files can't be read, 0 to 1")

    def __post_init__(self) -> None:
        _choice("layout", self.layout, LAYOUTS)
        _choice("windows", self.windows, ("all", "first"))
        _choice("duplicates", self.duplicates, ("near", "exact", "keep"))
        _within("overlap", self.overlap, 0, 0.9)
        _within("max_windows", self.max_windows, 0, 1_000_000)
        _within("min_seconds", self.min_seconds, 0, 3600)
        _within("silence_db", self.silence_db, -200, 0)
        _within("max_clipping", self.max_clipping, 0, 1)
        _within("similarity", self.similarity, 0.5, 1)
        _within("tags", self.tags, 1, 20)
        _within("validation", self.validation, 0, 0.9)
        _within("test", self.test, 0, 0.9)
        _within("max_unreadable", self.max_unreadable, 0, 1)
        if self.validation + self.test > 0.9:
            raise SonopaintError(
                f"{setting('validation')} {self.validation:g} and {setting('test')} {self.test:g} leave "
                "less than a tenth of the "
                "sounds to train on; make them smaller."
            )
        for name in re.findall(r"\{([^{}]*)\}", self.caption):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                raise SonopaintError(f"The caption template has {{{name}}}; it may have {known}.")
        try:
            re.compile(self.group)
        except re.error as error:
            raise SonopaintError(
                f"{setting('group')} {self.group!r} is no regular expression ({error})."
            ) from error

    def labels(self) -> frozenset[str]:
        """The labels of `only`, in lower case. Semicolons separate names that have commas themselves."""
        names = self.only.split(";" if ";" in self.only else ",")
        return frozenset(filter(None, (name.strip().lower() for name in names)))

    def fixed(self) -> dict[str, Any]:
        """The options that can't change once clips have been made."""
        return {name: value for name, value in asdict(self).items() if name in _FIXED}


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SonopaintError(f"{setting(name)} is {value!r}; it must be one of {', '.join(known)}.")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN, too
        raise SonopaintError(f"{setting(name)} is {value}; it must be {low:g} to {high:g}.")
