"""The document's ladder (§ 3.1): swiss roll with all formalisms, 40 classes, digits, U-Nets; closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, make_swiss_roll
from torch import Tensor, nn
from torch.nn import functional as F

from sonopaint.models.jingles.formalisms import Ddpm, DiscDpm, Edm, Formalism
from sonopaint.models.jingles.network import JingleUNet
from sonopaint.samplers import ddpm, edm, multinomial
from sonotrain.trainers.jingles.objectives import ddpm_loss, discdpm_loss, edm_loss, loss_of


class Points(nn.Module):
    """The document's MLP: four layers, 128 wide. x [B, 2], time [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 32, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2),
        )  # fmt: skip

    def forward(self, x: Tensor, time: Tensor, curves: Any = None, facts: Any = None) -> Tensor:
        angles = time[:, None] * torch.exp(torch.linspace(0, math.log(60), 16))
        return self.layers(torch.cat([x, angles.sin(), angles.cos()], 1))


def swiss_roll(count: int, scale: float, seed: int = 0) -> Tensor:
    """[count, 2], of standard deviation `scale`."""
    points = torch.from_numpy(make_swiss_roll(count, noise=0.3, random_state=seed)[0][:, [0, 2]]).float()
    return (points - points.mean(0)) / points.std() * scale


def trained(formalism: Formalism, network: nn.Module, data: Tensor, steps: int, batch: int = 256) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        chosen = data[torch.randint(len(data), (batch,), generator=generator)]
        optimiser.zero_grad()
        loss_of(formalism, network, chosen, generator).mean().backward()
        optimiser.step()
        schedule.step()


def to_roll(made: Tensor, real: Tensor) -> float:
    """Mean distance of what was made to the nearest real point, in deviations of the data."""
    return float(torch.cdist(made, real).amin(1).mean() / real.std())


def covered(made: Tensor, real: Tensor) -> float:
    """Share of real points that have something made near them."""
    return float((torch.cdist(real, made).amin(1) < 0.25 * real.std()).float().mean())


# --- closed forms -----------------------------------------------------------------------------------------


def test_preconditioning_is_that_of_table_1() -> None:
    sigma = torch.tensor([0.002, 0.5, 1.0, 80.0], dtype=torch.float64)
    skip, out, scale, noise = edm.coefficients(sigma)
    assert torch.allclose(skip, 0.25 / (sigma**2 + 0.25))
    assert torch.allclose(out, sigma * 0.5 / (sigma**2 + 0.25).sqrt())
    assert torch.allclose(scale, 1 / (sigma**2 + 0.25).sqrt())
    assert torch.allclose(noise, sigma.log() / 4)
    assert torch.allclose(edm.loss_weight(sigma) * out**2, torch.ones_like(sigma))
    # At σ = σ_data the skip is a half, and both input and target have variance 1.
    assert float(skip[1]) == pytest.approx(0.5)
    generator = torch.Generator().manual_seed(0)
    data = 0.5 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    for s, k, o, i in zip(sigma, skip, out, scale, strict=True):
        x = data + s * torch.randn(data.shape, generator=generator, dtype=torch.float64)
        assert float((i * x).std()) == pytest.approx(1, abs=0.01)
        assert float(((data - k * x) / o).std()) == pytest.approx(1, abs=0.01)


def test_the_noise_levels_are_the_document_s() -> None:
    told = [80, 57.586, 40.786, 28.375, 19.353, 12.910, 8.401, 5.315, 3.257, 1.923, 1.088, 0.585, 0.296,
            0.140, 0.060, 0.023, 0.0075, 0.002, 0]  # fmt: skip
    assert edm.EdmSettings().sigmas().tolist() == pytest.approx(told, rel=0.01, abs=5e-4)


def ideal(x: Tensor, sigma: float, deviation: float = 0.5) -> Tensor:
    """The best denoiser of N(0, deviation²)."""
    return x * deviation**2 / (deviation**2 + sigma**2)


def test_edm_takes_noise_to_the_data_s_gaussian() -> None:
    noise = torch.randn(2000, 3, generator=torch.Generator().manual_seed(1))
    calls: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return ideal(x, sigma)

    made = edm.sample_edm(denoise, noise)
    assert len(calls) == 35
    # The flow of a Gaussian is a scaling: x_0 = x_T · σ_data / √(σ_data² + σ_max²).
    exact = noise * 80 * 0.5 / math.hypot(0.5, 80)
    assert torch.allclose(made, exact, rtol=0.06)
    finer = edm.sample_edm(denoise, noise, edm.EdmSettings(steps=72))
    assert torch.allclose(finer, exact, rtol=0.06 / 12)  # second order: a sixteenth of the error
    assert torch.equal(made, edm.sample_edm(ideal, noise))  # deterministic without being told a seed


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 90}, {"sigma_min": 0.02}, {"sigma_max": 40.0}, {"rho": 5.0}, {"s_churn": 10.0},
        {"s_churn": 10.0, "s_min": 0.05}, {"s_churn": 10.0, "s_max": 50.0},
        {"s_churn": 10.0, "s_noise": 1.003},
    ],
)  # fmt: skip
def test_each_of_the_eight_settings_counts(given: dict[str, float]) -> None:
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(1))

    def made(**values: float) -> Tensor:
        settings = edm.EdmSettings(**{"steps": 72, **values})  # type: ignore[arg-type]
        return edm.sample_edm(ideal, noise, settings, generator=torch.Generator().manual_seed(2))

    plain, changed = made(**{"s_churn": given["s_churn"]} if len(given) > 1 else {}), made(**given)
    assert not torch.equal(changed, plain)
    assert float(changed.std()) == pytest.approx(0.5, rel=0.05)


def test_ddpm_takes_noise_to_the_data_s_gaussian() -> None:
    """With the ideal ε̂ of N(0, ½²) the chain ends there; the marginals are equation 4."""
    betas = ddpm.linear_betas()
    assert float(betas[0]) == pytest.approx(1e-4) and float(betas[-1]) == pytest.approx(0.02)
    bars = ddpm.alphas_bar(betas)

    def predict(x: Tensor, t: int) -> Tensor:
        bar = float(bars[t - 1])
        return x * (1 - bar) ** 0.5 / (bar * 0.25 + 1 - bar)

    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    made = ddpm.sample_ddpm(predict, noise, betas, generator=torch.Generator().manual_seed(1))
    assert float(made.std()) == pytest.approx(0.5, rel=0.02)
    x0, eps = torch.randn(50_000, 1), torch.randn(50_000, 1)
    noisy = ddpm.diffused(x0, eps, bars[[499]].expand(50_000))
    assert float((noisy * x0).mean()) == pytest.approx(float(bars[499]) ** 0.5, abs=0.02)


def test_the_posterior_of_categories_is_bayes_rule() -> None:
    """Against the full joint distribution of x_{t−1}, computed from the two kernels."""
    classes, alpha, before = 5, 0.8, 0.6
    kernel = alpha * torch.eye(classes) + (1 - alpha) / classes  # q(x_t | x_{t−1}), [from, to]
    start = before * torch.eye(classes) + (1 - before) / classes  # q(x_{t−1} | x_0)
    for x0 in range(classes):
        for x in range(classes):
            joint = start[x0] * kernel[:, x]
            one_hot = F.one_hot(torch.tensor([x0]), classes).float()
            found = multinomial.posterior(torch.tensor([x]), one_hot, alpha, before)[0]
            assert torch.allclose(found, joint / joint.sum(), atol=1e-6)
    # The kernels compose: q(x_t | x_0) with ᾱ_t = α_t ᾱ_{t−1}.
    both = start @ kernel
    assert torch.allclose(both, alpha * before * torch.eye(classes) + (1 - alpha * before) / classes)


def test_multinomial_loss_is_zero_for_who_knows_and_its_draws_follow_the_probabilities() -> None:
    formalism = DiscDpm(classes=4, steps=20)
    x0 = torch.randint(4, (64, 2, 3), generator=torch.Generator().manual_seed(0))

    def knows(x: Tensor, *_: Any) -> Tensor:
        return F.one_hot(x0, 4).float()

    def guesses(x: Tensor, *_: Any) -> Tensor:
        return torch.full((*x.shape, 4), 0.25)

    generator = torch.Generator().manual_seed(1)
    assert float(discdpm_loss(formalism, knows, x0, generator).abs().max()) < 1e-6
    assert float(discdpm_loss(formalism, guesses, x0, generator).mean()) > 0.02
    told = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(40_000, 4)
    drawn = multinomial.draw(told, generator).bincount(minlength=4) / 40_000
    assert torch.allclose(drawn, told[0], atol=0.01)
    made = multinomial.sample_multinomial(
        lambda x, t: knows(x), torch.zeros_like(x0), multinomial.cosine_alphas(20), generator=generator
    )
    assert torch.equal(made, x0)


def test_losses_are_one_for_who_says_nothing() -> None:
    """Of data at its scale: ε has variance 1, and EDM's effective target too, at every σ."""
    generator = torch.Generator().manual_seed(0)

    def silent(x: Tensor, *_: Any) -> Tensor:
        return torch.zeros_like(x)

    for formalism, loss in ((Ddpm(), ddpm_loss), (Edm(), edm_loss)):
        data = formalism.scale * torch.randn(256, 4, 32, generator=generator)
        assert float(loss(formalism, silent, data, generator).mean()) == pytest.approx(1, abs=0.03)  # type: ignore[operator]


# --- networks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({"dims": 1, "channels": 6}, (2, 6, 37)),
        ({"dims": 1, "channels": 6, "patch": 2, "blocks": 2}, (2, 6, 37)),
        ({"dims": 2, "channels": 2, "patch": 4}, (2, 2, 27, 41)),
        ({"dims": 2, "channels": 2, "controls": 3, "global_size": 5}, (2, 2, 12, 19)),
        ({"dims": 1, "channels": 4, "up_multipliers": (4, 2, 1), "out_channels": 80}, (2, 4, 16)),
    ],
)
def test_networks_keep_shapes_and_pass_gradients(config: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = JingleUNet(width=8, control_channels=8, **config)
    nn.init.normal_(network.head.weight, std=0.1)  # type: ignore[arg-type]
    curves = torch.rand(2, 3, shape[-1]) if "controls" in config else None
    facts = torch.rand(2, 5) if "global_size" in config else None
    said = network(torch.randn(shape), torch.rand(2), curves, facts)
    assert said.shape == (2, config.get("out_channels", shape[1]), *shape[2:])
    said.square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None]
    assert not dead


def test_curves_and_facts_reach_the_output_where_and_when_they_change() -> None:
    torch.manual_seed(0)
    network = JingleUNet(1, 4, width=16, controls=2, control_channels=8, global_size=3)
    for parameter in network.parameters():
        if parameter.ndim == 3:
            nn.init.normal_(parameter, std=0.2)
    x, time = torch.randn(1, 4, 64), torch.tensor([0.3])
    curves, facts = torch.rand(1, 2, 64), torch.rand(1, 3)
    with torch.no_grad():
        plain = network(x, time, curves, facts)
        moved = curves.clone()
        moved[..., 40:44] += 1
        change = (network(x, time, moved, facts) - plain).abs().mean((0, 1))
        assert change[36:48].mean() > 3 * change[:16].mean()
        assert not torch.allclose(network(x, time, curves, 1 - facts), plain)
        free = torch.full_like(curves, -1.0)
        assert torch.equal(network(x, time, None, facts), network(x, time, free, facts))


# --- trainings --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_edm_learns_the_swiss_roll() -> None:
    torch.manual_seed(0)
    formalism, network = Edm(), Points()
    data = swiss_roll(4000, formalism.scale)
    trained(formalism, network, data, 3000)
    made = formalism.sample(network, (500, 2), generator=torch.Generator().manual_seed(3))
    noise = formalism.scale * torch.randn(500, 2, generator=torch.Generator().manual_seed(4))
    assert to_roll(made, data) < 0.25 * to_roll(noise, data)
    assert covered(made, data) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_ddpm_learns_the_swiss_roll(kind: str) -> None:
    torch.manual_seed(0)
    formalism = Ddpm(200)
    unet = JingleUNet(1, 1, width=32, multipliers=(1, 2), blocks=1)
    network: nn.Module = Points() if kind == "mlp" else unet
    data = swiss_roll(4000, formalism.scale)
    shaped = data if kind == "mlp" else data[:, None]
    trained(formalism, network, shaped, 12_000 if kind == "mlp" else 1500)
    made = formalism.sample(network, (500, *shaped.shape[1:]), generator=torch.Generator().manual_seed(3))
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(4))
    assert to_roll(made.reshape(-1, 2), data) < 0.35 * to_roll(noise, data)
    assert covered(made.reshape(-1, 2), data) > 0.8


class Codes(nn.Module):
    """Two codes of 40 classes, each known by one hot number. x int64 [B, 2, 1], time [B] → [B, 2, 1, 40]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(80 + 32, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 80),
        )  # fmt: skip

    def forward(self, x: Tensor, time: Tensor, curves: Any = None, facts: Any = None) -> Tensor:
        angles = time[:, None] * torch.exp(torch.linspace(0, math.log(60), 16))
        known = F.one_hot(x[..., 0], 40).flatten(1).float()
        said = self.layers(torch.cat([known, angles.sin(), angles.cos()], 1))
        return said.reshape(len(x), 2, 1, 40).softmax(-1)


def coded_roll() -> Tensor:
    """The roll in two codes of 40 classes (§ 3.1), int64 [6000, 2, 1]."""
    data = swiss_roll(6000, 1.0)
    low, high = data.amin(0), data.amax(0)
    return ((data - low) / (high - low) * 39.999).long()[..., None]


def ideal_codes(formalism: DiscDpm, codes: Tensor) -> Any:
    """Who knows all of the data: p(x_0 | x_t) of each code by Bayes' rule."""
    bars = multinomial.cosine_alphas(formalism.steps).cumprod(0)
    one_hot = F.one_hot(codes[..., 0], 40).float()

    def says(x: Tensor, time: Tensor, *_: Any) -> Tensor:
        kept = float(bars[round(float(time[0]) * formalism.steps) - 1])
        same = x[:, None, :, 0] == codes[None, ..., 0]
        likely = torch.where(same, kept + (1 - kept) / 40, (1 - kept) / 40).prod(-1)
        return torch.einsum("bn,nik->bik", likely / likely.sum(1, keepdim=True), one_hot)[:, :, None]

    return says


def codes_to_roll(formalism: DiscDpm, network: Any, codes: Tensor) -> tuple[float, float]:
    """(how far off the roll what it makes is, as share of noise's; how much of the roll it covers)."""
    made = formalism.sample(network, (600, 2, 1), generator=torch.Generator().manual_seed(3))
    real, found = codes[..., 0].float(), made[..., 0].float()
    noise = torch.randint(40, (600, 2), generator=torch.Generator().manual_seed(4)).float()
    return to_roll(found, real) / to_roll(noise, real), covered(found, real)


def test_discdpm_makes_the_swiss_roll_in_40_classes_for_who_knows_it() -> None:
    """Codes are drawn each by itself in every step, so that even then a quarter of noise's distance stays."""
    formalism, codes = DiscDpm(classes=40, steps=50), coded_roll()
    off, share = codes_to_roll(formalism, ideal_codes(formalism, codes), codes)
    assert off < 0.28 and share > 0.95


@pytest.mark.slow
def test_discdpm_learns_the_swiss_roll_in_40_classes() -> None:
    """Up to the best that can be, of the test above: at most twice as far off, and all of the roll."""
    torch.manual_seed(0)
    formalism, codes, network = DiscDpm(classes=40, steps=50), coded_roll(), Codes()
    trained(formalism, network, codes, 1500, batch=512)
    off, share = codes_to_roll(formalism, network, codes)
    best, _ = codes_to_roll(formalism, ideal_codes(formalism, codes), codes)
    assert off < 2 * best and share > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("formalism", [Ddpm(200), Edm()], ids=["ddpm", "edm"])
def test_a_cnn_learns_digits(formalism: Formalism) -> None:
    """A classifier of the ten digits is sure of what was made, and nearly all ten are made."""
    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.from_numpy(digits.images).float()[:, None] / 16
    mean, deviation = pictures.mean(), pictures.std()
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.Adam(judge.parameters(), 1e-3)
    truth = torch.from_numpy(digits.target)
    for _ in range(600):
        optimiser.zero_grad()
        F.cross_entropy(judge(pictures + 0.1 * torch.randn_like(pictures)), truth).backward()
        optimiser.step()
    network = JingleUNet(2, 1, width=16, multipliers=(1, 2))
    trained(formalism, network, (pictures - mean) / deviation * formalism.scale, 1000, 64)
    made = formalism.sample(network, (100, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        said = judge(made / formalism.scale * deviation + mean).softmax(1)
        random = judge(torch.randn(100, 1, 8, 8) * deviation + mean).softmax(1)
    assert float(said.amax(1).mean()) > max(0.85, float(random.amax(1).mean()))
    assert len(said.argmax(1).unique()) >= 8
