"""From a first guess to the nearest sound: damped Gauss–Newton steps on the descriptors' distance.

Gradient descent in the metric of `match.metric`, so that a step is as large as it sounds, whatever the
parameter (Levenberg 1944, Marquardt 1963). The slopes are taken over steps that are heard, so that neither a
ripple of phases nor a synthesiser that can't be differentiated stops it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sonopaint.match.metric import Described, metric_of, secants

LONGEST = 0.25  # step, in ranges


@torch.no_grad()
def refine(
    descriptor: Described,
    wanted: Tensor,
    place: Tensor,
    step: Tensor,
    count: int,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Tensor, Tensor]:
    """Places [B, D] brought nearer to `wanted` [P] or [B, P], and their distances [B], in `count` steps.

    step: over which slopes are taken [D], `metric.steps`; it shrinks to a half on the way.
    """
    damping = torch.full((len(place), 1), 0.1)
    at = descriptor(place)
    distance = (at - wanted).norm(dim=1)
    for number in range(count):
        found = secants(descriptor, place, step * (1 - 0.5 * number / count), at)
        metric = metric_of(found)
        slope = (found * (wanted - at)[..., None]).sum(1)
        size = metric.diagonal(dim1=1, dim2=2)
        held = damping * size + 1e-6 * size.amax(1, keepdim=True) + 1e-12
        # What lies at an end of its range and would go beyond is held there.
        stuck = ((place <= 0) & (slope < 0)) | ((place >= 1) & (slope > 0))
        slope = torch.where(stuck, 0.0, slope)
        moved = torch.linalg.solve(metric + torch.diag_embed(held), slope)
        moved = moved * (LONGEST / moved.abs().amax(1, keepdim=True).clamp_min(LONGEST))
        tried = (place + moved).clamp(0, 1)
        heard = descriptor(tried)
        now = (heard - wanted).norm(dim=1)
        better = now < distance
        place, at = (torch.where(better[:, None], a, b) for a, b in ((tried, place), (heard, at)))
        distance = torch.where(better, now, distance)
        damping = torch.where(better[:, None], damping / 3, damping * 4).clamp(1e-4, 1e4)
        progress((number + 1) / count)
    return place, distance
