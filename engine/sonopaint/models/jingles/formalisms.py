"""The three ways from noise to data, behind one face: DDPM, EDM, DiscDPM.

A network is called as network(x [B, …], time [B], curves, facts) and says what its formalism needs: the
noise, EDM's raw output, or probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonopaint.samplers import ddpm, edm, multinomial
from sonopaint.samplers.common import Callback, Generators, noise_like

Network = Callable[..., Tensor]


class Formalism(Protocol):
    """scale: standard deviation that data is brought to (1 where it is categories)."""

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> float: ...

    def sample(
        self,
        network: Network,
        shape: tuple[int, ...],
        curves: Tensor | None = None,
        facts: Tensor | None = None,
        *,
        settings: edm.EdmSettings | None = None,
        generator: Generators = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Data of `shape` [B, …] from noise, scaled as training data was. `settings`: EDM's own."""
        ...


class Stepped:
    """A formalism of T steps."""

    steps: int

    def time(self, t: Tensor) -> Tensor:
        """What the network is told of the steps t = 1 … T [B]."""
        return t.float() / self.steps

    def predictor(
        self, network: Network, curves: Tensor | None, facts: Tensor | None
    ) -> Callable[[Tensor, int], Tensor]:
        """What the network says of x at step t, of all its items the same."""

        def predict(x: Tensor, t: int) -> Tensor:
            return network(x, self.time(torch.full((len(x),), t, device=x.device)), curves, facts)

        return predict


@dataclass(frozen=True)
class Ddpm(Stepped):
    """ε-prediction, T ancestral steps."""

    steps: int = ddpm.STEPS
    name: str = field(default="ddpm", init=False)
    scale: float = field(default=1.0, init=False)

    def sample(
        self,
        network: Network,
        shape: tuple[int, ...],
        curves: Tensor | None = None,
        facts: Tensor | None = None,
        *,
        settings: edm.EdmSettings | None = None,
        generator: Generators = None,
        callback: Callback | None = None,
    ) -> Tensor:
        predict, noise = self.predictor(network, curves, facts), _noise(shape, curves, generator)
        return ddpm.sample_ddpm(
            predict, noise, ddpm.linear_betas(self.steps), generator=generator, callback=callback
        )


@dataclass(frozen=True)
class Edm:
    """The preconditioned denoiser."""

    name: str = field(default="edm", init=False)
    scale: float = field(default=edm.SIGMA_DATA, init=False)

    @torch.no_grad()
    def sample(
        self,
        network: Network,
        shape: tuple[int, ...],
        curves: Tensor | None = None,
        facts: Tensor | None = None,
        *,
        settings: edm.EdmSettings | None = None,
        generator: Generators = None,
        callback: Callback | None = None,
    ) -> Tensor:
        denoise = edm.denoiser(partial(network, curves=curves, facts=facts), self.scale)
        noise = _noise(shape, curves, generator)
        return edm.sample_edm(denoise, noise, settings, callback=callback, generator=generator)


@dataclass(frozen=True)
class DiscDpm(Stepped):
    """Multinomial diffusion of categories."""

    classes: int
    steps: int = multinomial.STEPS
    name: str = field(default="discdpm", init=False)
    scale: float = field(default=1.0, init=False)

    def sample(
        self,
        network: Network,
        shape: tuple[int, ...],
        curves: Tensor | None = None,
        facts: Tensor | None = None,
        *,
        settings: edm.EdmSettings | None = None,
        generator: Generators = None,
        callback: Callback | None = None,
    ) -> Tensor:
        predict = self.predictor(network, curves, facts)
        device = curves.device if curves is not None else None
        even = torch.full((*shape, self.classes), 1 / self.classes, device=device)
        start = multinomial.draw(even, generator)
        alphas = multinomial.cosine_alphas(self.steps)
        return multinomial.sample_multinomial(predict, start, alphas, generator=generator, callback=callback)


def facts_of(formalism: Formalism) -> dict[str, Any]:
    """What `from_facts` makes it of again."""
    kept = {name: value for name, value in asdict(formalism).items() if name != "scale"}  # type: ignore[call-overload]
    return kept


def from_facts(facts: dict[str, Any]) -> Formalism:
    """SonopaintError for a formalism that is not known."""
    kinds: dict[str, Callable[..., Formalism]] = {"ddpm": Ddpm, "edm": Edm, "discdpm": DiscDpm}
    given = dict(facts)
    name = str(given.pop("name", ""))
    if name not in kinds:
        raise SonopaintError(f"There is no formalism {name!r}; use one of {', '.join(kinds)}.")
    try:
        return kinds[name](**given)
    except TypeError as error:
        raise SonopaintError(f"The facts of a {name} are damaged ({error}).") from error


def _noise(shape: tuple[int, ...], curves: Tensor | None, generator: Generators) -> Tensor:
    device = curves.device if curves is not None else None
    return noise_like(torch.empty(shape, device=device), generator)
