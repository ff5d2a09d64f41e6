"""What tests against real hosts share: a checkpoint that all of them take for Stable Diffusion 1.5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

YAML = """
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    {linear_start: 0.00085, linear_end: 0.012, timesteps: 1000, first_stage_key: jpg, cond_stage_key: txt,
     image_size: 16, channels: 4, cond_stage_trainable: false, conditioning_key: crossattn,
     scale_factor: 0.18215, use_ema: false,
     unet_config: {target: ldm.modules.diffusionmodules.openaimodel.UNetModel, params: {
       image_size: 32, in_channels: 4, out_channels: 4, model_channels: 320, attention_resolutions: [2, 1],
       num_res_blocks: 2, channel_mult: [1, 1], num_heads: 8, use_spatial_transformer: true,
       transformer_depth: 1, context_dim: 768, use_checkpoint: false, legacy: false}},
     first_stage_config: {target: ldm.models.autoencoder.AutoencoderKL, params: {
       embed_dim: 4, monitor: val/rec_loss, lossconfig: {target: torch.nn.Identity}, ddconfig: {
         double_z: true, z_channels: 4, resolution: 256, in_channels: 3, out_ch: 3, ch: 128,
         ch_mult: [1, 2, 4, 4], num_res_blocks: 2, attn_resolutions: [], dropout: 0.0}}},
     cond_stage_config: {target: ldm.modules.encoders.modules.FrozenCLIPEmbedder}}
"""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, half a gigabyte: hosts take the text encoder's and the VAE's sizes for granted."""
    from sonoconvert.checkpoints import ldm
    from sonoconvert.checkpoints.files import write_tensors
    from sonoconvert.pictures.format import get_format
    from sonopaint.models.mini import build_mini, mini_config, stored_state_dict

    config = mini_config(49408)
    config["unet"] |= {
        "block_out_channels": [320, 320],
        "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }
    config["vae"] |= {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "norm_num_groups": 32,
    }
    config["text_encoder"] |= {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    config["text_encoder"] |= {"num_attention_heads": 12, "projection_dim": 768}
    torch.manual_seed(0)
    unet, vae, text_encoder = build_mini(config)
    # AUTOMATIC1111 divides by the texts' mean, which is 0 ÷ 0 after a LayerNorm that has learnt nothing.
    for name, tensor in text_encoder.named_parameters():
        if name.endswith("final_layer_norm.bias"):
            torch.nn.init.normal_(tensor, mean=0.2, std=0.1)
    parts = {
        ldm.UNET_PREFIX: ldm.unet_to_ldm(unet.state_dict(), config["unet"]),
        ldm.VAE_PREFIX: ldm.vae_to_ldm(vae.state_dict(), config["vae"]),
        ldm.TEXT_PREFIX: stored_state_dict(text_encoder),
    }
    tensors = {prefix + key: t.half() for prefix, part in parts.items() for key, t in part.items()}
    path = tmp_path_factory.mktemp("checkpoint") / "random-sd15.safetensors"
    small = json.dumps(get_format("sonopaint-mini").to_dict())  # training on 128 × 320 pixels is quick
    write_tensors(path, tensors, {"sonopaint.format": small})
    path.with_suffix(".yaml").write_text(YAML, encoding="utf-8")
    return path
