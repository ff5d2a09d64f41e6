"""Other prompts for the halves of a U-Net."""

from __future__ import annotations

import math
from typing import Any

import torch
from comfy_api.latest import io

from sonopaint_comfyui.kinds import schema

HALVES = {"down": "input", "up": "output"}  # as ComfyUI calls the blocks


class BlockPrompts(io.ComfyNode):
    """MODEL whose down or up blocks read words of their own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintBlockPrompts",
            "Prompts for Blocks",
            group="sampling",
            description="Lets the U-Net's down or up blocks read other words than the sampler's positive "
            "prompt. In Sonopaint Mini the down blocks lean to when things happen, the up blocks to what "
            "it is and its colour. For Stable Diffusion 1.5 and Mini.",
            search_aliases=["block weight", "prompt per layer", "hybrid prompt", "P+", "deep shallow"],
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("down", optional=True, tooltip="Words before the bottleneck."),
                io.Conditioning.Input("up", optional=True, tooltip="Words behind the bottleneck."),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, down: Any = None, up: Any = None) -> io.NodeOutput:
        texts = {HALVES["down"]: down, HALVES["up"]: up}
        read = {half: given[0][0] for half, given in texts.items() if given}

        def attention(query: Any, key: torch.Tensor, value: Any, options: dict[str, Any]) -> Any:
            text = read.get((options.get("block") or ("",))[0])
            if text is None:
                return query, key, value
            kinds = options["cond_or_uncond"]
            length = math.lcm(text.shape[1], key.shape[1])  # text that is there twice is read as once
            text = text.to(key).repeat(1, length // text.shape[1], 1)
            parts = key.repeat(1, length // key.shape[1], 1).chunk(len(kinds))
            rows = [
                part if kind else text[:1].expand_as(part) for kind, part in zip(kinds, parts, strict=True)
            ]
            key = torch.cat(rows)
            return query, key, key

        patched = model.clone()
        patched.set_model_attn2_patch(attention)
        return io.NodeOutput(patched)


NODES = [BlockPrompts]
