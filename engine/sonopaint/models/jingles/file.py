"""A trained jingle model as one safetensors file; in the header all that it needs, and its recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.files import check_shapes, read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.folders import own_or_shipped, read_once, shipped_folder
from sonoconvert.representations.protocol import Representation
from sonopaint.models.jingles.controls import Controls
from sonopaint.models.jingles.formalisms import Formalism, facts_of, from_facts
from sonopaint.models.jingles.network import build
from sonopaint.models.jingles.quantiser import Quantiser
from sonopaint.models.jingles.spaces import Scaling, open_space

KEY = "sonopaint.jingle"
FOLDER, NAME = "jingles", "mini-jingle.safetensors"
_MOST_WEIGHTS = 4 << 30  # bytes
_SPACE, _NETWORK = "space.", "network."


@dataclass
class Jingle:
    """network: a JingleUNet or CodeNetwork. frames: that it learnt on. space: of SPACES.

    scaling: of continuous data; quantiser: of the space "codes". metadata: the file's header.
    """

    network: nn.Module
    formalism: Formalism
    controls: Controls
    space: str
    frames: int
    scaling: Scaling | None = None
    quantiser: Quantiser | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str = "jingle"

    def representation(self, codec: str | Path = "") -> Representation:
        """What turns its data into sound."""
        return open_space(self.space, codec=codec, quantiser=self.quantiser)

    def data(self, made: Tensor) -> Tensor:
        """What the formalism made, as the representation has it."""
        return made if self.scaling is None else self.scaling.back(made, self.formalism.scale)


def write_jingle(
    path: str | Path, jingle: Jingle, metadata: Mapping[str, str] | None = None, *, force: bool = False
) -> None:
    """fp16 weights; the space's numbers in fp32."""
    facts = {
        "network": jingle.network.config,
        "formalism": facts_of(jingle.formalism),
        "controls": jingle.controls.facts(),
        "space": jingle.space,
        "frames": jingle.frames,
    }
    header = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-jingle",
        "modelspec.implementation": "sonopaint.models.jingles",
        "modelspec.title": f"Sonopaint jingles ({jingle.formalism.name}, {jingle.space})",
        KEY: json.dumps(facts),
        **(metadata or {}),
    }
    tensors = {_NETWORK + k: v.detach().cpu().half() for k, v in jingle.network.state_dict().items()}
    if jingle.scaling is not None:
        tensors[_SPACE + "mean"] = jingle.scaling.mean.float().cpu()
        tensors[_SPACE + "deviation"] = jingle.scaling.deviation.float().cpu()
    if jingle.quantiser is not None:
        tensors[_SPACE + "books"] = jingle.quantiser.books.float().cpu()
    write_tensors(path, tensors, header, force=force)


def read_jingle(path: str | Path) -> Jingle:
    """SonopaintError for a file that is damaged, or no jingle model."""
    path = Path(path)
    shapes, metadata = read_header(path)
    try:
        facts = json.loads(metadata[KEY])
        _check_sizes(facts["network"])
        with torch.device("meta"):
            network = build(facts["network"])
        formalism, controls = from_facts(facts["formalism"]), Controls.from_facts(facts["controls"])
        space, frames = str(facts["space"]), int(facts["frames"])
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{path.name} is no jingle model, or its header is damaged ({error}); train one with "
            '"sonotrain jingles train".'
        ) from error
    expected = {_NETWORK + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: shape for name, shape in shapes.items() if name.startswith(_NETWORK)}
    check_shapes(path, found, expected)
    if path.stat().st_size > _MOST_WEIGHTS:
        raise SonopaintError(f"{path.name} is too large for a jingle model; get it anew.")
    tensors = read_tensors(path)
    network.load_state_dict(
        {name[len(_NETWORK) :]: t for name, t in tensors.items() if name in expected}, assign=True
    )
    mean, deviation = tensors.get(_SPACE + "mean"), tensors.get(_SPACE + "deviation")
    books = tensors.get(_SPACE + "books")
    return Jingle(
        network.eval().requires_grad_(False),
        formalism,
        controls,
        space,
        frames,
        Scaling(mean, deviation) if mean is not None and deviation is not None else None,
        None if books is None else Quantiser(books),
        metadata,
        path.stem,
    )


def shipped_jingle() -> Jingle:
    """The user's own model before the shipped one. SonopaintError where there is none."""
    path = own_or_shipped(FOLDER, NAME)
    if path is None:
        raise SonopaintError(
            f"There is no jingle model in {shipped_folder() / FOLDER}; name one, or get the pack anew."
        )
    return _read_once(path)


_read_once = read_once(read_jingle)


def _check_sizes(config: Mapping[str, Any]) -> None:
    """ValueError for sizes that would take all the memory."""
    numbers = [n for value in config.values() for n in (value if isinstance(value, list) else [value])]
    if not all(type(n) is int and 0 <= n <= 1 << 20 for n in numbers):
        raise ValueError(f"sizes {numbers}")
    if len(config["multipliers"]) > 8 or math.prod([config["width"], max(config["multipliers"])]) > 1 << 14:
        raise ValueError(f"width {config['width']}")
