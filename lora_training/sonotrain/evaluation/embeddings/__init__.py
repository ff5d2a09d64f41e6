"""Networks that hear: PANNs, VGGish, CLAP with the user's weights, the corpus classifier without any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from sonoconvert.errors import SonopaintError, setting
from sonotrain.evaluation.embeddings.base import Embedded, Embedding
from sonotrain.evaluation.embeddings.clap import Clap, load_clap
from sonotrain.evaluation.embeddings.corpus import load_corpus_classifier
from sonotrain.evaluation.embeddings.panns import load_panns, panns_are_here
from sonotrain.evaluation.embeddings.vggish import load_vggish

__all__ = ["EMBEDDINGS", "Clap", "Embedded", "Embedding", "load_clap", "load_embedding"]

EMBEDDINGS: dict[str, Callable[..., Embedding]] = {
    "panns": load_panns,
    "vggish": load_vggish,
    "clap": load_clap,
    "classifier": load_corpus_classifier,
}


def load_embedding(name: str, weights: str | Path = "", device: str | torch.device = "cpu") -> Embedding:
    """An embedding by name; "auto" is PANNs where its weights lie in the models folder, else classifier.

    Raises SonopaintError for an unknown name and for weights that are missing or wrong.
    """
    if name == "auto":
        if weights:
            raise SonopaintError(
                f"Say which network {setting('weights')} belongs to, for instance {setting('embedding')} "
                "panns."
            )
        name = "panns" if panns_are_here() else "classifier"
    if name not in EMBEDDINGS:
        raise SonopaintError(f"{name!r} is no embedding; choose auto, {', '.join(EMBEDDINGS)}.")
    return EMBEDDINGS[name](weights, device=device)
