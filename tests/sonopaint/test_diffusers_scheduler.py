"""One-step models in diffusers' own pipelines paint what our sampler paints."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers.configuration_utils import FrozenDict

from sonoconvert.errors import SonopaintError
from sonopaint.models.denoiser import Denoiser
from sonopaint.models.loading import load_model
from sonopaint.models.prompt import encode_prompt
from sonopaint.models.schedule import one_step_sigma, sigmas
from sonopaint.painters.diffusers_scheduler import OneStepScheduler
from sonopaint.samplers import sample_student
from sonopaint.samplers.one_step import pure_noise, sample_one_step


def pipeline(model: Any, scheduler: Any, kind: Any = StableDiffusionPipeline) -> Any:
    made = kind(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=None,
        unet=model.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(("timestep", "prediction"), [(999, "epsilon"), (399, "v_prediction")])
def test_a_pipeline_paints_what_the_sampler_paints(tiny: Any, timestep: int, prediction: str) -> None:
    model = copy.copy(tiny)
    model.prediction_type = prediction
    ddim = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler = OneStepScheduler.from_config(ddim.config, timestep=timestep, prediction_type=prediction)
    text = encode_prompt(model, ["a dog barking", "rain"])
    noise = torch.randn(2, 4, 16, 40, generator=torch.Generator().manual_seed(3))
    calls: list[float] = []
    hook = model.unet.register_forward_pre_hook(lambda module, args: calls.append(float(args[1])))
    painted = pipeline(model, scheduler)(
        prompt_embeds=text,
        latents=noise,
        height=128,
        width=320,
        num_inference_steps=1,
        guidance_scale=1.0,
        output_type="latent",
    ).images
    assert calls == [timestep]
    x0 = sample_one_step(Denoiser(model, text), noise, one_step_sigma(model.alphas_cumprod, timestep))
    hook.remove()
    torch.testing.assert_close(painted, x0, atol=1e-3, rtol=1e-4)  # x0 is up to 15 times a float32 prediction


def test_a_few_steps_and_img2img(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = OneStepScheduler(timestep=999)
    text = encode_prompt(tiny, ["a dog barking"])
    noise = torch.randn(1, 4, 16, 40, generator=torch.Generator().manual_seed(3))
    painted = pipeline(tiny, scheduler)(
        prompt_embeds=text,
        latents=noise,
        height=128,
        width=320,
        num_inference_steps=4,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(8),
        output_type="latent",
    ).images
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    levels = sigmas(tiny.alphas_cumprod, 4)
    x0 = sample_student(
        Denoiser(tiny, text),
        pure_noise(noise, float(levels[0])),
        levels,
        generator=torch.Generator().manual_seed(8),
    )
    torch.testing.assert_close(painted, x0, atol=1e-2, rtol=1e-3)

    square = FrozenDict({**tiny.unet.config, "sample_size": 64})  # this pipeline knows no other pictures
    monkeypatch.setattr(tiny.unet, "_internal_dict", square)
    calls: list[float] = []
    hook = tiny.unet.register_forward_pre_hook(lambda module, args: calls.append(float(args[1])))
    image = torch.rand(1, 3, 128, 320, generator=torch.Generator().manual_seed(1))
    pipeline(tiny, scheduler, StableDiffusionImg2ImgPipeline)(
        prompt_embeds=text, image=image, strength=0.5, num_inference_steps=4, guidance_scale=1.0
    )
    hook.remove()
    assert calls == [499, 249]


def test_it_is_saved_and_found_again(tmp_path: Path, tiny_folder: Path) -> None:
    OneStepScheduler(timestep=399).save_pretrained(tmp_path)
    assert OneStepScheduler.from_pretrained(tmp_path).config.timestep == 399
    with pytest.raises(SonopaintError, match="timestep 1000"):
        OneStepScheduler(timestep=load_model(tiny_folder, device="cpu").alphas_cumprod.shape[0])
