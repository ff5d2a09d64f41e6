"""A trained auto-encoder as one safetensors file; in the header all that it needs, and its recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sonoconvert.checkpoints.files import check_shapes, read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.folders import own_or_shipped, read_once, shipped_folder
from sonoconvert.representations.protocol import Representation
from sonopaint.models.blend.network import WHOLE, BlendNetwork
from sonopaint.models.jingles.spaces import Scaling, open_space

KEY = "sonopaint.blend"
FOLDER, NAME = "blend", "mini-blend.safetensors"
_MOST_WEIGHTS = 4 << 30  # bytes
_WIDEST = 1 << 13  # channels
_SPACE, _NETWORK = "space.", "network."


@dataclass
class BlendModel:
    """frames: of latents, that it learnt on; space: of SPACES; scaling: of the latents.

    metadata: the file's header.
    """

    network: BlendNetwork
    space: str
    frames: int
    scaling: Scaling
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str = "blend"

    def representation(self, codec: str | Path = "") -> Representation:
        """What turns its latents into sound. SonopaintError where a codec's weights are absent."""
        return open_space(self.space, codec=codec)


def write_blend(
    path: str | Path, model: BlendModel, metadata: Mapping[str, str] | None = None, *, force: bool = False
) -> None:
    """fp16 weights; the space's numbers in fp32."""
    facts = {"network": model.network.config, "space": model.space, "frames": model.frames}
    header = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-blend",
        "modelspec.implementation": "sonopaint.models.blend",
        "modelspec.title": f"Sonopaint blend ({model.network.variant}, {model.space})",
        KEY: json.dumps(facts),
        **(metadata or {}),
    }
    tensors = {_NETWORK + k: v.detach().cpu().half() for k, v in model.network.state_dict().items()}
    tensors[_SPACE + "mean"] = model.scaling.mean.float().cpu()
    tensors[_SPACE + "deviation"] = model.scaling.deviation.float().cpu()
    write_tensors(path, tensors, header, force=force)


def read_blend(path: str | Path) -> BlendModel:
    """SonopaintError for a file that is damaged, or no such model."""
    path = Path(path)
    shapes, metadata = read_header(path)
    try:
        facts = json.loads(metadata[KEY])
        network = _described(facts["network"])
        space, frames = str(facts["space"]), int(facts["frames"])
        if frames % WHOLE or not 0 < frames <= 1 << 16:
            raise ValueError(f"{frames} frames")
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{path.name} is no model that blends, or its header is damaged ({error}); train one with "
            '"sonotrain blend train".'
        ) from error
    expected = {_NETWORK + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    sides = (1, int(facts["network"]["channels"]), 1)
    expected |= {_SPACE + "mean": sides, _SPACE + "deviation": sides}
    check_shapes(path, shapes, expected)
    if path.stat().st_size > _MOST_WEIGHTS:
        raise SonopaintError(f"{path.name} is too large for a model that blends; get it anew.")
    tensors = {name: tensor.float() for name, tensor in read_tensors(path).items()}
    scaling = Scaling(tensors.pop(_SPACE + "mean"), tensors.pop(_SPACE + "deviation"))
    network.load_state_dict({name[len(_NETWORK) :]: t for name, t in tensors.items()}, assign=True)
    return BlendModel(network.eval().requires_grad_(False), space, frames, scaling, metadata, path.stem)


def shipped_blend() -> BlendModel:
    """The user's own model before the shipped one. SonopaintError where there is none."""
    path = own_or_shipped(FOLDER, NAME)
    if path is None:
        raise SonopaintError(
            f"There is no model that blends in {shipped_folder() / FOLDER}; name one, or get the pack anew."
        )
    return _read_once(path)


_read_once = read_once(read_blend)


def _described(config: Mapping[str, Any]) -> BlendNetwork:
    """Without memory for weights. ValueError for sizes that would take all of it."""
    sizes = {name: value for name, value in config.items() if name not in ("variant", "multipliers")}
    numbers = [*sizes.values(), *(config["width"] * m for m in config["multipliers"])]
    if not all(type(n) is int and 0 < n <= _WIDEST for n in numbers):
        raise ValueError(f"sizes {numbers}")
    with torch.device("meta"):
        return BlendNetwork(**config)
