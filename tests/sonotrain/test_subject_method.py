"""What the methods compute: landing places on Gaussians, adapters beside whole U-Nets, who hears what."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.errors import SonopaintError
from sonopaint.models.schedule import scaled_linear_alphas_cumprod
from sonotrain.trainers.one_step.discriminator import Heads
from sonotrain.trainers.one_step.step import Batch, Hyperparameters, Losses
from sonotrain.trainers.subject.adapters import AdapterNetworks
from sonotrain.trainers.subject.data import SubjectData
from sonotrain.trainers.subject.methods import AdaptThenDistill, Denoising, Pso, Shared, UniDad, hand_over
from sonotrain.trainers.subject.networks import Weights, WholeNetworks, become, make_networks
from sonotrain.trainers.subject.options import SubjectOptions, resolve
from sonotrain.trainers.subject.watch import PATIENCE, Collapsed, Watch, spread

ALPHAS = scaled_linear_alphas_cumprod().float()
CPU = torch.device("cpu")


class Gaussians:
    """Networks whose data are normal around a mean with variance 1: their ε is known exactly.

    The student paints its mean plus the noise that it gets, so `mean["student"]` is all that it learns.
    """

    def __init__(self, source: float, target: float, start: float) -> None:
        self.mean = {"source": source, "target": target}
        self.student = nn.Parameter(torch.tensor(start))
        self.block = nn.Identity()

    def noise(self, role: str, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        alpha = ALPHAS[timesteps].view(-1, 1, 1, 1)
        if role == "student":  # x̂0 = mean + z
            return (noisy - alpha.sqrt() * (self.student + noisy)) / (1 - alpha).sqrt()
        mean = self.student.detach() if role == "fake" else self.mean[role]
        self.block(noisy)
        return (1 - alpha).sqrt() * (noisy - alpha.sqrt() * mean)  # −σ·score; the variance of x_t is 1

    def feature_blocks(self) -> list[nn.Module]:
        return [self.block]


def gaussian_batch(seed: int, count: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    noises = [torch.randn(count, 1, 4, 4, generator=generator) for _ in range(4)]
    steps = torch.randint(20, 980, (count,), generator=generator)
    text = torch.zeros(count, 1, 1)
    return Batch(noises[0], text, text, text[:1], noises[1], text, noises[2], noises[3], steps)


def losses_of(networks: Any, weight: float, **more: Any) -> Losses:
    hyper = Hyperparameters(target_weight=weight, guidance_scale=1.0, student_adversarial=0.0, **more)
    return Losses(networks, Heads([1]), ALPHAS, hyper)


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.75, 1.0])
@pytest.mark.parametrize("normaliser", ["teacher", "fake"])
def test_the_gradient_is_the_closed_form_of_gaussians(weight: float, normaliser: Any) -> None:
    networks = Gaussians(source=-2.0, target=3.0, start=0.5)
    batch = gaussian_batch(0)
    loss, _ = losses_of(networks, weight, normaliser=normaliser).student(batch, target=True)
    (found,) = torch.autograd.grad(loss, [networks.student])
    # x̂0 = E[x | x_t] = μ + √ᾱ (x_t − √ᾱ μ), so two means differ by (1 − ᾱ)(μ − μ') there
    alpha = ALPHAS[batch.timesteps].view(-1, 1, 1, 1)
    mean = networks.student.detach()
    clean = mean + batch.seed_noise
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * batch.noise
    expected = torch.zeros(())
    for share, teacher in ((1 - weight, -2.0), (weight, 3.0)):
        if normaliser == "teacher":
            guess = teacher + alpha.sqrt() * (noisy - alpha.sqrt() * teacher)
            scale = (clean - guess).abs().mean((1, 2, 3), keepdim=True)
        else:
            guess = mean + alpha.sqrt() * (noisy - alpha.sqrt() * mean)
            scale = (clean - guess).abs().mean((1, 2, 3), keepdim=True) / (1 - alpha).sqrt()
        expected = expected + share * ((1 - alpha) * (mean - teacher) / scale).expand_as(clean).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_descent_goes_to_the_teachers_and_the_weight_chooses_between_them() -> None:
    landed = {}
    for weight in (0.0, 0.5, 0.75, 1.0):
        networks = Gaussians(source=-2.0, target=2.0, start=0.3)
        optimiser = torch.optim.SGD([networks.student], lr=0.3)
        losses = losses_of(networks, weight)
        for number in range(150):
            optimiser.zero_grad()
            losses.student(gaussian_batch(number), target=True)[0].backward()
            optimiser.step()
        landed[weight] = networks.student.item()
    assert landed[0.0] == pytest.approx(-2.0, abs=0.1) and landed[1.0] == pytest.approx(2.0, abs=0.1)
    assert abs(landed[0.5]) < 0.4 and landed[0.5] + 0.2 < landed[0.75] < 2.0


def tiny_unet() -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )


def tiny_model() -> Any:
    return SimpleNamespace(unet=tiny_unet(), alphas_cumprod=ALPHAS, prediction_type="epsilon", device=CPU)


def distillation(unet: Any) -> Weights:
    generator = torch.Generator().manual_seed(5)
    modules = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Conv2d) and name.endswith("conv1"):
            down = torch.randn(3, *layer.weight.shape[1:], generator=generator) * 0.1
            up = torch.randn(layer.out_channels, 3, 1, 1, generator=generator) * 0.1
            modules[f"unet.{name}"] = LoraModule(down, up, 6.0)
    return Weights("distilled", {}, modules)


def options_for(**given: Any) -> SubjectOptions:
    values = {"rank": 3, "targets": "all", "ratio": 2, "guidance": 3.0, "learning_rate": 0.01, "steps": 4}
    return SubjectOptions(**(values | {"prior_clips": 2, "noun": "horn", "adapt_steps": 2} | given))


def tiny_data(prior: bool = False) -> SubjectData:
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(3, 5, 8, generator=generator)
    return SubjectData(
        names=["a", "b"],
        latents=torch.randn(2, 1, 4, 8, 8, generator=generator),
        captions=SimpleNamespace(embeddings=embeddings, numbers={"": 0, "a prt horn": 1, "a horn": 2}),  # type: ignore[arg-type]
        instance=1,
        prior=2,
        source=2,
        prompts=[],
        prior_latents=torch.randn(3, 4, 8, 8, generator=generator) if prior else None,
    )


def shared_by(networks: Any, options: SubjectOptions, data: SubjectData | None = None) -> Shared:
    return Shared(networks, data or tiny_data(), options, ALPHAS, CPU, 999)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_have_the_losses_and_gradients_of_whole_networks(checkpointing: bool) -> None:
    options = options_for(mode="adapters", gradient_checkpointing=checkpointing)
    model = tiny_model()
    start = distillation(model.unet)
    adapters = make_networks(model, options, start, None)
    assert isinstance(adapters, AdapterNetworks)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for role in adapters.learners:  # somewhere in the midst of training
            for parameter in adapters.trained(role):
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    whole = make_networks(tiny_model(), options_for(mode="full"), start, None)
    assert isinstance(whole, WholeNetworks)
    from sonotrain.trainers.subject.networks import become

    for role in adapters.learners:
        become(whole.unets[role], Weights(role, {}, adapters.modules(role)))
    batch = UniDad(shared_by(adapters, options)).batch(0)
    hyper = Hyperparameters(guidance_scale=3.0, student_adversarial=0.3, critic_adversarial=0.3)
    answers, gradients = [], []
    for networks in (adapters, whole):
        torch.manual_seed(2)
        heads = Heads(networks.feature_channels())
        for head in heads.heads:
            nn.init.normal_(head.weight)
        losses = Losses(networks, heads, ALPHAS, hyper)
        for role, compute in (
            ("student", lambda losses=losses: losses.student(batch, target=True)[0]),
            ("fake", lambda losses=losses: losses.critic(batch)[0]),
            ("target", lambda losses=losses: losses.target(batch)[0]),
        ):
            loss = compute()
            answers.append(loss.detach())
            for parameter in networks.trained(role):
                parameter.grad = None
            loss.backward()
            gradients.append({"role": role, "networks": networks})
            if networks is adapters:
                found = {}
                for name, layer in adapters.unet.named_modules():
                    if role in getattr(layer, "lora_B", {}):
                        found[name] = (layer.lora_A[role].weight, layer.lora_B[role].weight)
                gradients[-1]["grads"] = {
                    name: (a.detach(), b.detach(), a.grad.clone(), b.grad.clone())
                    for name, (a, b) in found.items()
                }
            else:
                gradients[-1]["grads"] = {
                    name: layer.weight.grad.clone()
                    for name, layer in whole.unets[role].named_modules()
                    if isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.grad is not None
                }
    for one, other in zip(answers[:3], answers[3:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(gradients[:3], gradients[3:], strict=True):
        assert len(one["grads"]) > 10
        for name, (a, b, of_a, of_b) in one["grads"].items():  # W = W0 + B·A, so dB = dW·Aᵀ and dA = Bᵀ·dW
            full = other["grads"][name].flatten(1)
            expected_b, expected_a = full @ a.flatten(1).T, b.flatten(1).T @ full
            torch.testing.assert_close(of_b.flatten(1), expected_b, rtol=2e-3, atol=2e-5)
            torch.testing.assert_close(of_a.flatten(1), expected_a, rtol=2e-3, atol=2e-5)


def test_the_source_teacher_alone_hears_the_class_without_the_rare_token() -> None:
    options = options_for(mode="adapters", ratio=1)
    networks = make_networks(tiny_model(), options, None, None)
    data = tiny_data()
    heard: dict[str, set[int]] = {}
    plain = networks.noise

    def spy(role: str, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        for row in text:
            same = [k for k in range(3) if torch.equal(row, data.captions.embeddings[k])]  # type: ignore[index]
            heard.setdefault(role, set()).update(same)
        return plain(role, noisy, timesteps, text)

    networks.noise = spy  # type: ignore[method-assign]
    UniDad(shared_by(networks, options, data)).step(0)
    assert heard == {"student": {1}, "fake": {1}, "source": {0, 2}, "target": {0, 1}}


@pytest.mark.parametrize("mode", ["adapters", "full"])
def test_each_method_changes_its_own_networks_only(mode: str) -> None:
    changed = {}
    for method in ("uni-dad", "dreambooth", "dmd2-db", "db-dmd2", "pso"):
        options = options_for(mode=mode, method=method)
        model = tiny_model()
        networks = make_networks(model, options, distillation(model.unet), None)
        setting = shared_by(networks, options, tiny_data(prior=True))
        made: Any = {
            "uni-dad": UniDad,
            "dreambooth": lambda s: Denoising(s, "target"),
            "dmd2-db": lambda s: Denoising(s, "student"),
            "db-dmd2": AdaptThenDistill,
            "pso": Pso,
        }[method](setting)
        state = {n: p.detach().clone() for n, p in _everything(networks).items()}
        for number in range(4):
            told = made.step(number)
            assert all(torch.isfinite(value).all() for value in told.values())
        after = _everything(networks)
        changed[method] = {name.split("|")[0] for name in state if not torch.equal(state[name], after[name])}
    assert changed["uni-dad"] == changed["db-dmd2"] == {"student", "fake", "target"}
    assert changed["dreambooth"] == {"target"} and changed["dmd2-db"] == changed["pso"] == {"student"}


def _everything(networks: Any) -> dict[str, Tensor]:
    """All weights, by the role that they belong to."""
    if isinstance(networks, WholeNetworks):
        return {f"{r}|{n}": p for r, unet in networks.unets.items() for n, p in unet.named_parameters()}
    found = {}
    for name, parameter in networks.unet.named_parameters():
        role = next((r for r in (*networks.learners, "distilled") if f".{r}." in name), "source")
        found[f"{role}|{name}"] = parameter
    return found


@pytest.mark.parametrize("mode", ["adapters", "full"])
def test_distillation_begins_with_what_the_base_has_learnt(mode: str) -> None:
    """DB-DMD2: teacher, fake teacher and student are one, but for the adapters' distillation."""
    model = tiny_model()
    networks = make_networks(model, options_for(mode=mode, method="db-dmd2"), distillation(model.unet), None)
    with torch.no_grad():
        for parameter in networks.trained("target"):
            parameter += 0.05
    before = answers(networks)
    hand_over(networks)
    after = answers(networks)
    assert torch.equal(after["target"], before["target"])
    assert (after["target"] - before["fake"]).abs().max() > 0.01
    # So the first gradient, teacher − fake teacher, pushes the student nowhere.
    torch.testing.assert_close(after["fake"], after["target"])
    apart = (after["student"] - after["target"]).abs().max()
    assert apart > 1e-4 if mode == "adapters" else apart == 0
    assert (after["student"] - before["student"]).abs().max() > 0.01


def answers(networks: Any) -> dict[str, Tensor]:
    """What each network says of one noisy picture."""
    generator = torch.Generator().manual_seed(4)
    x, text = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 5, 8, generator=generator)
    with torch.no_grad():
        roles = ("student", "fake", "target", "source")
        return {role: networks.noise(role, x, torch.tensor([400]), text) for role in roles}


@pytest.mark.parametrize("mode", ["adapters", "full"])
def test_db_dmd2_takes_a_target_that_knows_the_subject_already(mode: str) -> None:
    options = replace(options_for(mode=mode, method="db-dmd2", target="known"), adapt_steps=0)
    model, plain = tiny_model(), tiny_model()
    known = distillation(model.unet)
    networks = make_networks(model, options, None, known)
    method = AdaptThenDistill(shared_by(networks, options))
    assert set(method.optimisers) == {"student", "critic"}
    hand_over(networks)
    start = answers(networks)
    torch.testing.assert_close(start["fake"], start["target"])
    torch.testing.assert_close(start["student"], start["target"])
    become(plain.unet, known)
    torch.testing.assert_close(
        start["target"], answers(WholeNetworks({r: plain.unet for r in start}, ALPHAS))["target"]
    )
    for number in range(3):
        method.step(number)
    end = answers(networks)
    assert torch.equal(end["target"], start["target"]) and not torch.equal(end["student"], start["student"])


@pytest.mark.parametrize("method", ["dreambooth", "dmd2-db", "pso", "lora"])
def test_a_target_is_refused_where_it_means_nothing(method: str) -> None:
    with pytest.raises(SonopaintError, match=f"target is 'known.*left out with method {method}"):
        resolve({"method": method, "target": "known.safetensors"}, mini=True)
    given = {"method": "db-dmd2", "target": "known.safetensors"}
    assert resolve(given, mini=True).adapt_steps == 0


def test_full_mode_has_the_papers_numbers_for_every_method() -> None:
    """Desbos 2026, table 2.1 and section 2.9; adapters and Mini have their own."""

    def numbers(method: str, **more: Any) -> tuple[float, int, int]:
        found = resolve({"method": method, "mode": "full", **more}, mini=False)
        return found.learning_rate, found.steps, found.prior_clips

    assert numbers("uni-dad")[:2] == numbers("db-dmd2")[:2] == (5e-6, 5000)
    assert numbers("dreambooth") == numbers("dmd2-db") == (5e-6, 800, 1000)
    assert numbers("pso")[:2] == (2e-4, 800)
    assert numbers("dreambooth", mode="adapters") == (1e-4, 800, 200)
    assert resolve({"method": "pso", "mode": "full"}, mini=True).learning_rate == 1e-4


def test_a_given_target_teacher_stays_as_it_is() -> None:
    options = options_for(mode="adapters")
    model = tiny_model()
    networks = make_networks(model, options, None, distillation(model.unet))
    assert (
        networks.trained("target") == [] and "target" not in UniDad(shared_by(networks, options)).optimisers
    )
    x, steps, text = torch.randn(1, 4, 8, 8), torch.tensor([400]), torch.randn(1, 5, 8)
    with torch.no_grad():
        apart = networks.noise("target", x, steps, text) - networks.noise("source", x, steps, text)
    assert apart.abs().max() > 1e-4


def test_pso_moves_towards_the_clips_and_away_from_what_is_painted() -> None:
    options = options_for(mode="adapters", method="pso", learning_rate=0.003)
    networks = make_networks(tiny_model(), options, None, None)
    method = Pso(shared_by(networks, options))
    told = [method.step(number) for number in range(30)]
    assert told[0]["margin"] == pytest.approx(0.0, abs=1e-3)  # the student is its own reference
    assert told[-1]["loss"] < 0.5 < told[0]["loss"] and told[-1]["margin"] > 0


def test_collapse_is_noticed_and_the_state_before_it_is_kept() -> None:
    weight = nn.Parameter(torch.zeros(1))
    varied = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    shown = [varied]
    watch = Watch(lambda: shown[0], [weight])
    assert watch(0)["spread"] == pytest.approx(spread(varied))
    weight.data += 1
    watch(10)
    shown[0], weight.data = varied[:1] + 0.01 * varied, weight.data + 5
    for number in range(1, PATIENCE):
        watch(10 + 10 * number)
    kept = Watch(lambda: shown[0], [weight])
    kept.load_state_dict(watch.state_dict())  # as after a resume
    with pytest.raises(Collapsed, match=r"collapsed .* step 10, before that, is kept\.$"):
        kept(99)
    kept.restore()
    assert weight.item() == 1.0


def test_a_certain_discriminator_makes_narrow_variations_a_collapse() -> None:
    varied = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    shown = [varied]
    watch = Watch(lambda: shown[0], [])
    watch(0)
    shown[0] = 0.4 * varied
    for number in range(1, 6):
        watch(number)  # narrower, but not yet alike
    watch.margin = 3.0
    with pytest.raises(Collapsed, match="discriminator"):
        for number in range(6, 6 + PATIENCE):
            watch(number)
