"""What pages share whose jobs wait in the queue and belong to the browser's tab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from sonoconvert.edits.source import open_source
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint_studio import widgets
from sonopaint_studio.context import Context
from sonopaint_studio.jobs import Event, Finished, Report, note_html, status_html
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound, keep, named


class JobPage:
    """A page and what its buttons do. Its jobs are found in the queue by its name."""

    name: ClassVar[str]
    stopping: ClassVar[str] = "Stopping …"  # what is said when somebody stops a job
    outputs: list[Any]  # of what begins jobs, and of resume

    def __init__(self, context: Context) -> None:
        self.context = context

    def stop(self, request: gr.Request) -> tuple[Any, Any]:
        """Ask this tab's job to stop: (status, stop button)."""
        self.context.queue.stop(self.context.sessions.of(request), self.name)
        return note_html(self.stopping), gr.update(interactive=False)

    def begin(
        self,
        session: Session,
        title: str,
        work: Callable[[Report], Any],
        *,
        lane: str = "",
        size: float = 0.0,
    ) -> None:
        """Put a job of this tab into the queue (see JobQueue.add)."""
        self.context.queue.add(session, self.name, title, work, lane=lane, size=size)

    def followed(self, session: Session) -> Iterator[tuple[Event, str, Any]]:
        """(what happens, the line that says it, the stop button's update) of this tab's jobs.

        A job that ends with a sentence has it below the line, and one that ends with sounds their notes.
        """
        queue = self.context.queue
        for event in queue.follow(session, self.name):
            stop = widgets.running() if queue.busy(session, self.name) else widgets.idle()
            note = _told(event.value) if isinstance(event, Finished) else ""
            yield event, status_html(event) + note, stop

    def dropped(self, session: Session, files: Sequence[dict[str, Any]]) -> tuple[Clip, Sound]:
        """The first file that was dropped, as a sound of the tab.

        SonopaintError for none, in the page's words and with the file's own name.
        """
        name, path = "The sound", None
        try:
            name = str(files[0]["name"])
            path = self.context.sessions.uploaded(files[0]["path"])
            clip, _ = open_source(path)
            stem = Path(name).stem
            return clip, keep(session.new_folder(), clip, title=stem, stem=stem)
        except (SonopaintError, IndexError, KeyError) as error:
            raise SonopaintError(named(error, name, path)) from error


def _told(value: Any) -> str:
    """A sentence, or the notes of sounds, each once."""
    if isinstance(value, str):
        return note_html(value)
    sounds = [one for one in value if isinstance(one, Sound)] if isinstance(value, list) else []
    notes = [note for sound in sounds for note in sound.settings.get("notes", [])]
    return "".join(map(note_html, dict.fromkeys(notes)))
