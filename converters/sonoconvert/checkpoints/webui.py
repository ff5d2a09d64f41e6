"""Mini as AUTOMATIC1111 reads it: a checkpoint; beside it a YAML with its sizes and a folder with its words.

The WebUI's classes normalise in 32 groups, Mini's VAE in 16. With as many channels of zeros again every group
keeps its own channels, and the zeros stay zeros; so the wider VAE computes the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonoconvert.checkpoints.diffusers_texts import diffusers_texts
from sonoconvert.checkpoints.files import Stored
from sonoconvert.errors import SonopaintError, setting

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import ModelFiles

GROUPS = 32  # in all of the WebUI's classes
OUTSIDE = ("encoder.conv_in", "decoder.conv_in")  # whose input channels are the image's or the latents'
LAST = ("encoder.conv_out", "decoder.conv_out")  # whose output channels are


def wider(
    tensors: Mapping[str, Stored], config: Mapping[str, Any]
) -> tuple[dict[str, Stored], dict[str, Any]]:
    """(tensors, AutoencoderKL's arguments) of a VAE (diffusers' names) that does the same with 32 groups.

    Raises SonopaintError where 32 is no multiple of its groups.
    """
    times, rest = divmod(GROUPS, config["norm_num_groups"])
    if rest:
        raise SonopaintError(
            f"A VAE of {config['norm_num_groups']} groups can't have {GROUPS}; take Mini's own sizes."
        )
    widths = [times * width for width in config["block_out_channels"]]
    grown = {name: _grown(name, tensor, times) for name, tensor in tensors.items()}
    return grown, {**config, "block_out_channels": widths, "norm_num_groups": GROUPS}


def _grown(name: str, tensor: Stored, times: int) -> Stored:
    shape = list(tensor.shape)
    if not name.startswith(("quant_conv.", "post_quant_conv.")):  # these work on latents alone
        if not name.startswith(LAST):
            shape[0] *= times
        if len(shape) > 1 and not name.startswith(OUTSIDE):
            shape[1] *= times
    # Attention divides by the root of its width.
    scale = math.sqrt(times) if ".to_q." in name else 1.0

    def load() -> torch.Tensor:
        whole = torch.zeros(shape, dtype=tensor.dtype)
        whole[tuple(slice(size) for size in tensor.shape)] = tensor.load() * scale
        return whole

    return Stored(tensor.dtype, tuple(shape), load)


def for_webui(model: ModelFiles, path: Path) -> tuple[ModelFiles, dict[Path, str]]:
    """The model to be written as the single file `path`, and the texts that the WebUI needs beside it.

    Those are NAME.yaml and the folder NAME with the words; the YAML names the folder by its full path.
    Raises SonopaintError for other models, which need none of it.
    """
    if not model.is_mini or not model.tokenizer:
        raise SonopaintError(
            f"Only Sonopaint Mini needs a form for AUTOMATIC1111; take {setting('to')} single."
        )
    tensors, vae = wider(model.parts["vae"], model.config["vae"])
    config = model.config | {"vae": vae}
    words = path.with_suffix("")
    texts = {words / name: text for name, text in model.tokenizer.items()}
    texts[words / "config.json"] = diffusers_texts(config)["text_encoder/config.json"]
    texts[path.with_suffix(".yaml")] = yaml(config, words.resolve())
    return replace(model, parts=model.parts | {"vae": tensors}, config=config), texts


def yaml(config: Mapping[str, Any], words: Path) -> str:
    """The WebUI's description of a model whose VAE has 32 groups. (JSON, which is YAML.)"""
    unet, vae, scheduler = config["unet"], config["vae"], config["scheduler"]
    attention = [2**level for level, kind in enumerate(unet["down_block_types"]) if kind.startswith("Cross")]

    def widths(channels: list[int]) -> tuple[int, list[int]]:
        return channels[0], [width // channels[0] for width in channels]

    unet_width, unet_levels = widths(unet["block_out_channels"])
    vae_width, vae_levels = widths(vae["block_out_channels"])
    parts = {
        "unet_config": _part(
            "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            image_size=32,
            in_channels=unet["in_channels"],
            out_channels=unet["out_channels"],
            model_channels=unet_width,
            channel_mult=unet_levels,
            num_res_blocks=unet["layers_per_block"],
            attention_resolutions=attention,
            num_heads=unet["attention_head_dim"],
            context_dim=unet["cross_attention_dim"],
            use_spatial_transformer=True,
            transformer_depth=1,
            use_checkpoint=False,
            legacy=False,
        ),
        "first_stage_config": _part(
            "ldm.models.autoencoder.AutoencoderKL",
            embed_dim=vae["latent_channels"],
            monitor="val/rec_loss",
            lossconfig=_part("torch.nn.Identity"),
            ddconfig={
                "double_z": True,
                "z_channels": vae["latent_channels"],
                "resolution": 256,
                "in_channels": vae["in_channels"],
                "out_ch": vae["out_channels"],
                "ch": vae_width,
                "ch_mult": vae_levels,
                "num_res_blocks": vae["layers_per_block"],
                "attn_resolutions": [],
                "dropout": 0.0,
            },
        ),
        "cond_stage_config": _part(
            "ldm.modules.encoders.modules.FrozenCLIPEmbedder", version=words.as_posix()
        ),
    }
    whole = _part(
        "ldm.models.diffusion.ddpm.LatentDiffusion",
        linear_start=scheduler["beta_start"],
        linear_end=scheduler["beta_end"],
        timesteps=scheduler["num_train_timesteps"],
        first_stage_key="jpg",
        cond_stage_key="txt",
        image_size=32,
        channels=unet["in_channels"],
        cond_stage_trainable=False,
        conditioning_key="crossattn",
        scale_factor=vae["scaling_factor"],
        use_ema=False,
        **parts,
    )
    return json.dumps({"model": whole}, indent=1) + "\n"


def _part(target: str, **arguments: Any) -> dict[str, Any]:
    return {"target": target, "params": arguments} if arguments else {"target": target}
