"""The model that a run trains on top of: loaded, described, and in half precision where that is wanted."""

from __future__ import annotations

from typing import Any

import torch

from sonoconvert.files.hashes import sha256_of


def load_base(name: str, device: torch.device, format: str = "") -> tuple[Any, dict[str, str]]:
    """(the engine's Model in fp32, {"kind", "name", "sha256"}); `format`: where its file does not say."""
    from sonopaint.models.info import describe, unet_file
    from sonopaint.models.loading import load_model

    model = load_model(name, device=device, dtype=torch.float32, format=format or None)
    kind = describe(model.path).kind
    return model, {"kind": kind, "name": model.name, "sha256": sha256_of(unet_file(model.path))}


def to_half(model: Any) -> None:
    """All its networks in bf16, or fp16 where the graphics card has no bf16."""
    model.dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    for part in (model.unet, model.vae, model.text_encoder):
        torch.nn.Module.to(part, model.dtype)  # as load_model does


def plain_attention(*unets: Any) -> None:
    """Attention that is quick backwards on a processor, where torch's fused one is slow."""
    from diffusers.models.attention_processor import AttnProcessor

    for unet in unets:
        unet.set_attn_processor(AttnProcessor())
