"""One iteration of DMD2 and Uni-DAD (Desbos 2026, algorithm 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sonotrain.trainers.one_step import matching
from sonotrain.trainers.one_step.discriminator import Heads, tapped
from sonotrain.trainers.one_step.networks import Networks, Role
from sonotrain.training.losses import diffused


@dataclass(frozen=True)
class Hyperparameters:
    """The numbers of the method; the defaults are Uni-DAD's. DMD2 alone has no target teacher."""

    target_weight: float = 0.75  # a of eq. 2.4
    ratio: int = 10  # updates of the fake teacher for one of student and target teacher
    guidance_scale: float = 7.5  # in the teachers; the student has none
    student_adversarial: float = 0.001  # λ_G of eq. 2.9
    critic_adversarial: float = 0.01  # λ_D of eq. 2.10
    adversary: matching.Adversary = "hinge"
    normaliser: matching.Normaliser = "teacher"
    timestep: int = 999  # at which the student is called
    clip_norm: float = 10.0


@dataclass(frozen=True)
class Batch:
    """What one iteration sees.

    `seed_noise`: z [B, C, H, W]; `text`: c' of student, fake and target teacher and discriminator [B, L, D];
    `prior`: what the source teacher reads, the class alone in Uni-DAD; `empty`: [1, L, D] for guidance;
    `real` and `real_text`: latents of real sounds and their text; `noise` ε, `real_noise`; `timesteps` [B].
    """

    seed_noise: Tensor
    text: Tensor
    prior: Tensor
    empty: Tensor
    real: Tensor
    real_text: Tensor
    noise: Tensor
    real_noise: Tensor
    timesteps: Tensor


class Losses:
    """The losses of all networks of one iteration."""

    def __init__(
        self, networks: Networks, heads: Heads, alphas_cumprod: Tensor, hyper: Hyperparameters
    ) -> None:
        self.networks, self.heads, self.hyper = networks, heads, hyper
        self.alphas_cumprod = alphas_cumprod

    def paint(self, seed_noise: Tensor, text: Tensor) -> Tensor:
        """x = G(z, c'): one call at the student's timestep, without guidance."""
        timesteps = torch.full((len(seed_noise),), self.hyper.timestep, device=seed_noise.device)
        noise = self.networks.noise("student", seed_noise, timesteps, text)
        return matching.clean_from_noise(seed_noise, noise, self.alphas_cumprod[timesteps])

    def student(self, batch: Batch, *, target: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2.9; `target`: whether there is a target teacher (else DMD2's loss alone)."""
        hyper = self.hyper
        clean = self.paint(batch.seed_noise, batch.text)
        alpha_bar = self.alphas_cumprod[batch.timesteps]
        with torch.no_grad():
            noisy = diffused(clean, batch.noise, alpha_bar)
            fake = self._clean("fake", noisy, batch.timesteps, batch.text)

            def gradient(role: Role, text: Tensor) -> Tensor:
                teacher = self._clean(role, noisy, batch.timesteps, text, batch.empty)
                return matching.matching_gradient(clean, fake, teacher, alpha_bar, hyper.normaliser)

            weight = hyper.target_weight if target else 0.0
            source = gradient("source", batch.prior) if weight < 1.0 else torch.zeros_like(clean)
            pulled = gradient("target", batch.text) if weight > 0.0 else source
            direction = matching.dual_gradient(source, pulled, weight)
        matched = matching.matching_loss(clean, direction)
        noisy = diffused(clean, batch.noise, alpha_bar)
        with tapped(self.networks.feature_blocks(), stop=True) as features:
            self.networks.noise("fake", noisy, batch.timesteps, batch.text)
        adversarial = matching.generator_loss(self.heads(features), hyper.adversary)
        told = {"matching": direction.square().mean(), "student_gan": adversarial}
        return matched + hyper.student_adversarial * adversarial, told

    def critic(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2.10: the fake teacher learns what the student paints; its heads, what is real."""
        with torch.no_grad():
            clean = self.paint(batch.seed_noise, batch.text)
        alpha_bar = self.alphas_cumprod[batch.timesteps]
        noisy = diffused(clean, batch.noise, alpha_bar)
        blocks = self.networks.feature_blocks()
        with tapped(blocks) as features:
            predicted = self.networks.noise("fake", noisy, batch.timesteps, batch.text)
        fake = self.heads(features)
        error = (predicted - batch.noise).square().mean()  # eq. 2.5
        noisy = diffused(batch.real, batch.real_noise, alpha_bar)
        with tapped(blocks, stop=True) as features:
            self.networks.noise("fake", noisy, batch.timesteps, batch.real_text)
        real = self.heads(features)
        loss = matching.discriminator_loss(real, fake, self.hyper.adversary)
        told = {"fake": error, "critic_gan": loss, "real_logit": real.mean(), "fake_logit": fake.mean()}
        return error + self.hyper.critic_adversarial * loss, told

    def target(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2.6: the target teacher learns the few real sounds."""
        noisy = diffused(batch.real, batch.real_noise, self.alphas_cumprod[batch.timesteps])
        predicted = self.networks.noise("target", noisy, batch.timesteps, batch.real_text)
        error = (predicted - batch.real_noise).square().mean()
        return error, {"target": error}

    def _clean(
        self, role: Role, noisy: Tensor, timesteps: Tensor, text: Tensor, empty: Tensor | None = None
    ) -> Tensor:
        """x̂0 of a teacher, with guidance where `empty` is given."""
        scale = self.hyper.guidance_scale
        if empty is None or scale == 1.0:
            noise = self.networks.noise(role, noisy, timesteps, text)
        else:
            both = torch.cat([text, empty.expand_as(text)])
            answers = self.networks.noise(role, noisy.repeat(2, 1, 1, 1), timesteps.repeat(2), both)
            conditional, unconditional = answers.chunk(2)
            noise = matching.guided(conditional, unconditional, scale)
        return matching.clean_from_noise(noisy, noise, self.alphas_cumprod[timesteps])


class Iteration:
    """Critic at every step, student and target teacher at each `ratio`-th (two time scales)."""

    def __init__(
        self,
        losses: Losses,
        optimisers: dict[str, torch.optim.Optimizer],
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`optimisers`: "student", "critic" (fake teacher and heads), and "target" where it is trained."""
        self.losses, self.optimisers = losses, optimisers
        self.autocast = autocast

    def step(self, number: int, batch: Batch, *, target: bool) -> dict[str, Tensor]:
        """One iteration; the values for the log. `target`: whether there is a target teacher."""
        told: dict[str, Tensor] = {}
        if number % self.losses.hyper.ratio == 0:
            told |= self._update("student", *self._of("student", batch, target))
            if "target" in self.optimisers:
                told |= self._update("target", *self._of("target", batch, target))
        return told | self._update("critic", *self._of("critic", batch, target))

    def _of(self, name: str, batch: Batch, target: bool) -> tuple[Tensor, dict[str, Tensor]]:
        with self.autocast():
            if name == "student":
                return self.losses.student(batch, target=target)
            return self.losses.critic(batch) if name == "critic" else self.losses.target(batch)

    def _update(self, name: str, loss: Tensor, told: dict[str, Tensor]) -> dict[str, Tensor]:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.losses.hyper.clip_norm)
        optimiser.step()
        return {name: value.detach() for name, value in told.items()}
