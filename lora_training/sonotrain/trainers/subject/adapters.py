"""One frozen U-Net in memory; student, fake teacher and target teacher are LoRAs that are switched on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError
from sonotrain.trainers.one_step.discriminator import encoder_blocks, encoder_channels
from sonotrain.trainers.one_step.networks import as_noise
from sonotrain.training.adapter import Sizes, adapter_module, inject, lora_layers, target_modules

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

# Which adapters each network has. The distillation is frozen; without any it is the base model.
ROLES: dict[str, tuple[str, ...]] = {
    "student": ("distilled", "student"),
    "fake": ("fake",),
    "target": ("target",),
    "source": (),
    "reference": ("distilled",),
}
# Those of db-dmd2 where the target teacher is given: student and fake teacher begin as it.
ON_TARGET = ROLES | {"student": ("distilled", "target", "student"), "fake": ("target", "fake")}
Modules = Mapping[str, "LoraModule"]


class AdapterNetworks:
    """All networks of a subject run in one U-Net.

    `distilled` and `target` are LoRAs by diffusers' names ("unet.…"), both frozen: what makes the base a
    one-step student, and a teacher that knows the subject already. Without a `target` there is a trainable
    one, which begins as the base. `learners` are the roles that get a trainable adapter of `rank`; `roles`
    says which adapters each network has.
    """

    def __init__(
        self,
        unet: Any,
        alphas_cumprod: Tensor,
        prediction_type: str,
        *,
        learners: tuple[str, ...],
        rank: int,
        targets: str,
        seed: int,
        distilled: Modules | None = None,
        target: Modules | None = None,
        roles: Mapping[str, tuple[str, ...]] = ROLES,
    ) -> None:
        self.unet, self.roles = unet, roles
        self.alphas_cumprod, self.prediction_type = alphas_cumprod, prediction_type
        names = target_modules(unet, targets)  # before peft's layers are in it
        for name, modules in (("distilled", distilled), ("target", target)):
            if modules:
                insert(unet, modules, name)
        torch.manual_seed(seed)
        for name in learners:
            inject(unet, names, Sizes(rank, float(rank), rank), name)
        self.layers = [layer for _, layer in lora_layers(unet)]
        self.learners = learners
        for layer in self.layers:  # nothing learns but what is said here
            for parameter in layer.parameters():
                parameter.requires_grad_(False)
        self._parameters = {name: self._of(name) for name in learners}
        self._keep_learning()
        self.active: str | None = None

    def _of(self, adapter: str) -> list[nn.Parameter]:
        found = []
        for layer in self.layers:
            for factors in (layer.lora_A, layer.lora_B):
                if adapter in factors:
                    found.append(factors[adapter].weight)
        return found

    def _keep_learning(self) -> None:
        for parameters in self._parameters.values():
            for parameter in parameters:
                parameter.requires_grad_(True)

    def trained(self, role: str) -> list[nn.Parameter]:
        """What `role` learns."""
        return self._parameters.get(role, [])

    def unet_of(self, role: str) -> Any:
        """The U-Net, switched to a role."""
        self._activate(role)
        return self.unet

    def noise(self, role: str, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The role's ε [B, 4, h, w] of `noisy` at `timesteps` [B] with `text` [B, L, D]."""
        self._activate(role)
        answer = self.unet(noisy, timesteps, text, return_dict=False)[0].float()
        if answer.requires_grad:
            answer = _Return.apply(answer, self, role)
        return as_noise(answer, noisy, self.alphas_cumprod[timesteps], self.prediction_type)

    def feature_blocks(self) -> Sequence[nn.Module]:
        """The shared U-Net's: they are the fake teacher's while that is called."""
        return encoder_blocks(self.unet)

    def feature_channels(self) -> list[int]:
        return encoder_channels(self.unet)

    def parts(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {name: nn.ParameterList(parameters) for name, parameters in self._parameters.items()}

    def _activate(self, role: str) -> None:
        if role == self.active:
            return
        for layer in self.layers:
            layer.set_adapter(list(self.roles[role]))
        # peft freezes the adapters that are not active, and a frozen leaf gets no gradient
        self._keep_learning()
        self.active = role

    def modules(self, adapter: str) -> dict[str, Any]:
        """What an adapter holds, as sonoconvert.checkpoints.lora names it."""
        return {
            f"unet.{name}": adapter_module(layer, adapter)
            for name, layer in lora_layers(self.unet)
            if adapter in layer.lora_A
        }


class _Return(torch.autograd.Function):
    """Does nothing to a network's answer; on the way back it switches the U-Net to that network again.

    With gradient checkpointing the layers are computed a second time there, after other roles had their turn.
    """

    @staticmethod
    def forward(ctx: Any, answer: Tensor, networks: AdapterNetworks, role: str) -> Tensor:
        ctx.networks, ctx.role = networks, role
        return answer.view_as(answer)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.networks._activate(ctx.role)
        return gradient, None, None


def insert(unet: nn.Module, modules: Modules, adapter: str) -> None:
    """Puts a LoRA as it is into the U-Net, as a frozen adapter. SonopaintError where it does not fit."""
    from peft import LoraConfig, inject_adapter_in_model

    mine = {
        name.removeprefix("unet."): module for name, module in modules.items() if name.startswith("unet.")
    }
    layers = dict(unet.named_modules())
    strange = sorted(set(mine) - set(layers))
    if strange or not mine:
        raise SonopaintError(
            "The LoRA was made for another model: "
            + (f"this one has no {strange[0]}." if strange else "nothing of it is for a U-Net.")
        )
    config = LoraConfig(
        r=1,
        target_modules=list(mine),
        rank_pattern={name: module.rank for name, module in mine.items()},
        alpha_pattern={name: module.alpha for name, module in mine.items()},
    )
    unet.requires_grad_(False)
    inject_adapter_in_model(config, unet, adapter)
    found = dict(lora_layers(unet))
    with torch.no_grad():
        for name, module in mine.items():
            for weight, values in (
                (found[name].lora_A[adapter].weight, module.down),
                (found[name].lora_B[adapter].weight, module.up),
            ):
                if weight.shape != values.shape:
                    raise SonopaintError(f"The LoRA was made for another model: {name} has another size.")
                weight.copy_(values)
