"""The corpus's subjects as folders of sounds: five clips to learn from, and others to compare with."""

from __future__ import annotations

from pathlib import Path

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip, write_clip
from sonotrain.data.foley import SAMPLE_RATE
from sonotrain.data.foley.subjects import SUBJECTS, subject_clips
from sonotrain.evaluation.tables import write_json

REFERENCES = "clips"  # what a subject is learnt from
HELD_OUT = "held-out"  # never learnt: how alike two clips of the subject are at all
ABOUT = "subject.json"


def write_subjects(
    out: str | Path, *, clips: int = 5, held_out: int = 20, seed: int = 0, force: bool = False
) -> list[Path]:
    """Writes `out`/NAME/clips and `out`/NAME/held-out for each subject of the corpus; returns the folders.

    Raises SonopaintError for numbers below 1, and where sounds are there already (unless `force`).
    """
    if clips < 1 or held_out < 1:
        raise SonopaintError(
            f"{setting('clips')} and {setting('held_out')} must be at least 1, not {clips} and {held_out}."
        )
    folders = []
    for name, subject in SUBJECTS.items():
        folder = Path(out) / name
        waveforms = subject_clips(name, clips + held_out, seed)
        for index, waveform in enumerate(waveforms):
            part, number = (REFERENCES, index) if index < clips else (HELD_OUT, index - clips)
            path = folder / part / f"{number + 1:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(Clip(waveform[None], SAMPLE_RATE), path, force=force)
        about = {"class": subject.noun, "kind": subject.kind, "about": subject.about, "seed": seed}
        write_json(folder / ABOUT, about)
        folders.append(folder)
    return folders
