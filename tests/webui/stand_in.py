"""A small stand-in for the parts of the WebUI's public API that the extension uses.

Written from the behaviour seen in AUTOMATIC1111 1.10 and Forge; nothing of their code is in it.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


class OptionInfo:
    """A setting: its default, its label and its component."""

    def __init__(
        self, default: Any = None, label: str = "", component: Any = None, component_args: Any = None,
        section: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        self.default, self.label, self.section = default, label, section
        self.component, self.component_args = component, component_args

    def info(self, text: str) -> OptionInfo:
        return self


class Options:
    """Settings by their names: those of the host, and those that were added."""

    def __init__(self, **values: Any) -> None:
        self.data_labels: dict[str, OptionInfo] = {}
        self.data: dict[str, Any] = values

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.data_labels[key] = info

    def __getattr__(self, name: str) -> Any:
        if name in self.data:
            return self.data[name]
        if name in self.data_labels:
            return self.data_labels[name].default
        raise AttributeError(name)


class Callbacks(types.ModuleType):
    """modules.script_callbacks: `called[name]` are the functions that were given to on_<name>."""

    def __init__(self) -> None:
        super().__init__("modules.script_callbacks")
        self.called: dict[str, list[Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda function, name=name[3:]: self.called.setdefault(name, []).append(function)


class Script:
    """modules.scripts.Script, as far as an always-visible script uses it."""

    tabname, is_img2img = "txt2img", False

    def __init__(self) -> None:
        self.after: dict[str, Callable[..., Any]] = {}
        self.before: dict[str, Callable[..., Any]] = {}

    def on_after_component(self, callback: Callable[..., Any], *, elem_id: str) -> None:
        self.after[elem_id] = callback

    def on_before_component(self, callback: Callable[..., Any], *, elem_id: str) -> None:
        self.before[elem_id] = callback

    def elem_id(self, item: str) -> str:
        return f"script_{self.tabname}_{item}"


class Sampler:
    """modules.sd_samplers_kdiffusion.KDiffusionSampler around `model`, which predicts x0."""

    model: Any = None

    def __init__(self, funcname: Callable[..., Any], sd_model: Any) -> None:
        self.func, self.config = funcname, None
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alphas = torch.cumprod(1 - betas, dim=0)
        self.model_wrap = SimpleNamespace(sigmas=((1 - alphas) / alphas).sqrt().float())

    def get_sigmas(self, p: Any, steps: int) -> torch.Tensor:
        raise AssertionError("these are not a student's")

    def _launch(self, p: Any, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        return self.func(
            self.model, x, extra_args={"cond_scale": p.cfg_scale}, disable=False, callback=None, sigmas=sigmas
        )

    def sample(self, p: Any, x: torch.Tensor, c: Any, uc: Any, steps: int | None = None) -> torch.Tensor:
        sigmas = self.get_sigmas(p, steps or p.steps)
        return self._launch(p, x * sigmas[0], sigmas)

    def sample_img2img(
        self, p: Any, x: torch.Tensor, noise: torch.Tensor, c: Any, uc: Any, steps: int | None = None
    ) -> torch.Tensor:
        steps, begun = setup_img2img_steps(p, steps)
        sigmas = self.get_sigmas(p, steps)[steps - begun - 1 :]
        return self._launch(p, x + noise * sigmas[0], sigmas)


def setup_img2img_steps(p: Any, steps: int | None = None) -> tuple[int, int]:
    if steps is not None:
        return int(steps / min(p.denoising_strength, 0.999)), steps - 1
    return p.steps, int(min(p.denoising_strength, 0.999) * p.steps)


SamplerData = namedtuple("SamplerData", ["name", "constructor", "aliases", "options"])


def sampler_list() -> types.ModuleType:
    """modules.sd_samplers with one sampler."""
    euler = SamplerData("Euler", None, ["k_euler"], {})
    made = module("sd_samplers", all_samplers=[euler], all_samplers_map={"Euler": euler}, samplers_map={})

    def set_samplers() -> None:
        made.samplers_map.clear()
        made.samplers_map.update({one.name.lower(): one.name for one in made.all_samplers})

    made.__dict__["set_samplers"] = set_samplers
    made.__dict__["get_sampler_and_scheduler"] = functools.cache(lambda name: made.all_samplers_map.get(name))
    return made


class AxisOption(SimpleNamespace):
    """An axis of the X/Y/Z plot."""

    def __init__(self, label: str, type: Any, apply: Any, confirm: Any = None, choices: Any = None) -> None:
        super().__init__(label=label, type=type, apply=apply, confirm=confirm, choices=choices)


def plot() -> SimpleNamespace:
    """The X/Y/Z plot as modules.scripts.scripts_data has it."""
    seed = AxisOption("Seed", int, None)
    return SimpleNamespace(module=SimpleNamespace(AxisOption=AxisOption, axis_options=[seed]))


def module(name: str, **values: Any) -> types.ModuleType:
    made = types.ModuleType(f"modules.{name}")
    made.__dict__.update(values)
    return made


@contextmanager
def input_accordion(value: bool, **options: Any) -> Iterator[Any]:
    """The host's accordion that is a checkbox too; here it is the checkbox only."""
    import gradio

    yield gradio.Checkbox(value, **options)


def install(base: Path) -> SimpleNamespace:
    """Put the stand-in into sys.modules; the answer has its modules by their names."""
    opts = Options(samples_save=True, samples_format="png", outdir_samples=str(base / "outputs"))
    state = SimpleNamespace(
        interrupted=False, skipped=False, stopping_generation=False, job="", textinfo=None
    )
    made: dict[str, types.ModuleType] = {
        "script_callbacks": Callbacks(),
        "shared": module(
            "shared",
            OptionInfo=OptionInfo,
            opts=opts,
            state=state,
            cmd_opts=SimpleNamespace(api=True),
            sd_model=None,
            demo=None,
        ),
        "errors": module("errors", exception_records=[]),
        "scripts": module("scripts", Script=Script, AlwaysVisible=object(), scripts_data=[plot()]),
        "sd_samplers": sampler_list(),
        "sd_samplers_common": module(
            "sd_samplers_common", SamplerData=SamplerData, setup_img2img_steps=setup_img2img_steps
        ),
        "sd_samplers_kdiffusion": module("sd_samplers_kdiffusion", KDiffusionSampler=Sampler),
        "ui_components": module("ui_components", InputAccordion=input_accordion),
    }
    package = types.ModuleType("modules")
    package.__path__ = []
    package.__dict__.update(made)
    sys.modules["modules"] = package
    sys.modules.update({f"modules.{name}": one for name, one in made.items()})
    return SimpleNamespace(**made)


def remove() -> None:
    """Take the stand-in, and what was imported on top of it, out of sys.modules."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("modules", "sonopaint_webui"):
            del sys.modules[name]
