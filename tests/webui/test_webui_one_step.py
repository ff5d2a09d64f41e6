"""The sampler "Sonopaint one-step" in the stand-in's list: one call, no CFG, students only."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sonoconvert.checkpoints.files import write_tensors

HERE = Path(__file__).resolve().parent
NAME = "Sonopaint one-step"


@pytest.fixture
def painting(webui: Any, tmp_path: Path) -> Any:
    """The stand-in with a model and a LoRA `horn` that is a student; the list of samplers is its own."""
    samplers = webui.sd_samplers
    spec = importlib.util.spec_from_file_location("webui_painting", HERE / "painting.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    loaded.add(webui, tmp_path)
    import sys

    sys.modules["modules"].sd_samplers = sys.modules["modules.sd_samplers"] = samplers
    header = {"sonopaint.one_step": '{"timestep": 399}'}
    write_tensors(tmp_path / "Lora/horn.safetensors", {"x": torch.zeros(1)}, header)
    write_tensors(tmp_path / "random.safetensors", {"x": torch.zeros(1)}, {})
    webui.script_callbacks.called["before_ui"][0]()
    return webui


class Request(SimpleNamespace):
    def __init__(self, **values: Any) -> None:
        general = {
            "all_prompts": ["a <lora:horn:1>"], "prompt": "a", "steps": 20, "cfg_scale": 7.0,
            "seeds": [1, 2], "denoising_strength": 0.75,
        }  # fmt: skip
        super().__init__(said=[], **{**general, **values})

    def comment(self, text: str) -> None:
        self.said.append(text)


class Model:
    """Predicts x0 = x / 2 and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[torch.Tensor, torch.Tensor, float]] = []

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, cond_scale: float) -> torch.Tensor:
        self.asked.append((x, sigma, cond_scale))
        return x / 2


def sampler(webui: Any) -> tuple[Any, Model]:
    made = webui.sd_samplers.all_samplers_map[NAME].constructor(None)
    made.model = Model()
    return made, made.model


def test_it_is_in_the_list_and_leaves_it_as_it_was(painting: Any) -> None:
    samplers = painting.sd_samplers
    assert [one.name for one in samplers.all_samplers] == ["Euler", NAME]
    assert samplers.samplers_map[NAME.lower()] == NAME
    painting.script_callbacks.called["before_ui"][0]()  # a second reload
    assert [one.name for one in samplers.all_samplers] == ["Euler", NAME]
    assert samplers.get_sampler_and_scheduler(NAME) is not None
    painting.script_callbacks.called["script_unloaded"][0]()
    assert [one.name for one in samplers.all_samplers] == ["Euler"]
    assert NAME not in samplers.all_samplers_map and NAME.lower() not in samplers.samplers_map
    assert samplers.get_sampler_and_scheduler(NAME) is None


def test_one_call_at_the_students_timestep_from_pure_noise_without_cfg(painting: Any) -> None:
    made, model = sampler(painting)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    p = Request()
    x0 = made.sample(p, noise, None, None)
    [(x, sigma, scale)] = model.asked
    assert torch.allclose(sigma, made.model_wrap.sigmas[399].expand(2)) and scale == 1.0
    # What the network sees after its scaling is the noise itself, not noise · σ.
    torch.testing.assert_close(x / (1 + sigma[0] ** 2) ** 0.5, noise)
    torch.testing.assert_close(x0, x / 2)
    assert (p.steps, p.cfg_scale) == (1, 1.0)
    assert "not used: 20 steps, CFG 7" in p.said[0]


def test_img2img_takes_a_few_calls_from_the_picture(painting: Any) -> None:
    made, model = sampler(painting)
    x, noise = torch.ones(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    p = Request(denoising_strength=0.5)
    made.sample_img2img(p, x, noise, None, None)
    levels = [float(sigma[0]) for _, sigma, _ in model.asked]
    assert len(levels) == 2 and levels == sorted(levels, reverse=True)  # 4 steps at half the strength
    assert levels[0] < float(made.model_wrap.sigmas[399])
    torch.testing.assert_close(model.asked[0][0], x)
    assert p.steps == 4


def test_items_do_not_depend_on_their_neighbours(painting: Any) -> None:
    x, noise = torch.ones(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    both = sampler(painting)[0].sample_img2img(Request(), x, noise, None, None)
    second = sampler(painting)[0].sample_img2img(Request(seeds=[2]), x[1:], noise[1:], None, None)
    torch.testing.assert_close(both[1:], second)


def test_others_than_students_are_refused_with_the_remedy(painting: Any) -> None:
    made, model = sampler(painting)
    with pytest.raises(ValueError, match="random.safetensors needs many steps.*20 steps") as caught:
        made.sample(Request(all_prompts=["a"]), torch.zeros(1, 4, 8, 8), None, None)
    # The WebUI's API answers with these.
    assert caught.value.status_code == 422 and caught.value.detail == str(caught.value)  # type: ignore[attr-defined]
    assert not model.asked
