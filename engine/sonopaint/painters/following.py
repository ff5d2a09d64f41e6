"""What a painter needs to follow curves: the curves, and the adapter of its model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.reading import KEY
from sonoconvert.errors import SonopaintError

if TYPE_CHECKING:
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonopaint.knowledge import Knowledge
    from sonopaint.models.model import Model

NEARLY = 2 ** (3 / 12)  # outside its reach a kind still goes so far


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

    def embedding(self, prompt: str, length: int) -> Tensor | None:
        """[length, D] in place of a prompt's own, where it names a class of the adapter."""
        from sonopaint.models.classes import as_embedding, class_named

        name = class_named(self.adapter.classes, prompt)
        return None if name is None else as_embedding(self.adapter.classes[name], length)

    def describe(self) -> dict[str, Any]:
        """For the settings that a result carries."""
        told = {KEY: self.curves.to_dict(), "curves_by": self.adapter.variant}
        return told | ({"notes": list(self.curves.notes)} if self.curves.notes else {})


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


def in_register(curves: Curves, knowledge: Knowledge | None, prompt: str) -> Curves:
    """The curves with a pitch that the asked kind of sound does not reach moved by octaves, and a note of it.

    Who hums a flute hums an octave or two below it. Nothing moves where the kind is not known, or where the
    pitch's middle is within its reach, or nearly.
    """
    kind = knowledge.kind_of(prompt) if knowledge is not None else None
    pitch = curves.values.get("pitch")
    if pitch is None or kind is None or knowledge is None or kind not in knowledge.hertz:
        return curves
    voiced = pitch[np.nan_to_num(pitch) > 0]
    low, high = knowledge.hertz[kind]
    middle = float(np.median(voiced)) if len(voiced) else low
    if low / NEARLY <= middle <= high * NEARLY:
        return curves
    octaves = round(math.log2(math.sqrt(low * high) / middle))
    if not octaves:
        return curves
    way, many = (
        "up" if octaves > 0 else "down",
        "an octave" if abs(octaves) == 1 else f"{abs(octaves)} octaves",
    )
    note = f"The pitch was moved {way} by {many}: “{kind}” lies between {low:g} and {high:g} Hz."
    return replace(
        curves, values={**curves.values, "pitch": pitch * 2.0**octaves}, notes=(*curves.notes, note)
    )


def followed(curves: Curves) -> Curves:
    """Those curves that adapters know; a pitch is made of chroma and octave, and loudness of velocity.

    Raises SonopaintError where none is left.
    """
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
