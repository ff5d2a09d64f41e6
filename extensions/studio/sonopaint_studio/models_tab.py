"""Models: what is there, what it is, and adding more."""

from __future__ import annotations

import html
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonoconvert.files.hashes import sha256_of
from sonopaint.models.folders import user_folder
from sonopaint.models.info import ModelInfo, unet_file
from sonopaint.models.wave_families import FAMILIES
from sonopaint_studio import widgets
from sonopaint_studio.context import Context, ModelBar, refreshed
from sonopaint_studio.disk import room
from sonopaint_studio.jobs import error_html, note_html
from sonopaint_studio.model_files import add_files
from sonopaint_studio.model_store import title
from sonopaint_studio.sounds import named

KINDS = {
    "mini": "Sonopaint Mini",
    "checkpoint": "Stable Diffusion 1.5 checkpoint",
    "diffusers": "Stable Diffusion 1.5, diffusers folder",
    "lora": "LoRA",
    "waveform": "Model of waveforms",
}
SAID = {"modelspec.author": "Author", "modelspec.license": "Licence", "modelspec.date": "Date"}


def models_html(models: list[ModelInfo]) -> str:
    """A card for each model: name, kind, format, size, hash and what its header says."""
    if not models:
        return '<div class="sp-quiet">There is no model yet. Drop one here.</div>'
    return f'<div class="sp-models">{"".join(map(_card, models))}</div>'


def _card(info: ModelInfo) -> str:
    form = info.format
    sound = "not said: fits the model it was trained on"
    if info.kind == "waveform":
        family = next(one for one in FAMILIES if one.name == info.metadata["family"])
        sound = (
            f"{family.name} · up to {family.seconds:g} s · {family.rate / 1000:g} kHz · about "
            f"{family.memory_gb:g} GB on a card; slow on a processor"
        )
    if form is not None:
        sound = (
            f"{form.name} · {form.seconds(form.width):.2f} s · {form.sample_rate / 1000:g} kHz · "
            f"{form.f_min:g} to {form.f_max:g} Hz"
        )
    facts = {
        "Format": sound,
        "Size": f"{info.size / 1e6:,.1f} MB",
        **(
            {"Hash": file_hash(str(info.path), info.path.stat().st_mtime)}
            if form is not None or info.kind == "lora"
            else {}
        ),
        **{name: info.metadata[key][:120] for key, name in SAID.items() if info.metadata.get(key)},
    }
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items())
    where = "comes with Sonopaint" if info.shipped else "yours"
    about = info.metadata.get("modelspec.description", "")[:300]
    return (
        f'<article class="sp-model"><h2>{html.escape(title(info))}<small>{where}</small></h2>'
        f"<p>{KINDS[info.kind]}{': ' if about else ''}{html.escape(about)}</p><dl>{rows}</dl></article>"
    )


@lru_cache(maxsize=256)
def file_hash(path: str, modified: float) -> str:
    """First ten hex digits of the (U-Net's) SHA-256, as the WebUI shows them; read anew when modified."""
    del modified
    return sha256_of(unet_file(Path(path)))[:10]


class ModelsTab:
    """The page and what its buttons do."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def listed(self) -> str:
        return models_html(self.context.store.models() + self.context.store.loras())

    def add(self, current: str | None, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Copy what was dropped into the models folder: (status, list, *ModelBar.lists())."""
        self.context.sessions.of(request)
        files: list[tuple[Path, str]] = []
        skips = [gr.skip()] * len(refreshed(self.context.store, current))
        try:
            files = self.context.sessions.all_uploaded(event)
            with room():
                added = add_files(files, user_folder())
        except SonopaintError as error:
            return (
                error_html(named(error, *(files[0][::-1] if len(files) == 1 else ("the file",)))),
                gr.skip(),
                *skips,
            )
        finally:
            for path, _ in files:  # gigabytes must not stay behind twice
                path.unlink(missing_ok=True)
        sentence = "Added " + ", ".join(f"{info.name} ({KINDS[info.kind]})" for info in added) + "."
        return note_html(sentence), self.listed(), *refreshed(self.context.store, current)

    def look_again(self, current: str | None) -> tuple[Any, ...]:
        """Somebody put files into the folder by hand: (status, list, *ModelBar.lists())."""
        return note_html(""), self.listed(), *refreshed(self.context.store, current)

    def build(self, bar: ModelBar, tab: gr.Tab) -> None:
        """Lay the page out and wire it."""
        with gr.Row(elem_classes="sp-page"):
            with gr.Column(scale=0, min_width=340, elem_classes="sp-side"):
                drop = widgets.dropzone(
                    "Add a model or a LoRA",
                    "A .safetensors file (Stable Diffusion 1.5, Riffusion, a LoRA) or a diffusers folder.",
                    "model-drop",
                )
                again = gr.Button("Look again", size="sm", elem_id="models-again")
                status = widgets.status("models-status")
                gr.HTML(
                    note_html(f"Your models lie in {user_folder()}. Use LoRAs with the button at the top."),
                    apply_default_css=False,
                )
            with gr.Column(scale=1, min_width=320, elem_classes="sp-main"):
                widgets.tip("models")
                models = gr.HTML("", elem_id="models", apply_default_css=False)
        outputs = [status, models, *bar.lists()]
        drop.files(self.add, bar.model, outputs, **widgets.LONG)
        again.click(self.look_again, bar.model, outputs, **widgets.QUICK)
        tab.select(self.look_again, bar.model, outputs, **widgets.QUICK)
