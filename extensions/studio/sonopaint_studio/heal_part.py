"""Edit's *Heal*: marks repaired from what is around them, found clicks as marks, several takes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.edits.region import Region
from sonoconvert.progress import shares
from sonopaint_studio.jobs import Report, error_html, note_html
from sonopaint_studio.library import Library
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound

HINT = "What is marked is repaired from what is around it, without words. All else stays."
MOST_TAKES = 8
MOST_MARKS = 500  # that a page shows
HOW = {
    "As it suits": "auto", "Learned bridge": "bridge", "Interpolation": "interpolate",
    "Prediction": "predict",
    "Go on on both sides": "continue", "Copy from nearby": "copy", "Silence": "silence",
}  # fmt: skip


def find_marks(sound: Sound | None) -> tuple[str, str]:
    """(status, boxes as JSON for the editor) of the clicks and dropouts that are found in a sound."""
    if sound is None:
        return error_html("There is no sound yet: drop one on the page, or record one."), "[]"
    from sonopaint.heal.detect import find

    clip = sound.clip()
    marks = find(clip)
    boxes = [{"start": mark.start / clip.sample_rate, "end": mark.stop / clip.sample_rate} for mark in marks]
    if not marks:
        return note_html("No click and no dropout was found: mark what is to be healed."), "[]"
    kinds = [sum(mark.why == why for mark in marks) for why in ("click", "dropout")]
    told = f"{kinds[0]} clicks and {kinds[1]} dropouts are marked. Take away what is none, then heal."
    if len(marks) > MOST_MARKS:
        told = (
            f"{len(marks)} places were found, and the first {MOST_MARKS} are marked. Heal, then find again."
        )
    return note_html(told), json.dumps(boxes[:MOST_MARKS])


def healing(
    library: Library,
    session: Session,
    source: Sound,
    region: Region,
    how: str,
    takes: float | None,
    seed: float | None,
) -> tuple[str, Callable[[Report], list[Sound]]]:
    """(title, the job's work) of healing a sound; SonopaintError for what can't be."""
    from sonopaint.heal.heal import HealSettings

    count = max(min(int(takes or 1), MOST_TAKES), 1)
    first = secrets.randbelow(2**32) if seed is None or seed < 0 else int(seed)
    method = HealSettings(HOW.get(how, how)).method  # refuses what is none

    def work(report: Report) -> list[Sound]:
        from sonopaint.heal.heal import heal
        from sonopaint.heal.marks import marks_of

        report(0, 0, "Reading the sound")
        clip = source.clip()
        marks = marks_of(region, clip, source.format)
        made: list[Sound] = []
        for number in range(count):
            healed = heal(
                clip, marks, HealSettings(method, (first + number) % 2**32),
                progress=shares(report, "Healing", number, count),
            )  # fmt: skip
            told: dict[str, Any] = {"task": "heal", "seed": (first + number) % 2**32, "method": method}
            told["notes"] = healed.said
            title = "Healed" if count == 1 else f"Healed · take {number + 1}"
            stem = f"{Path(source.downloads['WAV']).stem} healed {told['seed']}"
            made.append(
                session.add(
                    library.keep(
                        session.new_folder, replace(healed.clip, settings=told), title=title, stem=stem,
                        form=source.format, like=source,
                    )
                )
            )  # fmt: skip
        session.history.made(source, made)
        return made

    return "Healed", work


class HealPart:
    """The fields that Heal has, and its button that finds marks."""

    def build(self) -> None:
        with gr.Column(visible=False, elem_id="heal-box") as self.box:
            self.find = gr.Button("Find clicks and dropouts", size="sm", elem_id="heal-find")
            self.how = gr.Dropdown(list(HOW), value=next(iter(HOW)), label="How", min_width=140)
        self.found = gr.Textbox(visible="hidden", elem_id="heal-found")
