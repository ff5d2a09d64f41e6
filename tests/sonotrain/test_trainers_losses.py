"""Losses and the moving average against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonotrain.training.ema import Ema
from sonotrain.training.loop import Budget, cosine, warmed_up
from sonotrain.training.losses import (
    PatchDiscriminator,
    adaptive_weight,
    gradient_loss,
    hinge_discriminator_loss,
    kl_loss,
    min_snr_weights,
)


@given(st.integers(0, 999), st.floats(0.5, 20.0))
def test_min_snr_weights_follow_the_formula(timestep: int, gamma: float) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    alpha = alphas[timestep].item()
    ratio = alpha / (1 - alpha)
    got = min_snr_weights(alphas, torch.tensor([timestep]), gamma).item()
    assert got == pytest.approx(min(ratio, gamma) / ratio, rel=1e-9)


def test_gradient_loss_ignores_a_constant_and_sees_blur() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 16:] = 1.0
    blurred = torch.nn.functional.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
    assert gradient_loss(picture + 0.3, picture).item() == pytest.approx(0.0, abs=1e-6)
    assert gradient_loss(blurred, picture).item() > 0.01


def test_kl_of_a_standard_normal_is_zero_and_else_the_closed_form() -> None:
    mean, log_variance = torch.full((2, 4, 2, 2), 0.5), torch.full((2, 4, 2, 2), 0.2)
    assert kl_loss(torch.zeros_like(mean), torch.zeros_like(mean)).item() == 0.0
    expected = 16 * 0.5 * (0.25 + math.exp(0.2) - 1 - 0.2)
    assert kl_loss(mean, log_variance).item() == pytest.approx(expected, rel=1e-5)


def test_hinge_loss_is_zero_when_the_discriminator_is_sure() -> None:
    assert hinge_discriminator_loss(torch.tensor([1.5]), torch.tensor([-2.0])).item() == 0.0
    assert hinge_discriminator_loss(torch.tensor([0.0]), torch.tensor([0.0])).item() == pytest.approx(1.0)
    assert PatchDiscriminator()(torch.zeros(2, 3, 64, 48)).shape == (2, 1, 8, 6)


def test_adaptive_weight_balances_the_gradients() -> None:
    layer = torch.tensor([1.0], requires_grad=True)
    weight = adaptive_weight((6.0 * layer).sum(), (2.0 * layer).sum(), layer)
    assert weight.item() == pytest.approx(3.0, rel=1e-3)


def test_ema_is_the_recursion_and_swaps_weights_for_a_while() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    ema = Ema([layer], decay=0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0, 4.0), start=1):
        torch.nn.init.constant_(layer.weight, value)
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with ema.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 4.0
    ema.store()
    assert layer.weight.item() == pytest.approx(expected)


def test_a_rare_ema_averages_over_the_same_time() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    each, fourth = Ema([layer], 0.99), Ema([layer], 0.99, every=4)
    torch.nn.init.constant_(layer.weight, 1.0)
    for ema in (each, fourth):
        ema.calls = 100_000  # past the ramp
        for _ in range(40):
            ema.update()
    assert fourth.average[0].item() == pytest.approx(each.average[0].item(), rel=1e-4)


@pytest.mark.parametrize("version", [1, 2])
def test_schedule_warms_up_and_falls_to_its_floor(version: int) -> None:
    assert warmed_up(cosine, 0.0, 0, 100, version) == pytest.approx(0.01)
    assert warmed_up(cosine, 0.0, 99, 100, version) == pytest.approx(1.0)
    assert warmed_up(cosine, 1.0, 500, 100, version) == pytest.approx(0.02)
    assert Budget(steps=10).fraction(5, 1e9) == 0.5
    assert Budget(minutes=2).fraction(0, 30.0) == 0.25
