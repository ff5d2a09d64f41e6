"""maps.html: every level's codes as points on a plane, coloured by what is known, heard on hover."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.files.clip import Clip
from sonotrain.data.scales.kept import Kept
from sonotrain.evaluation.blend.coders import Coder

_HEARD_S, _RATE = 2.5, 16_000


def points_of(coders: Sequence[Coder], data: Kept, asked: Kept, most: int) -> dict[str, Any]:
    """What the page shows: sounds that are not learnt from, and where each level puts them."""
    chosen = [(kept, n) for kept in (asked, data) for n in kept.held]
    every = max(1, -(-len(chosen) // most))
    chosen = chosen[::every]
    sounds = []
    for kept, number in chosen:
        label, clip = kept.labels[number], kept.audio(number)
        loud = float(clip.waveform.square().mean().clamp_min(1e-9).log10() * 10)
        notes = [n for *_, n in label.notes]
        pitch = label.pitch if label.pitch >= 0 else round(float(np.median(notes))) if notes else None
        sounds.append(
            {"kind": label.kind, "pitch": pitch, "loudness": round(loud, 1), "sound": _spoken(clip)}
        )
    maps: dict[str, dict[str, list[list[float]]]] = {}
    for coder in coders:
        parts = [
            coder.codes(kept, [n for one, n in chosen if one is kept]) for kept in (asked, data)
            if any(one is kept for one, _ in chosen)
        ]  # fmt: skip
        maps[coder.name] = {
            level: plane(torch.cat([part[level].mean(-1) for part in parts])) for level in coder.levels
        }
    return {"sounds": sounds, "maps": maps, "by": "UMAP" if find_spec("umap") else "principal components"}


def plane(points: Tensor) -> list[list[float]]:
    """[N, D] → N places in 0 … 1: by UMAP where it is installed, else the two principal components."""
    even = (points - points.mean(0)) / points.std(0).clamp_min(1e-4)
    if find_spec("umap") and len(points) > 10:
        import umap

        places = torch.from_numpy(umap.UMAP(random_state=0, n_neighbors=10).fit_transform(even.numpy()))
    else:
        places = torch.linalg.svd(even, full_matrices=False)[0][:, :2] if len(even) > 1 else even[:, :2]
    low, high = places.amin(0), places.amax(0)
    return [[round(x, 4) for x in row] for row in ((places - low) / (high - low).clamp_min(1e-6)).tolist()]


def page(points: dict[str, Any]) -> str:
    """The whole page; it asks no other place for anything."""
    here = files("sonotrain.evaluation.blend")
    told = json.dumps(points, ensure_ascii=False).replace("<", "\\u003c")
    return here.joinpath("maps.html").read_text(encoding="utf-8").replace("/*POINTS*/null", told)


def _spoken(clip: Clip) -> str:
    """Its beginning as a data address."""
    import soundfile

    wave = clip.mono().resampled(_RATE).waveform[0, : round(_HEARD_S * _RATE)]
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.numpy(), _RATE, format="OGG", subtype="VORBIS")
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
