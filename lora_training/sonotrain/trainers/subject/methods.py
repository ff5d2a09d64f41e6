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


class Setting:
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

    def __init__(self, setting: Setting, *, weight: float | None = None) -> None:
        """`weight`: a of eq. 2.4, where it is not the options'."""
        self.setting = setting
        options, networks = setting.options, setting.networks
        hyper = Hyperparameters(
            target_weight=options.alpha if weight is None else weight,
            ratio=options.ratio,
            guidance_scale=options.guidance,
            student_adversarial=options.lambda_student,
            critic_adversarial=options.lambda_critic,
            adversary=options.gan,  # type: ignore[arg-type]
            normaliser=options.normaliser,  # type: ignore[arg-type]
            timestep=setting.timestep,
            clip_norm=options.clip_norm,
        )
        self.heads = Heads(networks.feature_channels()).to(setting.device)
        learners = {
            "student": networks.trained("student"),
            "target": networks.trained("target"),
            "critic": [*networks.trained("fake"), *self.heads.parameters()],
        }
        self.optimisers = {name: setting.optimiser(found) for name, found in learners.items() if found}
        self.iteration = Iteration(
            Losses(networks, self.heads, setting.alphas_cumprod, hyper), self.optimisers, setting.autocast
        )

    def batch(self, number: int) -> Batch:
        """What a step sees; the source teacher alone hears the class, all others the subject."""
        setting, data = self.setting, self.setting.data
        generator = step_generator(setting.options.seed, number)
        instance = setting.text(data.instance)
        return Batch(
            seed_noise=setting.normal(generator),
            text=instance,
            prior=setting.text(data.source),
            empty=data.text(0).to(setting.device),
            real=setting.clips(generator),
            real_text=instance,
            noise=setting.normal(generator),
            real_noise=setting.normal(generator),
            timesteps=setting.timesteps(generator, EXTREME),
        )

    def step(self, number: int) -> dict[str, Tensor]:
        return self.iteration.step(number, self.batch(number), target=True)

    def parts(self) -> dict[str, Any]:
        return {**self.setting.networks.parts(), "heads": self.heads, **_optimisers(self)}


class Denoising:
    """DreamBooth's objective (eq. 1.19) on one network; without a prior weight that of a plain LoRA."""

    def __init__(self, setting: Setting, role: Role) -> None:
        self.setting, self.role = setting, role
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            role: setting.optimiser(setting.networks.trained(role))
        }

    def step(self, number: int) -> dict[str, Tensor]:
        setting, data = self.setting, self.setting.data
        generator = step_generator(setting.options.seed, number)
        told = {"loss": self._error(setting.clips(generator), data.instance, generator)}
        loss = told["loss"]
        if data.prior_latents is not None:
            chosen = torch.randint(len(data.prior_latents), (setting.options.batch,), generator=generator)
            told["prior"] = self._error(data.prior_latents[chosen].to(setting.device), data.prior, generator)
            loss = loss + setting.options.prior_weight * told["prior"]
        setting.update(self.optimisers[self.role], loss)
        return {name: value.detach() for name, value in told.items()}

    def _error(self, latents: Tensor, text: int, generator: torch.Generator) -> Tensor:
        setting = self.setting
        noise, steps = setting.normal(generator), setting.timesteps(generator)
        noisy = diffused(latents, noise, setting.alphas_cumprod[steps])
        with setting.autocast():
            predicted = setting.networks.noise(self.role, noisy, steps, setting.text(text))
        return (predicted - noise).square().mean()

    def parts(self) -> dict[str, Any]:
        return {**self.setting.networks.parts(), **_optimisers(self)}


class AdaptThenDistill:
    """DB-DMD2: the base learns the subject (DreamBooth), then the student is distilled from that teacher.

    The adapted base is the only teacher (a = 1), and what student and fake teacher begin as. A target teacher
    that was given is adapted already.
    """

    role: Role = "student"

    def __init__(self, setting: Setting) -> None:
        self.setting, self.first = setting, setting.options.adapt_steps
        self.distilling = UniDad(setting, weight=1.0)
        self.distilling.optimisers.pop("target", None)  # it learns in the first half
        self.optimisers = dict(self.distilling.optimisers)
        if self.first:
            self.adapting = Denoising(setting, "target")
            self.optimisers = {"adapting": self.adapting.optimisers["target"], **self.optimisers}

    def step(self, number: int) -> dict[str, Tensor]:
        if number < self.first:
            return self.adapting.step(number)
        if number == self.first:
            hand_over(self.setting.networks)
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

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.optimisers = {"student": setting.optimiser(setting.networks.trained("student"))}

    def step(self, number: int) -> dict[str, Tensor]:
        setting = self.setting
        networks, alphas = setting.networks, setting.alphas_cumprod
        generator = step_generator(setting.options.seed, number)
        text = setting.text(setting.data.instance)
        wanted, seed_noise, noise = (
            setting.clips(generator),
            setting.normal(generator),
            setting.normal(generator),
        )
        steps = torch.full((setting.options.batch,), setting.timestep, device=setting.device)
        with torch.no_grad(), setting.autocast():
            painted = networks.noise("student", seed_noise, steps, text)
        unwanted = matching.clean_from_noise(seed_noise, painted, alphas[steps])
        both = torch.cat([wanted, unwanted])
        noise, steps, text = noise.repeat(2, 1, 1, 1), steps.repeat(2), text.repeat(2, 1, 1)
        noisy = diffused(both, noise, alphas[steps])
        with setting.autocast():
            with torch.no_grad():
                reference = networks.noise("reference", noisy, steps, text)
            student = networks.noise("student", noisy, steps, text)
        errors = [(answer - noise).square().mean((1, 2, 3)) for answer in (student, reference)]
        better = errors[1] - errors[0]  # how much more likely than with the reference
        won, lost = better.chunk(2)
        margin = 0.5 * setting.options.beta * (won - lost)
        loss = -F.logsigmoid(margin).mean()
        setting.update(self.optimisers["student"], loss)
        return {"loss": loss.detach(), "margin": margin.detach().mean()}

    def parts(self) -> dict[str, Any]:
        return {**self.setting.networks.parts(), **_optimisers(self)}


def make_method(setting: Setting) -> Method:
    """The method that the options name."""
    name = setting.options.method
    if name == "uni-dad":
        return UniDad(setting)
    if name == "db-dmd2":
        return AdaptThenDistill(setting)
    if name == "pso":
        return Pso(setting)
    return Denoising(setting, "student" if name == "dmd2-db" else "target")


def _optimisers(method: Method) -> dict[str, Any]:
    return {f"optimiser-{name}": optimiser for name, optimiser in method.optimisers.items()}
