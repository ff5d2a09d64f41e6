"""Wrapping along time: rolling the input rolls the output, and nothing stays behind."""

from __future__ import annotations

import pytest
import torch

from sonopaint.models.circular import circular_time
from sonopaint.models.mini import build_mini, mini_config


@pytest.fixture(scope="module")
def models():
    config = mini_config(520)
    config["unet"] |= {"block_out_channels": [32, 32, 64], "cross_attention_dim": 32}
    config["vae"] |= {"block_out_channels": [32, 32, 32, 32]}
    config["text_encoder"] |= {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32}
    torch.manual_seed(0)
    unet, vae, _ = build_mini(config)
    return unet, vae


def unet_runner(unet):
    text = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(3))
    return lambda x: unet(x, 500, text).sample


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("steps", [4, 20])
def test_rolling_the_latents_rolls_the_unets_answer(models, steps):
    run, x = unet_runner(models[0]), random(1, 4, 16, 40)
    with circular_time(models[0]):
        torch.testing.assert_close(run(x.roll(steps, -1)), run(x).roll(steps, -1), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(run(x.roll(steps, -1)), run(x).roll(steps, -1), atol=1e-3)


@torch.no_grad()
def test_rolling_rolls_the_vae_both_ways(models):
    vae, picture, latents = models[1], random(1, 3, 64, 128), random(1, 4, 8, 16)

    def encode(x):
        return vae.encode(x).latent_dist.mean

    def decode(z):
        return vae.decode(z).sample

    with circular_time(None, vae):
        torch.testing.assert_close(
            encode(picture.roll(24, -1)), encode(picture).roll(3, -1), atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            decode(latents.roll(3, -1)), decode(latents).roll(24, -1), atol=1e-4, rtol=1e-4
        )
    assert not torch.allclose(encode(picture.roll(24, -1)), encode(picture).roll(3, -1), atol=1e-3)


@torch.no_grad()
def test_frequency_does_not_wrap(models):
    run, x = unet_runner(models[0]), random(1, 4, 16, 40)
    with circular_time(models[0]):
        assert not torch.allclose(run(x.roll(4, -2)), run(x).roll(4, -2), atol=1e-3)


@torch.no_grad()
def test_everything_is_restored_even_after_an_error(models):
    unet, vae = models
    run, x = unet_runner(unet), random(1, 4, 16, 40)
    before = run(x)
    convs = [m for model in models for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    paddings = [conv.padding for conv in convs]
    with pytest.raises(RuntimeError, match="stop"), circular_time(unet, vae), circular_time(unet):
        raise RuntimeError("stop")
    assert [conv.padding for conv in convs] == paddings
    assert not any(conv._forward_pre_hooks for conv in convs)
    assert torch.equal(run(x), before)
