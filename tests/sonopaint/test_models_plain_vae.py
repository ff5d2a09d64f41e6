"""The plain VAE holds the same tensors and computes the same as diffusers' class."""

from __future__ import annotations

import pytest
import torch

from sonopaint.models.circular import circular_time
from sonopaint.models.mini import build_mini, mini_config
from sonopaint.models.plain_vae import PlainVAE


@pytest.fixture(scope="module")
def both():
    config = mini_config(520)
    config["unet"] |= {"block_out_channels": [32, 32, 64], "cross_attention_dim": 32}
    config["text_encoder"] |= {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32}
    torch.manual_seed(0)
    vae = build_mini(config)[1]
    plain = PlainVAE(config["vae"])
    plain.load_state_dict(vae.state_dict())  # strict: every name and shape is the same
    return vae, plain.eval()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("circular", [False, True])
def test_it_computes_what_diffusers_computes(both, circular):
    vae, plain = both
    image, latents = random(2, 3, 64, 128), random(2, 4, 8, 16)
    with circular_time(*(both if circular else ())):
        torch.testing.assert_close(
            plain.encode(image), vae.encode(image).latent_dist.mode(), atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(plain.decode(latents), vae.decode(latents).sample, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(plain.encode(image.roll(8, -1)), plain.encode(image).roll(1, -1), atol=1e-3)
