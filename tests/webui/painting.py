"""The stand-in's painting: modules.processing, its queue and its lists, with pictures of seeded noise."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

SHIFT = 3  # what a VAE does to pixels that nobody wanted changed


class Request:
    """StableDiffusionProcessing…: its keywords as attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def close(self) -> None:
        """Nothing is held."""


class Txt2Img(Request):
    """StableDiffusionProcessingTxt2Img."""


class Img2Img(Request):
    """StableDiffusionProcessingImg2Img."""


class Host:
    """What was asked for, and what tests want to happen."""

    def __init__(self, shared: Any) -> None:
        self.shared = shared
        self.requests: list[Any] = []
        self.interrupt_at: int | None = None  # the picture during which somebody presses Interrupt
        self.skip_at: int | None = None
        self.fails: Callable[[Any], Any] | None = None  # called instead of painting; it may raise
        self.comments = ""
        self.painting = 0
        self.most_at_once = 0
        self.padding: list[Any] = []  # of the U-Net's convolution while it painted

    def process_images(self, request: Any) -> Any:
        self.painting += 1
        self.most_at_once = max(self.most_at_once, self.painting)
        number = len(self.requests)
        self.requests.append(request)
        if self.fails is not None:
            self.painting -= 1
            self.fails(request)
            self.painting += 1
        self.padding.append(self.shared.sd_model.model.diffusion_model.padding)
        noise = np.random.default_rng(request.seed).integers(
            0, 256, (request.height, request.width, 3), dtype=np.uint8
        )
        if isinstance(request, Img2Img):
            start = np.asarray(request.init_images[0]).astype(int)
            assert start.shape == noise.shape, "the host would scale the picture"
            mask = np.asarray(request.mask) if hasattr(request, "mask") else np.full(noise.shape[:2], 255)
            noise = np.where(mask[..., None] > 127, noise, np.clip(start + SHIFT, 0, 255)).astype(np.uint8)
        state = self.shared.state
        state.interrupted |= number == self.interrupt_at
        state.skipped |= number == self.skip_at
        self.painting -= 1
        return SimpleNamespace(
            images=[Image.fromarray(noise)],
            infotexts=[f"{request.prompt}\nSteps: 1"],
            index_of_first_image=0,
            comments=self.comments,
        )


def list_models(folder: Path) -> None:
    """modules.sd_models.list_models: the safetensors of a folder."""
    there = sys.modules["modules.sd_models"].checkpoints_list
    for path in folder.glob("*.safetensors"):
        there[path.name] = SimpleNamespace(name=path.name, title=f"{path.name} [0123]", filename=str(path))


def add(webui: Any, base: Path) -> Host:
    """Give the stand-in a model, a queue and process_images; `remove` of the stand-in takes them away."""
    shared = webui.shared
    model = SimpleNamespace(
        sd_checkpoint_info=SimpleNamespace(
            name_for_extra="random", name="random.safetensors", filename=str(base / "random.safetensors")
        ),
        sd_model_hash="abc123",
        model=SimpleNamespace(diffusion_model=torch.nn.Conv2d(4, 4, 3, padding=1)),
        first_stage_model=torch.nn.Conv2d(3, 3, 3, padding=1),
    )
    shared.sd_model = model
    shared.cmd_opts.lora_dir = str(base / "Lora")
    shared.cmd_opts.api_auth = None
    shared.opts.data |= {"outdir_txt2img_samples": "", "outdir_img2img_samples": ""}
    state = shared.state
    state.begin = lambda job="": setattr(state, "job", job)
    state.end = lambda: setattr(state, "job", "")
    host = Host(shared)
    (base / "Lora").mkdir()
    made = {
        "processing": {
            "StableDiffusionProcessingTxt2Img": Txt2Img,
            "StableDiffusionProcessingImg2Img": Img2Img,
            "process_images": host.process_images,
        },
        "sd_models": {
            "checkpoints_list": {},
            "model_path": str(base / "Stable-diffusion"),
            "list_models": lambda: list_models(base / "Stable-diffusion"),
            "select_checkpoint": lambda: getattr(shared.sd_model, "sd_checkpoint_info", None),
        },
        "sd_samplers": {"visible_sampler_names": lambda: ["Euler", "Sonopaint one-step"]},
        "sd_schedulers": {"schedulers": [SimpleNamespace(name="automatic", label="Automatic")]},
        "call_queue": {"queue_lock": threading.Lock()},
        "progress": dict.fromkeys(("add_task_to_queue", "start_task", "finish_task"), lambda task: None),
        "paths": {"models_path": str(base)},
    }
    for name, values in made.items():
        module = types.ModuleType(f"modules.{name}")
        module.__dict__.update(values)
        sys.modules[f"modules.{name}"] = module
        setattr(sys.modules["modules"], name, module)
    return host
