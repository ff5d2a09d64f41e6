"""What all pages share: the open tabs, the models, and the model bar at the top."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from sonopaint_studio.job_queue import JobQueue
from sonopaint_studio.library import Library
from sonopaint_studio.model_store import Lora, ModelStore, title
from sonopaint_studio.session import Session, Sessions
from sonopaint_studio.sounds import Sound

LORA_SLOTS = 3


@dataclass(frozen=True)
class Context:
    """One running Studio."""

    sessions: Sessions = field(default_factory=Sessions)
    store: ModelStore = field(default_factory=ModelStore)
    queue: JobQueue = field(init=False)
    library: Library = field(default_factory=Library)
    model: str | None = None  # path of the model to begin with

    def __post_init__(self) -> None:
        object.__setattr__(self, "queue", JobQueue(self.store.free))  # an idle Studio needs no model

    def sound(self, session: Session, key: str) -> Sound | None:
        """A sound of this tab or of the library; None where it is gone."""
        return session.sounds.get(key) or self.library.sound(key)

    def close(self) -> None:
        """Stop every job and remove what is temporary."""
        self.queue.close()
        self.sessions.close_all()


@dataclass(frozen=True)
class ModelBar:
    """The model and the LoRAs that every job uses."""

    model: gr.Dropdown
    loras: tuple[gr.Dropdown, ...]
    weights: tuple[gr.Slider, ...]

    def inputs(self) -> list[Any]:
        return [self.model, *self.loras, *self.weights]

    def lists(self) -> list[Any]:
        """The components whose choices follow the models folder."""
        return [self.model, *self.loras]


@dataclass(frozen=True)
class Chosen:
    """What the model bar says."""

    model: str | None
    loras: tuple[Lora, ...]

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> tuple[Chosen, tuple[Any, ...]]:
        """(what ModelBar.inputs() hold, the remaining values)."""
        loras = values[1 : 1 + LORA_SLOTS]
        weights = values[1 + LORA_SLOTS : 1 + 2 * LORA_SLOTS]
        used = tuple((path, float(weight)) for path, weight in zip(loras, weights, strict=True) if path)
        return cls(values[0], used), values[1 + 2 * LORA_SLOTS :]


def model_choices(store: ModelStore) -> list[tuple[str, str]]:
    return [(title(info), str(info.path)) for info in store.models()]


def lora_choices(store: ModelStore) -> list[tuple[str, str]]:
    return [("None", ""), *((info.name, str(info.path)) for info in store.loras())]


def refreshed(store: ModelStore, current: str | None) -> list[Any]:
    """Updates of ModelBar.lists() after the models folder changed."""
    models = model_choices(store)
    paths = [path for _, path in models]
    value = current if current in paths else (paths[0] if paths else None)
    return [gr.update(choices=models, value=value)] + [gr.update(choices=lora_choices(store))] * LORA_SLOTS


def model_bar(context: Context) -> ModelBar:
    models = model_choices(context.store)
    first = context.model or (models[0][1] if models else None)
    model = gr.Dropdown(
        models, value=first, label="Model", show_label=False, container=False, elem_id="model", min_width=150,
        interactive=True,
    )  # fmt: skip
    loras, weights = [], []
    with gr.Accordion("LoRAs", open=False, elem_id="loras"):
        for slot in range(LORA_SLOTS):
            with gr.Row():
                loras.append(
                    gr.Dropdown(
                        lora_choices(context.store),
                        value="",
                        label=f"LoRA {slot + 1}",
                        min_width=150,
                        interactive=True,
                    )  # fmt: skip
                )
                weights.append(
                    gr.Slider(-1, 2, 1, step=0.05, label=f"Weight {slot + 1}", min_width=120, scale=1)
                )
    return ModelBar(model, tuple(loras), tuple(weights))
