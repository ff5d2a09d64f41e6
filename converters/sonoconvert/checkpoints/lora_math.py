"""LoRAs out of the difference of two models, added to each other, cut to a rank, merged into a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from sonoconvert.checkpoints.files import Stored, listed
from sonoconvert.checkpoints.lora_names import TEXT, UNET, is_known
from sonoconvert.checkpoints.nouns import LoraModule, ModelFiles
from sonoconvert.errors import SonopaintError, setting

Modules = Mapping[str, LoraModule]
_PARTS = {UNET: "unet", TEXT: "text_encoder"}


@dataclass(frozen=True)
class Extraction:
    """`kept` is the share of the difference's energy (squared) in `modules`; `left_out` names changed weights
    that no LoRA can hold (norms, biases, embeddings)."""

    modules: dict[str, LoraModule]
    kept: float
    left_out: list[str]


def extract(
    base: ModelFiles,
    tuned: ModelFiles,
    *,
    rank: int | None = None,
    energy: float | None = None,
    text: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Extraction:
    """The LoRA that leads from `base` to `tuned`: in each module the best of its rank (Eckart, Young 1936).

    Args:
        rank: at most this many; 16 where neither is given.
        energy: 0 to 1; the smallest rank that keeps this share of each module's squared difference.
        text: whether the text encoder counts too.

    Raises SonopaintError where the models differ in more than their numbers, or not at all.
    """
    if rank is None and energy is None:
        rank = 16
    _check_cut(rank, energy)
    modules: dict[str, LoraModule] = {}
    left_out = []
    total = lost = 0.0
    pairs = list(_pairs(base, tuned, [UNET, TEXT] if text else [UNET]))
    for index, (name, before, after) in enumerate(pairs):
        if before.shape != after.shape:
            raise SonopaintError(f"The two models are of different kinds: {name} has another size in each.")
        difference = after.load().float() - before.load().float()
        if not torch.isfinite(difference).all():
            raise SonopaintError(
                f"{name} holds infinite values or ones that are no numbers; nothing was made."
            )
        module, _, kind = name.rpartition(".")
        if difference.any():
            if kind == "weight" and difference.ndim in (2, 4) and is_known(module):
                modules[module] = _factors(difference, rank, energy)
                total += difference.double().square().sum().item()
                rest = difference - modules[module].change(torch.zeros_like(difference))
                lost += rest.double().square().sum().item()
            else:
                left_out.append(name)
        if progress is not None:
            progress((index + 1) / len(pairs))
    if not modules:
        raise SonopaintError("The two models have the same weights; there is no difference to extract.")
    return Extraction(modules, 1 - lost / total, left_out)


def merge(loras: Sequence[tuple[Modules, float]], *, rank: int | None = None) -> dict[str, LoraModule]:
    """The sum of LoRAs at their strengths, exact: ranks are put side by side.

    One LoRA alone only gets another alpha. `rank` cuts each module of the sum to the best of that rank.
    Raises SonopaintError where sizes differ, and for DoRA, which can't be added.
    """
    _check_cut(rank, None)
    names = dict.fromkeys(name for modules, _ in loras for name in modules)
    result = {}
    for name in names:
        found = [(modules[name], strength) for modules, strength in loras if name in modules]
        if any(module.dora_scale is not None for module, _ in found) and (len(loras) > 1 or found[0][1] != 1):
            raise SonopaintError(
                f"{name} is of a DoRA, which can't be scaled or added; merge it into a model "
                f"({setting('into')})."
            )
        if len(found) == 1:
            module, strength = found[0]
            result[name] = replace(module, alpha=module.alpha * strength)
        else:
            result[name] = _beside(name, found)
        if rank is not None and result[name].rank > rank:
            result[name] = cut(result[name], rank)
    return result


def cut(module: LoraModule, rank: int) -> LoraModule:
    """The best approximation of a module by a smaller rank. SonopaintError for NaN and infinite factors."""
    if not (torch.isfinite(module.up).all() and torch.isfinite(module.down).all()):
        raise SonopaintError(
            "The LoRA is broken: its factors hold infinite values or ones that are no numbers (NaN); get it "
            "anew."
        )
    left, r_left = torch.linalg.qr(module.up.float().flatten(1))
    right, r_right = torch.linalg.qr(module.down.float().flatten(1).T)
    u, s, vh = torch.linalg.svd(r_left @ r_right.T * (module.alpha / module.rank))
    root = s[:rank].sqrt()
    up = (left @ u[:, :rank]) * root
    down = root[:, None] * (vh[:rank] @ right.T)
    return LoraModule(
        down.reshape(-1, *module.down.shape[1:]).contiguous(),
        up.reshape(module.up.shape[0], -1, *module.up.shape[2:]).contiguous(),
        float(down.shape[0]),
        module.dora_scale,
    )


def merge_into(model: ModelFiles, loras: Sequence[tuple[Modules, float]]) -> ModelFiles:
    """A model with LoRAs at their strengths in its weights, computed in float32 when it is written.

    Raises SonopaintError at once where a LoRA was made for another model.
    """
    added: dict[str, list[tuple[LoraModule, float]]] = {}
    missing = []
    for modules, strength in loras:
        for name, module in modules.items():
            part = UNET if name.startswith(UNET) else TEXT
            stored = model.parts[_PARTS[part]].get(f"{name.removeprefix(part)}.weight")
            if stored is None:
                missing.append(name)
                continue
            size = (stored.shape[0], math.prod(stored.shape[1:]))
            if module.size != size:
                raise SonopaintError(
                    f"The LoRA was made for another model: {name} is {module.size[0]}×{module.size[1]} in it "
                    f"and {size[0]}×{size[1]} in this model."
                )
            added.setdefault(name, []).append((module, strength))
    if missing:
        raise SonopaintError(f"The LoRA was made for another model: this one has no {listed(missing)}.")
    parts = {part: dict(tensors) for part, tensors in model.parts.items()}
    for name, changes in added.items():
        part = UNET if name.startswith(UNET) else TEXT
        key = f"{name.removeprefix(part)}.weight"
        parts[_PARTS[part]][key] = _changed(parts[_PARTS[part]][key], changes)
    return replace(model, parts=parts)


def _changed(stored: Stored, changes: Sequence[tuple[LoraModule, float]]) -> Stored:
    def load() -> torch.Tensor:
        weight = stored.load()
        total = weight.float()
        for module, strength in changes:
            total = total + strength * module.change(weight)
        return total.to(weight.dtype)

    return Stored(stored.dtype, stored.shape, load)


def _beside(name: str, found: Sequence[tuple[LoraModule, float]]) -> LoraModule:
    first = found[0][0]
    for module, _ in found:
        if module.down.shape[1:] != first.down.shape[1:] or module.up.shape[0] != first.up.shape[0]:
            raise SonopaintError(
                f"The LoRAs were made for different models: {name} has another size in each."
            )
    ups = [module.up.float() * (module.alpha / module.rank * strength) for module, strength in found]
    down = torch.cat([module.down.float() for module, _ in found])
    return LoraModule(down, torch.cat(ups, dim=1), float(down.shape[0]))


def _factors(difference: torch.Tensor, rank: int | None, energy: float | None) -> LoraModule:
    u, s, vh = torch.linalg.svd(difference.flatten(1), full_matrices=False)
    count = len(s) if rank is None else min(rank, len(s))
    if energy is not None:
        share = s.double().square().cumsum(0) / s.double().square().sum()
        count = min(count, int((share < energy - 1e-12).sum()) + 1)
    root = s[: max(1, count)].sqrt()
    down = root[:, None] * vh[: len(root)]
    up = u[:, : len(root)] * root
    tail = [1] * (difference.ndim - 2)
    return LoraModule(
        down.reshape(-1, *difference.shape[1:]).contiguous(),
        up.reshape(*up.shape, *tail).contiguous(),
        float(len(root)),
    )


def _pairs(base: ModelFiles, tuned: ModelFiles, parts: Sequence[str]) -> list[tuple[str, Stored, Stored]]:
    """(house name, tensor before, tensor after) of the parts that are compared."""
    pairs = []
    for part in parts:
        before, after = base.parts[_PARTS[part]], tuned.parts[_PARTS[part]]
        other = [name for name in before.keys() ^ after.keys() if not name.endswith("position_ids")]
        if other:
            raise SonopaintError(
                f"The two models are of different kinds: only one has {listed(sorted(other))}."
            )
        pairs += [(part + name, before[name], after[name]) for name in before if name in after]
    return pairs


def _check_cut(rank: int | None, energy: float | None) -> None:
    if rank is not None and rank < 1:
        raise SonopaintError(f"The rank {rank} is less than 1.")
    if energy is not None and not 0 < energy <= 1:
        raise SonopaintError(f"The energy {energy:g} is not between 0 and 1.")
