"""Distribution matching and adversarial losses of one-step students, as pure functions.

DMD2: Yin et al. 2024, arXiv:2405.14867. Uni-DAD: arXiv:2511.18281; its equations are numbered below as in
Desbos 2026 (chapter 2). Pictures x, y and networks' answers are [B, C, H, W], logits [B, heads].
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Normaliser = Literal["teacher", "fake"]
Adversary = Literal["hinge", "bce"]


def clean_from_noise(noisy: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x̂0 = (x_t − √(1 − ᾱ)·ε̂) / √ᾱ; alpha_bar [B]."""
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return (noisy - (1.0 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6)."""
    return unconditional + scale * (conditional - unconditional)


def matching_gradient(
    clean: Tensor, fake: Tensor, teacher: Tensor, alpha_bar: Tensor, normaliser: Normaliser = "teacher"
) -> Tensor:
    """The gradient of KL(student ‖ teacher) at the student's pictures x, from both networks' x̂0 of one x_t.

    Eq. 2.2 as printed has the sign of eq. 2.1 turned round, and would push the student away from the teacher.
    With the score s = −ε/σ it is ω_t·(ε_teacher − ε_fake), in x̂0 a multiple of x̂0_fake − x̂0_teacher; so
    descent moves x towards the teacher.

    `normaliser` "teacher": divided by mean |x − x̂0_teacher| (DMD, eq. 8, and the released code); "fake":
    eq. 2.3, ω_t = σ_t / mean |ε − ε_fake|, which in x̂0 is σ_t / mean |x − x̂0_fake|.
    """
    reference = teacher if normaliser == "teacher" else fake
    scale = (clean - reference).abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-5)
    gradient = (fake - teacher) / scale
    if normaliser == "fake":
        gradient = gradient * (1.0 - alpha_bar.view(-1, 1, 1, 1)).sqrt()
    return gradient.nan_to_num()


def dual_gradient(source: Tensor, target: Tensor, weight: float) -> Tensor:
    """Eq. 2.4: (1 − a)·source + a·target, a the weight of the target teacher."""
    return (1.0 - weight) * source + weight * target


def matching_loss(clean: Tensor, gradient: Tensor) -> Tensor:
    """½·mean (x − sg(x − gradient))², whose derivative by x is the gradient (over the number of values)."""
    return 0.5 * F.mse_loss(clean, (clean - gradient).detach())


def generator_loss(logits: Tensor, adversary: Adversary = "hinge") -> Tensor:
    """Eq. 2.7: −Σ over heads ("hinge"); the released code's binary cross-entropy, mean over heads ("bce")."""
    if adversary == "bce":
        return F.softplus(-logits.mean(1)).mean()
    return -logits.sum(1).mean()


def discriminator_loss(real: Tensor, fake: Tensor, adversary: Adversary = "hinge") -> Tensor:
    """Eq. 2.8: Σ over heads of max(0, 1 − real) + max(0, 1 + fake); or binary cross-entropy, see above."""
    if adversary == "bce":
        return F.softplus(-real.mean(1)).mean() + F.softplus(fake.mean(1)).mean()
    return F.relu(1.0 - real).sum(1).mean() + F.relu(1.0 + fake).sum(1).mean()
