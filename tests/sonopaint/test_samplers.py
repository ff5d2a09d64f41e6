"""Samplers against diffusers' schedulers, against an exact solution, and under a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from sonoconvert.errors import Cancelled, SonopaintError
from sonopaint.models.denoiser import Denoiser
from sonopaint.models.schedule import scaled_linear_alphas_cumprod, sigma_to_timestep, sigmas, training_sigmas
from sonopaint.samplers import SAMPLERS
from sonopaint.samplers.common import noise_like
from sonopaint.samplers.schedule import karras

SHAPE = (2, 4, 6, 10)
ALPHAS = scaled_linear_alphas_cumprod()
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DATA_MEAN, DATA_STD = 0.4, 0.7
STOCHASTIC = {"euler_ancestral", "dpmpp_2m_sde", "lcm", "one_step"}


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact denoiser of independent Gaussian data."""
    gain = DATA_STD**2 / (DATA_STD**2 + sigma**2)
    return DATA_MEAN + gain * (x - DATA_MEAN)


def wavy(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Some smooth, non-linear stand-in for a network."""
    return torch.tanh(x / (1 + sigma**2) ** 0.5) * 0.8 + 0.1 * math.cos(sigma)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run_diffusers(scheduler, timesteps: int, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Drive a scheduler of diffusers with `wavy` as an ε-predicting network. x is noise of variance one."""
    scheduler.set_timesteps(timesteps)
    x = x * scheduler.init_noise_sigma
    levels = training_sigmas(ALPHAS)
    generator = torch.Generator().manual_seed(seed)
    for t in scheduler.timesteps:
        sigma = levels[int(t)].item()
        model_input = scheduler.scale_model_input(x, t)  # variance preserving
        exploding = model_input * (1 + sigma**2) ** 0.5
        epsilon = (exploding - wavy(exploding, sigma)) / sigma
        try:
            x = scheduler.step(epsilon, t, x, generator=generator, return_dict=False)[0]
        except TypeError:  # some take no generator
            x = scheduler.step(epsilon, t, x, return_dict=False)[0]
    return x


def schedule_of(scheduler, steps: int) -> torch.Tensor:
    """Our sigmas at the timesteps that a scheduler of diffusers visits (each once)."""
    scheduler.set_timesteps(steps)
    visited = list(dict.fromkeys(int(t) for t in scheduler.timesteps))
    return torch.cat([training_sigmas(ALPHAS)[visited], torch.zeros(1, dtype=torch.float64)])


def test_euler_agrees_with_diffusers():
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(**SD, timestep_spacing="trailing")
    ours = SAMPLERS["euler"](wavy, noise(0) * 14.6146, sigmas(ALPHAS, 12))
    scheduler.set_timesteps(12)
    theirs = run_diffusers(scheduler, 12, noise(0) * 14.6146 / scheduler.init_noise_sigma)
    torch.testing.assert_close(ours, theirs.double(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_agrees_with_diffusers(eta):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")
    levels = schedule_of(scheduler, 10)
    torch.testing.assert_close(levels, sigmas(ALPHAS, 10))
    start = noise(1).float()  # in float64 the two would draw different noise
    x = start * (1 + levels[0] ** 2) ** 0.5  # from variance preserving to exploding
    ours = SAMPLERS["ddim"](wavy, x, levels, eta=eta, generator=torch.Generator().manual_seed(7))
    step = scheduler.step
    scheduler.step = lambda *args, **kwargs: step(*args, eta=eta, **kwargs)
    theirs = run_diffusers(scheduler, 10, start, seed=7)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_heun_agrees_with_diffusers():
    from diffusers import HeunDiscreteScheduler

    scheduler = HeunDiscreteScheduler(**SD, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    start = noise(2) * 14.6146
    ours = SAMPLERS["heun"](wavy, start, sigmas(ALPHAS, 10))
    theirs = run_diffusers(scheduler, 10, start / scheduler.init_noise_sigma)
    torch.testing.assert_close(ours, theirs.double(), atol=3e-3, rtol=3e-3)


def test_euler_ancestral_agrees_with_diffusers():
    from diffusers import EulerAncestralDiscreteScheduler

    scheduler = EulerAncestralDiscreteScheduler(**SD, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    start = noise(6).float() * 14.6146
    ours = SAMPLERS["euler_ancestral"](
        wavy, start, sigmas(ALPHAS, 10), generator=torch.Generator().manual_seed(3)
    )
    theirs = run_diffusers(scheduler, 10, start / scheduler.init_noise_sigma, seed=3)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_2m_sde_agrees_with_diffusers(steps):
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        **SD, algorithm_type="sde-dpmsolver++", timestep_spacing="trailing", final_sigmas_type="zero"
    )
    levels = schedule_of(scheduler, steps)
    start = noise(3).float()
    x = start * (1 + levels[0].item() ** 2) ** 0.5
    ours = SAMPLERS["dpmpp_2m_sde"](wavy, x, levels, generator=torch.Generator().manual_seed(8))
    theirs = run_diffusers(scheduler, steps, start, seed=8)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_2m_agrees_with_diffusers(steps):
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(**SD, timestep_spacing="trailing", final_sigmas_type="zero")
    levels = schedule_of(scheduler, steps)
    start = noise(3)
    ours = SAMPLERS["dpmpp_2m"](wavy, start * (1 + levels[0] ** 2) ** 0.5, levels)
    theirs = run_diffusers(scheduler, steps, start)
    torch.testing.assert_close(ours, theirs.double(), atol=2e-3, rtol=2e-3)


def test_lcm_agrees_with_diffusers():
    from diffusers import LCMScheduler

    scheduler = LCMScheduler(**SD, set_alpha_to_one=True)
    levels = schedule_of(scheduler, 4)
    start = noise(4).float()
    x = start * (1 + levels[0] ** 2) ** 0.5
    ours = SAMPLERS["lcm"](wavy, x, levels, generator=torch.Generator().manual_seed(5))
    theirs = run_diffusers(scheduler, 4, start, seed=5)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("euler", 0.04), ("ddim", 0.04), ("heun", 0.002), ("dpmpp_2m", 0.002)]
)
def test_ode_samplers_reach_the_exact_solution_for_gaussian_data(name, tolerance):
    x = noise(5) * 14.6
    levels = sigmas(ALPHAS, 100, "karras")
    start = levels[0].item()
    # dx/dσ = (x − D(x, σ))/σ is solved by (x − mean) ∝ sqrt(std² + σ²); the last step, from the smallest σ
    # to 0, is Euler's for all.
    exact = DATA_MEAN + (x - DATA_MEAN) * DATA_STD / (DATA_STD**2 + start**2) ** 0.5
    torch.testing.assert_close(SAMPLERS[name](gaussian, x, levels), exact, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", ["lcm", "ddim", "euler_ancestral", "dpmpp_2m_sde"])
def test_stochastic_samplers_have_the_right_spread(name):
    x = torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 14.6
    options = {"eta": 1.0} if name == "ddim" else {}
    levels = sigmas(ALPHAS, 100, "karras")
    out = SAMPLERS[name](gaussian, x, levels, generator=torch.Generator().manual_seed(1), **options)
    assert out.mean().item() == pytest.approx(DATA_MEAN, abs=0.02)
    if name != "lcm":  # LCM presumes a consistency model: with a plain denoiser it narrows
        assert out.std().item() == pytest.approx(DATA_STD, abs=0.03)


def test_heun_without_churn_is_algorithm_1():
    """Bit for bit what it was before it had churn, and without a draw from its generator."""
    levels = sigmas(ALPHAS, 12, "karras")
    x = noise(2) * float(levels[0])
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        slope = (x - wavy(x, sigma)) / sigma
        guess = x + slope * (sigma_next - sigma)
        if sigma_next > 0:
            guess = x + (slope + (guess - wavy(guess, sigma_next)) / sigma_next) / 2 * (sigma_next - sigma)
        x = guess
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    made = SAMPLERS["heun"](wavy, noise(2) * float(levels[0]), levels, generator=generator)
    assert torch.equal(made, x) and torch.equal(generator.get_state(), before)
    outside = SAMPLERS["heun"](wavy, noise(2) * float(levels[0]), levels, s_churn=40, s_min=100.0)
    assert torch.equal(outside, x)


@pytest.mark.parametrize(("s_min", "s_max", "s_noise"), [(0.0, math.inf, 1.0), (0.05, 10.0, 1.01)])
def test_heun_with_churn_follows_the_closed_form_for_gaussian_data(s_min, s_max, s_noise):
    """Algorithm 2 with the exact solution in place of Heun's step, and the same noise."""
    levels, churn = karras(400, 0.02, 14.6), 40.0
    start = noise(5) * float(levels[0])
    options = {"s_churn": churn, "s_min": s_min, "s_max": s_max, "s_noise": s_noise}
    made = SAMPLERS["heun"](gaussian, start, levels, generator=torch.Generator().manual_seed(9), **options)
    x, generator, stirred = start, torch.Generator().manual_seed(9), 0
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        gamma = min(churn / 400, 2**0.5 - 1) if s_min <= sigma <= s_max else 0.0
        raised = sigma * (1 + gamma)
        if gamma:
            stirred += 1
            x = x + s_noise * (raised**2 - sigma**2) ** 0.5 * noise_like(x, generator)
        shrink = ((DATA_STD**2 + sigma_next**2) / (DATA_STD**2 + raised**2)) ** 0.5
        x = DATA_MEAN + (x - DATA_MEAN) * shrink
    assert stirred == sum(s_min <= sigma <= s_max for sigma in levels[:-1].tolist()) > 50
    torch.testing.assert_close(made, x, atol=5e-3, rtol=5e-3)


def test_karras_levels_are_equation_5():
    found = karras(18, 0.002, 80.0)
    assert found[0] == pytest.approx(80) and found[17] == pytest.approx(0.002) and found[18] == 0
    third = (80 ** (1 / 7) + 3 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert found[3].item() == pytest.approx(third)
    torch.testing.assert_close(karras(1, 0.1, 5.0), torch.tensor([5.0, 0.0], dtype=torch.float64))
    ends = training_sigmas(ALPHAS)[[0, 999]].tolist()
    torch.testing.assert_close(karras(20, *ends), sigmas(ALPHAS, 20, "karras"))
    for wrong in ((0, 0.1, 1.0), (3, 0.0, 1.0), (3, 2.0, 1.0)):
        with pytest.raises(SonopaintError, match="can't be made"):
            karras(*wrong)


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_samples_and_other_seed_other_noise(name):
    def run(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return SAMPLERS[name](wavy, noise(0).float() * 14, sigmas(ALPHAS, 6), generator=generator)

    assert torch.equal(run(3), run(3))
    assert torch.equal(run(3), run(4)) == (name not in STOCHASTIC)
    assert run(3).dtype == torch.float32


def test_one_generator_per_item_makes_items_independent():
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    x = noise(0) * 14
    both = SAMPLERS["lcm"](wavy, x, sigmas(ALPHAS, 4), generator=generators(1, 2))
    second = SAMPLERS["lcm"](wavy, x[1:], sigmas(ALPHAS, 4), generator=generators(2))
    assert torch.equal(both[1:], second)
    with pytest.raises(ValueError, match="batch of 2"):
        noise_like(x, generators(1))


@pytest.mark.parametrize("name", SAMPLERS)
def test_callback_counts_and_can_cancel(name):
    seen: list[tuple[int, int]] = []
    calls = 0

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return wavy(x, sigma)

    SAMPLERS[name](denoise, noise(0), sigmas(ALPHAS, 5), callback=lambda i, n, x0: seen.append((i, n)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]

    calls = 0

    def stop(step: int, total: int, x0: torch.Tensor) -> None:
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        SAMPLERS[name](denoise, noise(0), sigmas(ALPHAS, 5), callback=stop)
    assert calls <= 4


@pytest.mark.parametrize("spacing", ["trailing", "leading", "karras"])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 999, 1000])
@pytest.mark.parametrize("strength", [0.0004, 0.3, 1.0])
def test_schedules_fall_to_zero(spacing, steps, strength):
    levels = sigmas(ALPHAS, steps, spacing, strength=strength)
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()
    assert len(levels) - 1 == min(max(1, round(steps * strength)), max(1, round(1000 * strength)))
    top = training_sigmas(ALPHAS)[max(1, round(1000 * strength)) - 1]
    assert levels[0] <= top * 1.000001
    if spacing != "leading":
        assert levels[0] == pytest.approx(top.item())


def test_leading_is_stable_diffusions_own_schedule():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**SD, steps_offset=1, clip_sample=False)
    torch.testing.assert_close(schedule_of(scheduler, 50), sigmas(ALPHAS, 50, "leading"))
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), ALPHAS, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0,), "0 steps"), ((1001,), "1001 steps"), ((10, "linear"), "no schedule 'linear'")],
)
def test_bad_schedules_are_refused(arguments, words):
    with pytest.raises(SonopaintError, match=words):
        sigmas(ALPHAS, *arguments)
    with pytest.raises(SonopaintError, match="strength"):
        sigmas(ALPHAS, 10, strength=0)


def test_sigma_and_timestep_are_inverse():
    levels = training_sigmas(ALPHAS)
    for t in (0, 1, 500, 998, 999):
        assert sigma_to_timestep(levels[t].item(), levels) == pytest.approx(t, abs=1e-9)
    assert sigma_to_timestep(1e-6, levels) == 0
    assert sigma_to_timestep(1e6, levels) == 999


def fake_model(network: Callable[..., torch.Tensor], prediction: str = "epsilon") -> SimpleNamespace:
    def unet(x, t, encoder_hidden_states, return_dict):
        return (network(x, t, encoder_hidden_states),)

    return SimpleNamespace(
        unet=unet,
        alphas_cumprod=ALPHAS,
        prediction_type=prediction,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_all_kinds_of_prediction_find_x0(prediction):
    x0, eps = noise(0).float(), noise(1).float()
    sigma = training_sigmas(ALPHAS)[600].item()
    alpha, beta = (1 + sigma**2) ** -0.5, sigma * (1 + sigma**2) ** -0.5

    def network(x, t, text):
        assert t.item() == pytest.approx(600, abs=1e-3)
        torch.testing.assert_close(x, alpha * x0 + beta * eps, atol=1e-5, rtol=1e-5)
        return {"epsilon": eps, "v_prediction": alpha * eps - beta * x0, "sample": x0}[prediction]

    found = Denoiser(fake_model(network, prediction), torch.zeros(1, 77, 8))(x0 + sigma * eps, sigma)
    torch.testing.assert_close(found, x0, atol=2e-5, rtol=2e-5)


def test_guidance_is_one_batched_call():
    batches = []

    def network(x, t, text):
        batches.append(len(x))
        return text.mean((1, 2))[:, None, None, None].expand_as(x)

    text, uncond = torch.full((1, 77, 8), 3.0), torch.full((1, 77, 8), 1.0)
    x = noise(0).float()
    found = Denoiser(fake_model(network), text, uncond, 4.0)(x, 2.0)
    torch.testing.assert_close(found, x - 2.0 * (1 + 4 * (3 - 1)))
    Denoiser(fake_model(network), text, uncond, 1.0)(x, 2.0)
    assert batches == [4, 2]


def test_flow_reads_a_denoiser_as_a_velocity_field() -> None:
    """For ε-, v- and x0-predicting models alike: x0 − ε of the path, and few steps find the exact sample."""
    from sonopaint.samplers.flow import velocity

    x0, epsilon, t = noise(3), noise(4), 0.3
    found = velocity(lambda x, sigma: x - sigma * epsilon, t * x0 + (1 - t) * epsilon, t)
    torch.testing.assert_close(found, x0 - epsilon, atol=1e-5, rtol=1e-5)
    levels = sigmas(ALPHAS, 20)
    x = noise(1) * (1 + levels[0] ** 2).sqrt().float()
    exact = SAMPLERS["heun"](gaussian, x, sigmas(ALPHAS, 400))
    made = {name: SAMPLERS[name](gaussian, x, levels) for name in ("flow", "ddim")}
    errors = {name: (one - exact).abs().max().item() for name, one in made.items()}
    assert errors["flow"] < 0.03 and errors["flow"] < errors["ddim"]
