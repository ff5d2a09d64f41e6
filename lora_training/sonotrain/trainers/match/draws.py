"""Which parameters an analyser learns from: a jittered grid or spread-out draws; the centre is held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting

TRAIN, VALIDATION, TEST, UNUSED = range(4)
CENTRE = 14 / 30  # of each side of the grid, by the document
PARTS = 9  # one in so many of the outer cells is for the test
MOST_CELLS = 200_000


@dataclass(frozen=True)
class Draws:
    """Places [N, D], 0 … 1, and what each is for [N]; the last ones (`plain`) have no metric of their own."""

    places: Tensor
    use: Tensor
    measured: int

    def of(self, use: int) -> Tensor:
        """The numbers of those for a use."""
        return torch.nonzero(self.use == use)[:, 0]


def drawn(dimensions: int, grid: int, count: int, plain: int, seed: int) -> Draws:
    """One place in each cell of a grid of `grid` steps a side, or `count` spread-out ones where `grid` is 0.

    The document's splits: the central cells (about 10 % of three dimensions) validate, the others train or
    test, 8 : 1, at random. SonopaintError for a grid too large or too small.
    """
    rng = np.random.default_rng(seed)
    if grid:
        if grid < 3 or grid**dimensions > MOST_CELLS:
            raise SonopaintError(
                f"{setting('grid')} of {grid} steps gives {grid**dimensions} cells in {dimensions} "
                f"dimensions; choose 3 or more steps, and at most {MOST_CELLS} cells."
            )
        cells = np.indices((grid,) * dimensions).reshape(dimensions, -1).T
        wide = round(grid * CENTRE)
        first = (grid - wide) // 2
        central = ((cells >= first) & (cells < first + wide)).all(1)
        places = (cells + rng.random(cells.shape)) / grid
    else:
        engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
        places = engine.draw(count + plain).double().numpy()
        side = 0.1 ** (1 / dimensions)
        central = (np.abs(places - 0.5) < side / 2).all(1)
    outer = np.where(rng.permutation(len(places)) % PARTS == 0, TEST, TRAIN)
    use = np.where(central, VALIDATION, outer)
    order = rng.permutation(len(places)) if grid else np.arange(len(places))
    measured = len(places) if grid else count
    use = use[order]
    use[measured:][use[measured:] != TRAIN] = UNUSED
    return Draws(torch.from_numpy(places[order]).float(), torch.from_numpy(use), measured)
