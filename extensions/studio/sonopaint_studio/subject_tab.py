"""Subject: a few clips of one thing, trained to endless one-step variations of it."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.checkpoints.files import read_header
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import safe_name
from sonopaint.models.folders import user_folder
from sonopaint.models.one_step import subject_of
from sonopaint_studio import widgets
from sonopaint_studio.context import ModelBar, lora_choices
from sonopaint_studio.disk import room
from sonopaint_studio.generate_tab import GenerateTab
from sonopaint_studio.jobs import error_html, note_html
from sonopaint_studio.model_files import add_files
from sonopaint_studio.model_store import STUDENT_DEFAULTS
from sonopaint_studio.run_page import RunPage, run_names
from sonotrain.trainers.subject.options import SubjectOptions

MOST_CLIPS = 50
VARIATIONS = 4  # what "Make variations" asks for at once
MODES = [("A small file (LoRA)", "adapters"), ("All weights: more memory", "full")]


class SubjectTab(RunPage):
    """The page and what its buttons do."""

    command = "subject"
    CLIPS = "subject-clips"  # where a tab's dropped clips lie
    listed: gr.HTML

    def clips_of(self, request: gr.Request) -> Path:
        """Where a browser tab's dropped clips lie until they are trained on."""
        return self.context.sessions.of(request).folder / self.CLIPS

    def dropped(self, request: gr.Request, event: gr.EventData) -> tuple[str, str]:
        """Take the dropped clips, beside those that are there: (status, list)."""
        folder = self.clips_of(request)
        try:
            files = self.context.sessions.all_uploaded(event)
            there = len(list(folder.glob("*"))) if folder.is_dir() else 0
            if there + len(files) > MOST_CLIPS:
                raise SonopaintError(
                    f"{there + len(files)} clips are too many for one subject: choose 4 to 6 good ones "
                    "(the Train page learns from many)."
                )
            with room(*(folder / safe_name(name) for _, name in files), *(path for path, _ in files)):
                folder.mkdir(exist_ok=True)
                for path, name in files:
                    shutil.copyfile(path, folder / safe_name(name))
        except SonopaintError as error:
            return error_html(error), clips_html(folder)
        return note_html(""), clips_html(folder)

    def clear(self, request: gr.Request) -> str:
        """Forget the dropped clips."""
        shutil.rmtree(self.clips_of(request), ignore_errors=True)
        return clips_html(self.clips_of(request))

    def start(
        self,
        request: gr.Request,
        model: str | None,
        noun: str | None,
        name: str | None,
        token: str | None,
        mode: str,
        steps: float | None,
        alpha: float | None,
    ) -> tuple[Any, ...]:
        """Begin a run on copies of the clips: (status, runs)."""
        try:
            self.only_here(request)
            clips, what = self.clips_of(request), str(noun or "").strip()
            if not clips.is_dir() or not any(clips.iterdir()):
                raise SonopaintError("Drop a few clips of your sound first; five are good.")
            if not what:
                raise SonopaintError("Say what it is, as any of its kind is called: dog bark, door, drum.")
            folder = self.new_folder(str(name or "").strip() or what.replace(" ", "-"))
            own = folder / "clips"
            shutil.rmtree(own, ignore_errors=True)
            shutil.copytree(clips, own)
            options: dict[str, Any] = {"clips": str(own), "class": what, "model": model or "mini"}
            options |= {"name": folder.name, "mode": mode}
            if str(token or "").strip():
                options["token"] = str(token).strip()
            if steps:
                options["steps"] = int(steps)
            if alpha is not None:
                options["alpha"] = float(alpha)
            self.launch(folder, options, resume=False)
        except (SonopaintError, OSError) as error:
            return error_html(error), gr.skip()
        names = run_names(self.command)
        return note_html("Starting …"), gr.update(
            choices=names if folder.name in names else [folder.name, *names], value=folder.name
        )

    def look(self, request: gr.Request, run: str | None) -> tuple[Any, ...]:
        """What RunPage shows; the last part is for both buttons of a finished run."""
        *shown, add = super().look(request, run)
        return *shown, add, add

    def variations(self, run: str | None) -> tuple[Any, ...]:
        """Take the subject to Generate: (status, LoRAs, weight, prompt, how many, knobs, page)."""
        try:
            state_file = self.state(run).file
            if state_file is None:
                raise SonopaintError("This subject has no file yet: train it to its end.")
            target = user_folder() / state_file.name
            if not target.exists() or target.stat().st_size != state_file.stat().st_size:
                [info] = add_files([(state_file, state_file.name)], user_folder())
                target = info.path
            prompt = subject_of(read_header(target)[1])
        except SonopaintError as error:
            return error_html(error), *[gr.skip()] * 9
        card = STUDENT_DEFAULTS
        return (
            note_html(""),
            gr.update(choices=lora_choices(self.context.store), value=str(target)),
            1.0,
            prompt or gr.skip(),
            VARIATIONS,
            card["steps"],
            card["guidance_scale"],
            card["sampler"],
            gr.update(visible=True, interactive=False, value=True),
            gr.update(selected="generate"),
        )

    def build(self, bar: ModelBar, tab: gr.Tab, tabs: gr.Tabs, generate: GenerateTab) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                drop = widgets.dropzone(
                    "Drop four to six clips of one sound",
                    "Your dog, your door, your drum. A few seconds each.",
                    "subject-drop",
                )
                self.listed = listed = gr.HTML(
                    clips_html(None), elem_id="subject-clips", apply_default_css=False
                )
                clear = gr.Button("Forget these clips", size="sm", elem_id="subject-clear")
                noun = gr.Textbox(label="What is it?", placeholder="dog bark", elem_id="subject-class")
                name = gr.Textbox(label="Name", placeholder="as it is called above", elem_id="subject-name")
                with gr.Accordion("More", open=False, elem_id="subject-more"):
                    token = gr.Textbox(
                        label="Its own word", placeholder="prt", elem_id="subject-token",
                        info="means this one sound; no word that means something",
                    )  # fmt: skip
                    mode = gr.Dropdown(MODES, value="adapters", label="Result", elem_id="subject-mode")
                    steps = gr.Number(
                        0, precision=0, label="Steps", info="0: what suits the model", elem_id="subject-steps"
                    )
                    alpha = gr.Slider(
                        0, 1, SubjectOptions.alpha, step=0.05, label="Faithful to the clips",
                        info="less: more variety, as the base model knows it", elem_id="subject-alpha",
                    )  # fmt: skip
                with gr.Row(elem_classes="sp-go"):
                    go = gr.Button("Train", variant="primary", size="lg", elem_id="subject-go", min_width=120)
                    stop = gr.Button("Stop", variant="stop", size="lg", visible=False, elem_id="subject-stop")
                told = widgets.status("subject-told")
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("subject")
                view = self.view("subject")
                more = gr.Button(
                    "Make variations", variant="primary", visible=False, elem_id="subject-variations"
                )
        shown = self.wire(view, bar, go, stop, told, more)
        drop.files(self.dropped, None, [told, listed], **widgets.EVERY)
        clear.click(self.clear, None, listed, **widgets.QUICK)
        form = [bar.model, noun, name, token, mode, steps, alpha]
        started = go.click(self.start, form, [told, view.run], **widgets.QUICK)
        started.then(self.look, view.run, shown, **widgets.QUICK)
        knobs = generate.knobs
        taken = [told, bar.loras[0], bar.weights[0], generate.prompt, generate.batch]
        taken += [knobs.steps, knobs.guidance, knobs.sampler, knobs.one_step, tabs]
        more.click(self.variations, view.run, taken, **widgets.QUICK)
        tab.select(lambda: gr.update(choices=run_names(self.command)), None, view.run, **widgets.QUICK)


def clips_html(folder: Path | None) -> str:
    """The names of the clips that were dropped."""
    names = sorted(path.name for path in folder.glob("*")) if folder and folder.is_dir() else []
    if not names:
        return note_html("No clips yet.")
    rows = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    return f'<ol class="sp-names">{rows}</ol>'
