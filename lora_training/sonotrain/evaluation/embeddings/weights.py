"""Weights of embeddings from the user's disk: finding, reading and checking them. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from sonoconvert.checkpoints.files import read_tensors
from sonoconvert.checkpoints.pickles import read_pickle
from sonoconvert.errors import SonopaintError, setting
from sonopaint.models.folders import user_folder

FOLDER = "evaluation"  # within the models folder


def weights_folder() -> Path:
    """Where weights for the evaluation are looked for: `evaluation` in the models folder."""
    return user_folder() / FOLDER


def find_weights(patterns: Sequence[str], wanted: str, source: str, given: str | Path = "") -> Path:
    """The file or folder that `given` names, else the first in `weights_folder` that fits a pattern.

    Raises SonopaintError that says which file to put where.
    """
    if given:
        path = Path(given).expanduser()
        if not path.exists():
            raise SonopaintError(f"There is no {path}; give the path of {wanted}.")
        return path
    for pattern in patterns:
        for path in sorted(weights_folder().glob(pattern)):
            return path
    raise SonopaintError(
        f"{wanted} is not here: put it ({source}) into {weights_folder()}, or name it with "
        f"{setting('weights')}."
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from a PyTorch file, of which nothing is run.

    The published files wrap it as {"model": …}; what else they hold is left out.
    """
    if path.is_dir():
        raise SonopaintError(f"{path} is a folder; name the file with the weights.")
    if path.suffix.lower() == ".safetensors":
        return read_tensors(path)
    found = {name: stored.load() for name, stored in read_pickle(path).tensors.items()}
    for prefix in ("model.", "module."):
        inside = {
            name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
        }
        found = inside or found
    return found


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path, wanted: str) -> None:
    """Loads `state` into `model`; SonopaintError names what does not fit and what was expected."""
    own = model.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    strange = [name for name in state if name not in own]
    if missing or strange:
        what = f"it lacks {missing[0]}" if missing else f"it has {strange[0]}"
        more = len(missing) + len(strange) - 1
        rest = f" and differs in {more} more tensors" if more else ""
        raise SonopaintError(f"{path.name} is not {wanted}: {what}{rest}.")
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise SonopaintError(
                f"{path.name} is not {wanted}: {name} is {list(value.shape)} where "
                f"{list(own[name].shape)} was expected."
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise SonopaintError(f"{path.name} is damaged: {name} holds NaN or infinite values; get it anew.")
    model.load_state_dict({name: state.get(name, own[name]) for name in own})
    model.eval().requires_grad_(False)
