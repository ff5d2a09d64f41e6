"""Prompts with weights, of any length.

Syntax (the WebUI's):

    (word)        attention × 1.1          ((word))      × 1.21
    [word]        attention ÷ 1.1          (word:1.3)    × 1.3
    \\( \\) \\[ \\]   the brackets themselves

Brackets nest and multiply; a bracket without a partner counts as a letter. Prompts longer than the 75 tokens
that CLIP holds are cut into chunks of 75, each encoded by itself and laid side by side. A token's weight
multiplies its embedding, after which the chunk's mean is restored, as in the WebUI.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sonopaint.models.model import Model

CHUNK = 75  # tokens between start and end
STEP = 1.1
MAX_WEIGHT = 10.0
BATCH = 16  # chunks that the text encoder takes at once
_TOKEN = re.compile(r"\\[()\[\]\\]|[()\[\]]|[^\\()\[\]]+|\\")
_WEIGHT = re.compile(r"^(.*):\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*$", re.DOTALL)


def parse_prompt(prompt: str) -> list[tuple[str, float]]:
    """[(text, weight), …] with neighbours of equal weight joined; an empty prompt gives an empty list.

    Takes time linear in the prompt's length; weights are kept within ±10.
    """
    pieces: list[str] = _TOKEN.findall(prompt)
    opened: list[int] = []
    factor = dict[int, float]()  # index of an opening bracket that has a partner → its factor
    closing = set[int]()
    for index, piece in enumerate(pieces):
        if piece in ("(", "["):
            opened.append(index)
        elif piece in (")", "]") and opened and pieces[opened[-1]] == {")": "(", "]": "["}[piece]:
            start = opened.pop()
            factor[start] = STEP if piece == ")" else 1 / STEP
            closing.add(index)
            weighted = _WEIGHT.match(pieces[index - 1]) if piece == ")" and index - 1 > start else None
            if weighted and index - 1 not in closing:
                pieces[index - 1], factor[start] = weighted[1], float(weighted[2])

    result: list[tuple[str, float]] = []
    weights = [1.0]
    for index, piece in enumerate(pieces):
        if index in factor:
            weights.append(weights[-1] * factor[index])
        elif index in closing:
            weights.pop()
        else:
            text = piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece
            result.append((text, min(max(weights[-1], -MAX_WEIGHT), MAX_WEIGHT)))
    joined: list[tuple[list[str], float]] = []
    for text, weight in result:
        if joined and joined[-1][1] == weight:
            joined[-1][0].append(text)
        else:
            joined.append(([text], weight))
    return [(text, weight) for texts, weight in joined if (text := "".join(texts))]


def encode_prompt(model: Model, prompts: list[str]) -> torch.Tensor:
    """Embeddings [B, 77·k, D] of the prompts, in the model's type and on its device.

    All get the same k: shorter prompts are filled up with empty chunks, so encode a prompt and its negative
    prompt in one call. Each row depends on its own prompt and k only.
    """
    tokens = [_tokenise(model, prompt) for prompt in prompts]
    count = max(1, *(-(-len(ids) // CHUNK) for ids, _ in tokens))
    start, end = model.tokenizer.bos_token_id, model.tokenizer.eos_token_id
    pad = model.tokenizer.pad_token_id
    rows, weights = [], []
    for ids, factors in tokens:
        for first in range(0, count * CHUNK, CHUNK):
            chunk, values = ids[first : first + CHUNK], factors[first : first + CHUNK]
            rest = CHUNK - len(chunk)
            rows.append([start, *chunk, end, *[pad] * rest])
            weights.append([1.0, *values, 1.0, *[1.0] * rest])
    device = model.device
    embeddings = _encode(model, torch.tensor(rows, device=device))
    weighted = _apply_weights(embeddings, torch.tensor(weights, device=device))
    return weighted.reshape(len(prompts), count * (CHUNK + 2), -1)


def _tokenise(model: Model, prompt: str) -> tuple[list[int], list[float]]:
    ids: list[int] = []
    weights: list[float] = []
    for text, weight in parse_prompt(prompt):
        new = model.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        ids += new
        weights += [weight] * len(new)
    return ids, weights


@torch.no_grad()
def _encode(model: Model, ids: torch.Tensor) -> torch.Tensor:
    return torch.cat([model.text_encoder(part).last_hidden_state for part in ids.split(BATCH)])


def _apply_weights(embeddings: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply embeddings [N, 77, D] with weights [N, 77] and restore each chunk's mean.

    Where the mean is too near zero to measure anything by (below 2 % of the root mean square, or it would
    change by more than a factor of two), the root mean square is restored in its place.
    """
    old = embeddings.float()
    new = old * weights[..., None]
    ratio = old.mean((1, 2)) / new.mean((1, 2))
    power = old.square().mean((1, 2))
    rms = (power / new.square().mean((1, 2)).clamp_min(1e-12)).sqrt()
    telling = (old.mean((1, 2)).abs() > 0.02 * power.sqrt()) & (ratio > 0.5) & (ratio < 2)
    ratio = torch.where(telling, ratio, rms)
    touched = (weights != 1).any(1)
    return torch.where(touched[:, None, None], new * ratio[:, None, None], old).to(embeddings)
