"""Library: everything that was made, to search, to hear, to like, to delete and to go on with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint_studio import widgets
from sonopaint_studio.context import Context, ModelBar
from sonopaint_studio.dataset_tab import DatasetTab, is_this_computer
from sonopaint_studio.disk import room
from sonopaint_studio.generate_tab import GenerateTab
from sonopaint_studio.jobs import error_html, note_html
from sonopaint_studio.library import KINDS
from sonopaint_studio.recall import recall
from sonopaint_studio.sounds import Sound
from sonopaint_studio.subject_tab import SubjectTab, clips_html

AT_ONCE = 24  # cards on a page
EMPTY = "What you make appears here and stays. Nothing has been made yet."
NOTHING = "Nothing in the library has these words."
PICKED = "from-library"  # what was sent to the Dataset page lies in a folder of this name


class LibraryTab:
    """The page and what its buttons do."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.cards: gr.HTML
        self.status: gr.HTML

    # --- looking --------------------------------------------------------------------------------------------

    def look(self, words: str | None, kind: str, favourites: bool, first: float | None) -> tuple[Any, ...]:
        """(status, cards, first, range, newer, older) of what was searched for, from the `first`-th on."""
        start = max(0, int(first or 0))
        try:
            found = self.context.library.search(
                words or "", kind=kind or "", favourites=favourites, first=start, count=AT_ONCE
            )
        except SonopaintError as error:
            return error_html(error), *[gr.skip()] * 5
        if start and not found.keys:  # the last of this page was deleted
            return self.look(words, kind, favourites, start - AT_ONCE)
        sounds = [self.context.library.sound(key) for key in found.keys]
        asked = bool((words or "").strip() or kind or favourites)
        value = widgets.cards_value(
            [sound.view() for sound in sounds if sound], empty=NOTHING if asked else EMPTY
        )
        last = start + len(found.keys)
        span = f"{start + 1:,}–{last:,} of {found.total:,}" if found.total else ""
        return (
            note_html(""),
            {**value, "library": True},
            start,
            note_html(span),
            gr.update(visible=start > 0),
            gr.update(visible=last < found.total),
        )

    def opened(self, *asked: Any) -> tuple[Any, ...]:
        """The page is looked at: compare with the folder, somebody may have changed it. As ``look``."""
        self.context.library.look_again()
        return self.look(*asked)

    def like(self, event: gr.EventData) -> str:
        try:
            self.context.library.like(str(event.key), bool(event.on))
        except (SonopaintError, OSError) as error:
            return error_html(error)
        return note_html("")

    def remove(self, event: gr.EventData) -> tuple[Any, ...]:
        """Delete a sound: (status, undo button, key)."""
        key = str(event.key)
        try:
            self.context.library.delete(key)
        except (SonopaintError, OSError) as error:
            return error_html(error), gr.update(visible=False), ""
        return note_html(f"Deleted {key.split('/')[-1]}."), gr.update(visible=True), key

    def restore(self, key: str) -> tuple[Any, ...]:
        """Undo a deletion: (status, undo button)."""
        try:
            self.context.library.restore(str(key))
        except (SonopaintError, OSError) as error:
            return error_html(error), gr.update(visible=False)
        return note_html("It is back."), gr.update(visible=False)

    def open_folder(self, request: gr.Request) -> str:
        """Show the library in the computer's file manager."""
        folder = self.context.library.root
        if not is_this_computer(request):
            return error_html("The folder can be opened only on the computer that Studio runs on.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform == "win32":
                os.startfile(folder)  # noqa: S606
            else:
                program = "open" if sys.platform == "darwin" else "xdg-open"
                subprocess.Popen([program, folder])  # noqa: S603
        except OSError:
            return note_html(f"Open it in your file manager: {folder}")
        return note_html("")

    # --- sending --------------------------------------------------------------------------------------------

    def _sound(self, event: gr.EventData) -> Sound:
        sound = self.context.library.sound(str(event.key))
        if sound is None:
            raise SonopaintError("This sound is no longer in the library.")
        return sound

    def again(self, event: gr.EventData) -> tuple[Any, ...]:
        """A sound's settings for Generate: (page, status, its status, prompt, negative, model, *knobs)."""
        try:
            found = recall(self._sound(event).settings, self.context.store)
        except SonopaintError as error:
            return gr.skip(), error_html(error), *[gr.skip()] * 9
        told = note_html(f"Using {found.note}.")
        values = (found.prompt, found.negative_prompt, *widgets.recalled(found))
        return gr.update(selected="generate"), note_html(""), told, *values

    def to_subject(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A sound becomes one of Subject's clips: (status, its list of clips)."""
        folder = self.context.sessions.of(request).folder / SubjectTab.CLIPS
        try:
            sound = self._sound(event)
            target = folder / sound.clip_path.name
            with room(target):
                folder.mkdir(exist_ok=True)
                shutil.copyfile(sound.clip_path, target)
        except SonopaintError as error:
            return error_html(error), gr.skip()
        return note_html(f"{sound.title} is among the clips on the Subject page."), clips_html(folder)

    def to_dataset(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A sound and its caption join what was sent to Dataset: (status, its source, its name)."""
        folder = self.context.sessions.of(request).folder / "dropped" / PICKED
        try:
            sound = self._sound(event)
            target = folder / sound.clip_path.name
            with room(target):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sound.clip_path, target)
                target.with_suffix(".txt").write_text(sound.settings.get("prompt", ""), encoding="utf-8")
        except SonopaintError as error:
            return error_html(error), gr.skip(), gr.skip()
        count = len(list(folder.glob("*.wav")))
        told = f"{count} sound{'s' * (count > 1)} of the library wait on the Dataset page."
        return note_html(told), f"dropped: {PICKED}", PICKED

    # --- the page -------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                words = gr.Textbox(
                    label="Search", placeholder="dog rain, horn, mini, 2026-11 …", max_lines=1,
                    elem_id="library-search",
                )  # fmt: skip
                kind = gr.Dropdown(
                    [("Everything", ""), *((label, task) for task, label in KINDS.items())],
                    value="", label="Made by", elem_id="library-kind",
                )  # fmt: skip
                favourites = gr.Checkbox(
                    label="Favourites only", container=False, elem_id="library-favourites"
                )
                self.status = widgets.status("library-status")
                undo = gr.Button("Undo the deletion", size="sm", visible=False, elem_id="library-undo")
                where = "Everything lies in this folder, with its settings in the files:"
                gr.HTML(note_html(where) + note_html(str(self.context.library.root)), apply_default_css=False)
                folder = gr.Button("Open the folder", size="sm", elem_id="library-folder")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                self.cards = widgets.cards("library", {**widgets.cards_value([]), "library": True})
                with gr.Row(elem_classes="sp-turn"):
                    newer = gr.Button(
                        "Newer", size="sm", visible=False, elem_id="library-newer", min_width=90
                    )
                    span = gr.HTML("", apply_default_css=False, elem_id="library-span")
                    older = gr.Button(
                        "Older", size="sm", visible=False, elem_id="library-older", min_width=90
                    )
        first, deleted = gr.Number(0, visible="hidden"), gr.Textbox(visible="hidden")
        self.asked = [words, kind, favourites, first]
        self.shown = [self.status, self.cards, first, span, newer, older]
        for changed in (words.change, words.submit, kind.input, favourites.input):
            changed(
                lambda words, kind, favourites: self.look(words, kind, favourites, 0),
                self.asked[:3],
                self.shown,
                **widgets.LATEST,
            )
        for button, places in ((newer, -AT_ONCE), (older, AT_ONCE)):
            button.click(
                lambda words, kind, favourites, at, places=places: self.look(
                    words, kind, favourites, (at or 0) + places
                ),
                self.asked, self.shown, **widgets.QUICK,
            )  # fmt: skip
        self.cards.like(self.like, None, self.status, **widgets.EVERY)
        removed = self.cards.remove(self.remove, None, [self.status, undo, deleted], **widgets.EVERY)
        back = undo.click(self.restore, deleted, [self.status, undo], **widgets.QUICK)
        for happened in (removed, back):
            happened.then(lambda *asked: self.look(*asked)[1:], self.asked, self.shown[1:], **widgets.LATEST)
        folder.click(self.open_folder, None, self.status, **widgets.QUICK)

    def wire(
        self,
        page: gr.Tab,
        tabs: gr.Tabs,
        bar: ModelBar,
        generate: GenerateTab,
        dataset: DatasetTab,
        subject: SubjectTab,
    ) -> None:
        """Look when the page is opened; send sounds to the others."""
        page.select(self.opened, self.asked, self.shown, **widgets.QUICK)
        controls = [generate.status, generate.prompt, generate.negative, bar.model, *generate.knobs.inputs()]
        self.cards.again(self.again, None, [tabs, self.status, *controls], **widgets.QUICK)
        self.cards.subject(self.to_subject, None, [self.status, subject.listed], **widgets.QUICK)
        self.cards.dataset(
            self.to_dataset, None, [self.status, dataset.source, dataset.name], **widgets.QUICK
        )
