"""What a painter needs to follow curves: the curves, and the adapter of its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.reading import KEY
from sonoconvert.errors import SonopaintError

if TYPE_CHECKING:
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonopaint.models.model import Model


@dataclass(frozen=True)
class Following:
    """Curves to follow, in seconds of the result, and the adapter that lets a model do so."""

    curves: Curves
    adapter: Any

    def control(self, fmt: SpectrogramFormat, begins_s: float, columns: int) -> Tensor:
        """What the adapter sees of a picture that begins at a second of the result: [1, 138, H, W]."""
        from sonopaint.models.curves import control, relative

        curves = relative(self.curves).part(begins_s, fmt.seconds(columns))
        return control(curves, fmt, columns)

    def describe(self) -> dict[str, Any]:
        """For the settings that a result carries."""
        return {KEY: self.curves.to_dict(), "curves_by": self.adapter.variant}


def adapter_file(model: Model) -> Path:
    """Where the adapter of a model lies, or would lie."""
    from sonopaint.models.curves import CURVES_FILE

    if model.path.is_dir():
        return model.path / CURVES_FILE
    return model.path.with_suffix(f".{CURVES_FILE}")


def following(model: Model, curves: Curves, adapter: Any = None) -> Following:
    """Curves with the adapter that lies beside the model, or with another: its file, or itself.

    Raises SonopaintError where there is none, where it was made for another kind of model, where all curves
    are free, and for those that no adapter follows.
    """
    from sonopaint.models.curves import FOLLOWED
    from sonopaint.models.curves_file import fits, load_adapter

    curves = followed(curves)
    if adapter is None or isinstance(adapter, (str, Path)):
        path = Path(adapter) if adapter else adapter_file(model)
        if not path.is_file():
            raise SonopaintError(
                f"The model {model.name} has no adapter for curves ({path.name} beside it); "
                'train one with "sonotrain curves train", or use Mini.'
            )
        adapter = load_adapter(path)
    if not fits(adapter, model.unet):
        raise SonopaintError(f"The adapter for curves was made for another kind of model than {model.name}.")
    if curves.is_free:
        raise SonopaintError(f"All curves are free: there is nothing to follow; give {', '.join(FOLLOWED)}.")
    return Following(curves, adapter)


def followed(curves: Curves) -> Curves:
    """Those curves that adapters know; a pitch is made of chroma and octave, and loudness of velocity.

    Raises SonopaintError where none is left.
    """
    import numpy as np

    from sonoconvert.curves.curves import hertz_of
    from sonopaint.models.curves import FOLLOWED

    values = dict(curves.values)
    if "pitch" not in values and {"chroma", "octave"} <= set(values):
        values["pitch"] = hertz_of(values["chroma"], values["octave"])
    if "loudness" not in values and "velocity" in values:
        values["loudness"] = np.maximum(40 * np.log10(np.maximum(values["velocity"], 1e-3)), -60.0)
    kept = {name: values[name] for name in FOLLOWED if name in values}
    if not kept:
        raise SonopaintError(
            f"These curves ({', '.join(curves.names)}) can't be followed; give {', '.join(FOLLOWED)}."
        )
    return Curves(curves.rate, kept, curves.notes)
