"""What is varied: ESC-50's test fold, a folder of classes, or kinds of the corpus that no model learnt.

The protocol is Desbos 2026, section 3.5: 8 references of each class, at most 5 s, everything at 16 kHz, mono.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.esc50 import esc50, is_esc50
from sonotrain.evaluation.bench.nouns import Reference
from sonotrain.files.options import option

TEST_FOLD = 5
KEPT, RETAKES, SOURCES = "references", "retakes", "sources"


@dataclass(frozen=True)
class Protocol:
    """Which references, and how everything is heard. rate: Hz, 0 for each sound's own."""

    classes: int = option(0, "classes, the first of all (0: all)")
    only: tuple[str, ...] = option((), "only these classes, with commas between", commas=True)
    references: int = option(8, "references of each class")
    retakes: int = option(6, "real takes that each reference is compared with")
    rate: int = option(16_000, "rate in Hz at which everything is judged (0: as it is)")
    seconds: float = option(5.0, "what of a reference is varied at most")
    seed: int = option(0, "seed of the corpus's sounds and of the variations")

    def standard(self, clip: Clip) -> Clip:
        """Mono, at one rate, at most so long."""
        clip = clip.mono().resampled(self.rate or clip.sample_rate)
        waveform = clip.waveform[:, : round(self.seconds * clip.sample_rate)]
        return Clip(waveform, clip.sample_rate)


@dataclass(frozen=True)
class Varied(Reference):
    """A reference to vary. files: it, as it is judged; held_out: its re-takes; source: for back-ends."""

    source: Path = Path()


def find_references(path: str, protocol: Protocol, out: Path) -> list[Varied]:
    """The references of `path` ("": the corpus), written into `out` as they are judged.

    Raises SonopaintError for a folder without classes, an unknown class, and numbers that make no sense.
    """
    if protocol.references < 1 or protocol.seconds < 0.1 or protocol.retakes < 0 or protocol.classes < 0:
        raise SonopaintError(
            f"{setting('references')} must be at least 1, {setting('seconds')} at least 0.1, "
            f"{setting('retakes')} and {setting('classes')} not below 0."
        )
    kinds = _corpus_kinds() if not path else list(_files(path))
    if unknown := [name for name in protocol.only if name.replace("_", " ") not in kinds]:
        raise SonopaintError(f"There is no class {unknown[0]!r}; there are {', '.join(kinds)}.")
    wanted = [name.replace("_", " ") for name in protocol.only] or kinds
    wanted = wanted[: protocol.classes or None]
    made = _corpus(wanted, protocol, out) if not path else _folder(path, wanted, protocol)
    found = []
    for noun, number, source, others in made:
        name = f"{noun.replace(' ', '_')}-{number}"
        file = _standard(source, out / KEPT / f"{name}.flac", protocol)
        retakes = [
            _standard(other, out / RETAKES / name / f"{index:02d}.flac", protocol)
            for index, other in enumerate(others[: protocol.retakes], 1)
        ]
        group = noun if protocol.references > 1 else ""
        found.append(Varied(name, noun, (file,), tuple(retakes), group, source))
    return found


Made = list[tuple[str, int, Path, list[Path]]]  # class, number, reference, others of it


def _corpus_kinds() -> list[str]:
    from sonotrain.data.foley import HELD_OUT

    return [kind.replace("_", " ") for kind in HELD_OUT]


def _corpus(kinds: list[str], protocol: Protocol, out: Path) -> Made:
    """Several things of each kind, each with takes of the very same thing."""
    from sonotrain.data.foley import SAMPLE_RATE
    from sonotrain.data.foley.subjects import takes

    made: Made = []
    for kind in kinds:
        for number in range(1, protocol.references + 1):
            folder = out / SOURCES / f"{kind.replace(' ', '_')}-{number}"
            files = [folder / f"{take:02d}.flac" for take in range(protocol.retakes + 1)]
            if not all(file.is_file() for file in files):
                folder.mkdir(parents=True, exist_ok=True)
                sounds = takes(kind.replace(" ", "_"), len(files), 1000 * protocol.seed + number)
                for file, sound in zip(files, sounds, strict=True):
                    sound = sound[: round(protocol.seconds * SAMPLE_RATE)]
                    write_clip(Clip(sound[None], SAMPLE_RATE), file, force=True)
            made.append((kind, number, files[0], files[1:]))
    return made


def _files(path: str) -> dict[str, list[Path]]:
    """{class: its sounds}."""
    root, found = Path(path).expanduser(), defaultdict(list)
    if is_esc50(root):
        for file, kind in esc50(root, [TEST_FOLD]):
            found[kind].append(file)
    else:
        for file in sorted(root.glob("*/*")):
            if file.suffix.lower() in SOUNDS:
                found[file.parent.name.replace("_", " ")].append(file)
    if not found:
        raise SonopaintError(
            f"{root} has no classes; give ESC-50's folder, or one with a folder of sounds for each class."
        )
    return dict(sorted(found.items()))


def _folder(path: str, kinds: list[str], protocol: Protocol) -> Made:
    files = _files(path)
    return [
        (kind, number, file, [other for other in files[kind] if other != file])
        for kind in kinds
        for number, file in enumerate(files[kind][: protocol.references], 1)
    ]


def _standard(source: Path, file: Path, protocol: Protocol) -> Path:
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        clip = protocol.standard(read_clip(source, duration_s=protocol.seconds))
        write_clip(clip, file, subtype="PCM_16", force=True)
    return file
