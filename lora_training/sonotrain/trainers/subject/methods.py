"""What happens in a step: Uni-DAD, and the methods that it is compared with. They share data and networks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonotrain.trainers.one_step import matching
from sonotrain.trainers.one_step.discriminator import Heads
from sonotrain.trainers.one_step.networks import Role
from sonotrain.trainers.one_step.step import Batch, Hyperparameters, Iteration, Losses
from sonotrain.trainers.subject.data import SubjectData
from sonotrain.trainers.subject.networks import Networks, WholeNetworks
from sonotrain.trainers.subject.options import SubjectOptions
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.losses import diffused

EXTREME = 0.02  # share of the schedule at either end that distribution matching leaves out


class Method(Protocol):
    """`role` is the network that becomes the result."""

    role: Role
    optimisers: dict[str, torch.optim.Optimizer]

    def step(self, number: int) -> dict[str, Tensor]: ...

    def parts(self) -> dict[str, Any]: ...


class Shared:
    """What all methods need. Random numbers hang on the seed and the step: a resumed run goes on exactly."""

    def __init__(
        self,
        networks: Networks,
        data: SubjectData,
        options: SubjectOptions,
        alphas_cumprod: Tensor,
        device: torch.device,
        timestep: int,
    ) -> None:
        self.networks, self.data, self.options = networks, data, options
        self.alphas_cumprod = alphas_cumprod.float().to(device)
        self.device, self.timestep = device, timestep

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        o = self.options
        return torch.optim.AdamW(
            parameters, lr=o.learning_rate, betas=(o.beta1, o.beta2), weight_decay=o.weight_decay
        )

    def text(self, number: int) -> Tensor:
        """[batch, L, D]."""
        return self.data.text(number).to(self.device).expand(self.options.batch, -1, -1)

    def normal(self, generator: torch.Generator) -> Tensor:
        """Noise [batch, 4, h, w], drawn on the CPU."""
        return torch.randn((self.options.batch, *self.data.size), generator=generator).to(self.device)

    def timesteps(self, generator: torch.Generator, extreme: float = 0.0) -> Tensor:
        """[batch], uniform but for a share at either end."""
        count = len(self.alphas_cumprod)
        low, high = round(extreme * count), round((1 - extreme) * count)
        return torch.randint(low, high, (self.options.batch,), generator=generator).to(self.device)

    def clips(self, generator: torch.Generator) -> Tensor:
        return self.data.draw(self.options.batch, generator).to(self.device)

    def update(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        weights = [p for group in optimiser.param_groups for p in group["params"]]
        descend(loss, weights, optimiser, most=self.options.clip_norm)

    def autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.device)


class UniDad:
    """Algorithm 2.1: distillation and adaptation at once, with two teachers and a discriminator."""

    role: Role = "student"

    def __init__(self, shared: Shared, *, weight: float | None = None) -> None:
        """`weight`: a of eq. 2.4, where it is not the options'."""
        self.shared = shared
        options, networks = shared.options, shared.networks
        hyper = Hyperparameters(
            target_weight=options.alpha if weight is None else weight,
            ratio=options.ratio,
            guidance_scale=options.guidance,
            student_adversarial=options.lambda_student,
            critic_adversarial=options.lambda_critic,
            adversary=options.gan,  # type: ignore[arg-type]
            normaliser=options.normaliser,  # type: ignore[arg-type]
            timestep=shared.timestep,
            clip_norm=options.clip_norm,
        )
        self.heads = Heads(networks.feature_channels()).to(shared.device)
        learners = {
            "student": networks.trained("student"),
            "target": networks.trained("target"),
            "critic": [*networks.trained("fake"), *self.heads.parameters()],
        }
        self.optimisers = {name: shared.optimiser(found) for name, found in learners.items() if found}
        self.iteration = Iteration(
            Losses(networks, self.heads, shared.alphas_cumprod, hyper), self.optimisers, shared.autocast
        )

    def batch(self, number: int) -> Batch:
        """What a step sees; the source teacher alone hears the class, all others the subject."""
        shared, data = self.shared, self.shared.data
        generator = step_generator(shared.options.seed, number)
        instance = shared.text(data.instance)
        return Batch(
            seed_noise=shared.normal(generator),
            text=instance,
            prior=shared.text(data.source),
            empty=data.text(0).to(shared.device),
            real=shared.clips(generator),
            real_text=instance,
            noise=shared.normal(generator),
            real_noise=shared.normal(generator),
            timesteps=shared.timesteps(generator, EXTREME),
        )

    def step(self, number: int) -> dict[str, Tensor]:
        return self.iteration.step(number, self.batch(number), target=True)

    def parts(self) -> dict[str, Any]:
        return {**self.shared.networks.parts(), "heads": self.heads, **_optimisers(self)}


class Denoising:
    """DreamBooth's objective (eq. 1.19) on one network; without a prior weight that of a plain LoRA."""

    def __init__(self, shared: Shared, role: Role) -> None:
        self.shared, self.role = shared, role
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            role: shared.optimiser(shared.networks.trained(role))
        }

    def step(self, number: int) -> dict[str, Tensor]:
        shared, data = self.shared, self.shared.data
        generator = step_generator(shared.options.seed, number)
        told = {"loss": self._error(shared.clips(generator), data.instance, generator)}
        loss = told["loss"]
        if data.prior_latents is not None:
            chosen = torch.randint(len(data.prior_latents), (shared.options.batch,), generator=generator)
            told["prior"] = self._error(data.prior_latents[chosen].to(shared.device), data.prior, generator)
            loss = loss + shared.options.prior_weight * told["prior"]
        shared.update(self.optimisers[self.role], loss)
        return {name: value.detach() for name, value in told.items()}

    def _error(self, latents: Tensor, text: int, generator: torch.Generator) -> Tensor:
        shared = self.shared
        noise, steps = shared.normal(generator), shared.timesteps(generator)
        noisy = diffused(latents, noise, shared.alphas_cumprod[steps])
        with shared.autocast():
            predicted = shared.networks.noise(self.role, noisy, steps, shared.text(text))
        return (predicted - noise).square().mean()

    def parts(self) -> dict[str, Any]:
        return {**self.shared.networks.parts(), **_optimisers(self)}


class AdaptThenDistill:
    """DB-DMD2: the base learns the subject (DreamBooth), then the student is distilled from that teacher.

    The adapted base is the only teacher (a = 1), and what student and fake teacher begin as. A target teacher
    that was given is adapted already.
    """

    role: Role = "student"

    def __init__(self, shared: Shared) -> None:
        self.shared, self.first = shared, shared.options.adapt_steps
        self.distilling = UniDad(shared, weight=1.0)
        self.distilling.optimisers.pop("target", None)  # it learns in the first half
        self.optimisers = dict(self.distilling.optimisers)
        if self.first:
            self.adapting = Denoising(shared, "target")
            self.optimisers = {"adapting": self.adapting.optimisers["target"], **self.optimisers}

    def step(self, number: int) -> dict[str, Tensor]:
        if number < self.first:
            return self.adapting.step(number)
        if number == self.first:
            hand_over(self.shared.networks)
        return self.distilling.step(number)

    def parts(self) -> dict[str, Any]:
        return {**self.distilling.parts(), **_optimisers(self)}


@torch.no_grad()
def hand_over(networks: Networks) -> None:
    """Student and fake teacher become what the target teacher has become, so that all begin as one.

    Adapters are differences: below them the student keeps its distillation, which a run of a few hundred
    steps could not learn. A target that was given lies below theirs from the start (`adapters.ON_TARGET`).
    """
    targets = networks.trained("target")
    if isinstance(networks, WholeNetworks):
        targets = list(networks.unets["target"].parameters())
    if targets:
        for role in ("student", "fake"):
            for mine, target in zip(networks.trained(role), targets, strict=True):
                mine.copy_(target)


class Pso:
    """Pairwise sample optimisation (eq. 1.20): rather a clip than what the student paints now.

    The log-likelihood ratios are differences of ε-errors, as in Diffusion-DPO (Wallace et al. 2024,
    arXiv:2311.12908, eq. 14), at the one noise level at which the student paints.
    """

    role: Role = "student"

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.optimisers = {"student": shared.optimiser(shared.networks.trained("student"))}

    def step(self, number: int) -> dict[str, Tensor]:
        shared = self.shared
        networks, alphas = shared.networks, shared.alphas_cumprod
        generator = step_generator(shared.options.seed, number)
        text = shared.text(shared.data.instance)
        wanted, seed_noise, noise = (
            shared.clips(generator),
            shared.normal(generator),
            shared.normal(generator),
        )
        steps = torch.full((shared.options.batch,), shared.timestep, device=shared.device)
        with torch.no_grad(), shared.autocast():
            painted = networks.noise("student", seed_noise, steps, text)
        unwanted = matching.clean_from_noise(seed_noise, painted, alphas[steps])
        both = torch.cat([wanted, unwanted])
        noise, steps, text = noise.repeat(2, 1, 1, 1), steps.repeat(2), text.repeat(2, 1, 1)
        noisy = diffused(both, noise, alphas[steps])
        with shared.autocast():
            with torch.no_grad():
                reference = networks.noise("reference", noisy, steps, text)
            student = networks.noise("student", noisy, steps, text)
        errors = [(answer - noise).square().mean((1, 2, 3)) for answer in (student, reference)]
        better = errors[1] - errors[0]  # how much more likely than with the reference
        won, lost = better.chunk(2)
        margin = 0.5 * shared.options.beta * (won - lost)
        loss = -F.logsigmoid(margin).mean()
        shared.update(self.optimisers["student"], loss)
        return {"loss": loss.detach(), "margin": margin.detach().mean()}

    def parts(self) -> dict[str, Any]:
        return {**self.shared.networks.parts(), **_optimisers(self)}


def make_method(shared: Shared) -> Method:
    """The method that the options name."""
    name = shared.options.method
    if name == "uni-dad":
        return UniDad(shared)
    if name == "db-dmd2":
        return AdaptThenDistill(shared)
    if name == "pso":
        return Pso(shared)
    return Denoising(shared, "student" if name == "dmd2-db" else "target")


def _optimisers(method: Method) -> dict[str, Any]:
    return {f"optimiser-{name}": optimiser for name, optimiser in method.optimisers.items()}
