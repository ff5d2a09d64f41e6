"""The networks of distribution matching in their roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from sonotrain.trainers.one_step.discriminator import encoder_blocks, encoder_channels

# "reference" is the student as it was at the start, where a method compares with it.
Role = Literal["student", "fake", "source", "target", "reference"]


class Networks(Protocol):
    """Student (the product), fake teacher (knows what the student paints), source and target teachers.

    `noise` is the answer of one of them in ε, whatever the base predicts; `text` [B, L, D].
    """

    def noise(self, role: Role, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor: ...

    def trained(self, role: Role) -> list[nn.Parameter]: ...

    def feature_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the fake teacher that the discriminator looks at."""
        ...

    def feature_channels(self) -> list[int]: ...

    def parts(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        ...


class FullNetworks:
    """A U-Net for each role, as in the papers; `unets` without "target" has no target teacher.

    Roles that `frozen` names aren't trained; the source teacher never is.
    """

    def __init__(
        self,
        unets: dict[Role, Any],
        alphas_cumprod: Tensor,
        prediction_type: str = "epsilon",
        frozen: Sequence[Role] = (),
    ) -> None:
        self.unets = unets
        self.alphas_cumprod = alphas_cumprod
        self.prediction_type = prediction_type
        self.frozen = {"source", *frozen}
        for role, unet in unets.items():
            unet.requires_grad_(role not in self.frozen)
            unet.train(role not in self.frozen)

    def noise(self, role: Role, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        answer = self.unets[role](noisy, timesteps, text, return_dict=False)[0].float()
        return as_noise(answer, noisy, self.alphas_cumprod[timesteps], self.prediction_type)

    def trained(self, role: Role) -> list[nn.Parameter]:
        return [p for p in self.unets[role].parameters() if p.requires_grad] if role in self.unets else []

    def feature_blocks(self) -> Sequence[nn.Module]:
        return encoder_blocks(self.unets["fake"])

    def feature_channels(self) -> list[int]:
        return encoder_channels(self.unets["fake"])

    def parts(self) -> dict[str, Any]:
        return {role: unet for role, unet in self.unets.items() if role not in self.frozen}


def as_noise(answer: Tensor, noisy: Tensor, alpha_bar: Tensor, prediction_type: str) -> Tensor:
    """A network's answer in ε; v = √ᾱ·ε − √(1 − ᾱ)·x (Salimans & Ho 2022, arXiv:2202.00512, appendix D)."""
    if prediction_type == "epsilon":
        return answer
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    if prediction_type == "v_prediction":
        return alpha_bar.sqrt() * answer + (1.0 - alpha_bar).sqrt() * noisy
    return (noisy - alpha_bar.sqrt() * answer) / (1.0 - alpha_bar).sqrt()  # "sample": x0 itself
