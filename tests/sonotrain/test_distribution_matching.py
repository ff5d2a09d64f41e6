"""The losses of one-step students against closed forms on Gaussians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sonotrain.trainers.one_step import matching
from sonotrain.trainers.one_step.discriminator import Heads, tapped
from sonotrain.trainers.one_step.networks import as_noise
from sonotrain.training.losses import diffused

ALPHA_BAR = torch.linspace(0.9999, 0.005, 1000)


def gaussian_clean(noisy: Tensor, alpha_bar: Tensor, mean: float, spread: float) -> Tensor:
    """E[x0 | x_t] where x0 is normal with that mean and standard deviation: the perfect network's answer."""
    a = alpha_bar.view(-1, 1, 1, 1)
    variance = a * spread**2 + 1 - a
    return mean + a.sqrt() * spread**2 / variance * (noisy - a.sqrt() * mean)


def drawn(mean: float, spread: float, count: int = 4000) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean = mean + spread * torch.randn((count, 1, 1, 1), generator=generator)
    alpha_bar = ALPHA_BAR[torch.randint(20, 980, (count,), generator=generator)]
    noisy = diffused(clean, torch.randn(clean.shape, generator=generator), alpha_bar)
    return clean, noisy, alpha_bar


@pytest.mark.parametrize("normaliser", ["teacher", "fake"])
def test_descent_moves_the_student_towards_the_teacher(normaliser: matching.Normaliser) -> None:
    """Eq. 2.2 as printed has the wrong sign; on two Gaussians it would move the mean away from 2."""
    clean, noisy, alpha_bar = drawn(0.0, 1.0)
    fake = gaussian_clean(noisy, alpha_bar, 0.0, 1.0)
    teacher = gaussian_clean(noisy, alpha_bar, 2.0, 1.0)
    gradient = matching.matching_gradient(clean, fake, teacher, alpha_bar, normaliser)
    assert gradient.mean() < -0.5  # x − gradient is nearer to 2


def test_the_gradient_is_the_scores_difference() -> None:
    """Unnormalised it is (1 − ᾱ)/√ᾱ times the difference of the scores of the diffused Gaussians."""
    clean, noisy, alpha_bar = drawn(0.3, 0.7)
    a = alpha_bar.view(-1, 1, 1, 1)

    def score(mean: float, spread: float) -> Tensor:
        return -(noisy - a.sqrt() * mean) / (a * spread**2 + 1 - a)

    fake, teacher = gaussian_clean(noisy, alpha_bar, 0.3, 0.7), gaussian_clean(noisy, alpha_bar, -1.0, 0.5)
    expected = (score(0.3, 0.7) - score(-1.0, 0.5)) * (1 - a) / a.sqrt()
    error = (clean - teacher).abs().clamp_min(1e-5)
    got = matching.matching_gradient(clean, fake, teacher, alpha_bar) * error
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_where_student_and_teacher_agree_nothing_moves() -> None:
    clean, noisy, alpha_bar = drawn(0.0, 1.0)
    answer = gaussian_clean(noisy, alpha_bar, 0.0, 1.0)
    assert not matching.matching_gradient(clean, answer, answer, alpha_bar).any()


@pytest.mark.parametrize(("weight", "low", "high"), [(0.0, -1.1, -0.9), (0.5, -0.15, 0.15), (1.0, 0.9, 1.1)])
def test_two_teachers_pull_the_mean_between_them(weight: float, low: float, high: float) -> None:
    """A student that paints N(m, 1), with source N(−1, 1) and target N(1, 1), goes where eq. 2.4 says."""
    mean = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.SGD([mean], lr=0.3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        clean = mean + torch.randn((512, 1, 1, 1), generator=generator)
        alpha_bar = ALPHA_BAR[torch.randint(20, 980, (512,), generator=generator)]
        with torch.no_grad():
            noisy = diffused(clean, torch.randn(clean.shape, generator=generator), alpha_bar)
            fake = gaussian_clean(noisy, alpha_bar, mean.item(), 1.0)
            pulls = [
                matching.matching_gradient(
                    clean, fake, gaussian_clean(noisy, alpha_bar, m, 1.0), alpha_bar, "fake"
                )
                for m in (-1.0, 1.0)
            ]
            gradient = matching.dual_gradient(*pulls, weight)
        optimiser.zero_grad()
        matching.matching_loss(clean, gradient).backward()
        optimiser.step()
    assert low < mean.item() < high


def test_the_surrogate_loss_has_the_given_gradient() -> None:
    clean = torch.randn(2, 3, 4, 5, requires_grad=True)
    gradient = torch.randn(2, 3, 4, 5)
    matching.matching_loss(clean, gradient).backward()
    torch.testing.assert_close(clean.grad, gradient / clean.numel())


def test_hinge_and_cross_entropy_by_hand() -> None:
    real, fake = torch.tensor([[2.0, 0.5]]), torch.tensor([[-2.0, 0.0]])
    assert matching.discriminator_loss(real, fake).item() == pytest.approx(0.5 + 1.0)
    assert matching.generator_loss(fake).item() == pytest.approx(2.0)
    by_hand = torch.nn.functional.binary_cross_entropy_with_logits
    expected = by_hand(torch.tensor(1.25), torch.tensor(1.0)) + by_hand(torch.tensor(-1.0), torch.tensor(0.0))
    assert matching.discriminator_loss(real, fake, "bce").item() == pytest.approx(expected.item())
    expected = by_hand(torch.tensor(-1.0), torch.tensor(1.0))
    assert matching.generator_loss(fake, "bce").item() == pytest.approx(expected.item())


def test_noise_and_picture_are_two_words_for_one_thing() -> None:
    clean, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    alpha_bar = ALPHA_BAR[torch.tensor([10, 500, 900])]
    noisy = diffused(clean, noise, alpha_bar)
    torch.testing.assert_close(
        matching.clean_from_noise(noisy, noise, alpha_bar), clean, rtol=1e-3, atol=1e-3
    )
    a = alpha_bar.view(-1, 1, 1, 1)
    velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
    for kind, answer in (("epsilon", noise), ("v_prediction", velocity), ("sample", clean)):
        torch.testing.assert_close(as_noise(answer, noisy, alpha_bar, kind), noise, rtol=1e-3, atol=1e-3)


class Ladder(nn.Module):
    """Two blocks down, one up, with a count of how often the last was called."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
        self.up, self.ups = nn.Conv2d(5, 1, 1), 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.down(x))
        self.ups += 1
        return self.up(x)


def test_features_are_tapped_without_the_way_up() -> None:
    net = Ladder()
    picture = torch.randn(2, 1, 8, 8, requires_grad=True)
    with tapped([net.down, net.middle], stop=True) as features:
        net(picture)
    assert [f.shape[1] for f in features] == [3, 5] and net.ups == 0
    heads = Heads([3, 5])
    assert not heads(features).any()  # they start without an opinion
    nn.init.ones_(heads.heads[1].weight)
    assert heads(features).shape == (2, 2)
    heads(features).sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    net(picture)
    assert net.ups == 1 and len(features) == 2  # the hooks are gone
