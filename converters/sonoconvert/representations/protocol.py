"""Representation: a sound as the tensor that a model works on, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip


@runtime_checkable
class Representation(Protocol):
    """What the mel picture, the constant-Q transform, a level of the mel pyramid and codec latents share.

    A tensor is float32 with time on its last axis, and has no batch. It keeps the absolute level: of two
    sounds the louder one has the larger cells, so that tensors can be mixed, compared and exchanged.
    """

    @property
    def sample_rate(self) -> int:
        """Of the sounds, in Hz."""
        ...

    @property
    def frame_rate(self) -> float:
        """Steps of the last axis a second."""
        ...

    def shape(self, num_samples: int) -> tuple[int, ...]:
        """Of what `encode` makes of a sound of so many samples at `sample_rate`."""
        ...

    def header(self) -> dict[str, Any]:
        """JSON-able: its "kind" and all that it is made of; `from_header` makes it again."""
        ...

    def encode(self, clip: Clip) -> Tensor:
        """The tensor of a clip of any rate and number of channels."""
        ...

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        """A clip of `num_samples` at `sample_rate`; default: as many as the tensor's frames stand for."""
        ...


def from_header(header: Mapping[str, Any]) -> Representation:
    """The representation that a header describes.

    Raises:
        SonopaintError: a kind that is not known here (codecs need weights: `sonopaint.models.codec`), or a
            damaged header.
    """
    from sonoconvert.representations.cqt import CqtFormat
    from sonoconvert.representations.mel_picture import MelPicture
    from sonoconvert.representations.mel_pyramid import LogMel

    facts = dict(header)
    kind = facts.pop("kind", None)
    kinds: dict[Any, Callable[..., Representation]] = {
        "mel-picture": MelPicture.from_facts, "cqt": CqtFormat, "log-mel": LogMel,
    }  # fmt: skip
    made = kinds.get(kind)
    if made is None:
        raise SonopaintError(f"There is no representation {kind!r} here; use mel-picture, cqt or log-mel.")
    try:
        return made(**facts)
    except TypeError as error:
        raise SonopaintError(f"The header of a {kind} is damaged ({error}).") from error
