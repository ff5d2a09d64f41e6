"""A corpus with its curves: its sounds are made again from its seed, measured, and the curves kept beside."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.measure import MEASURED, measure
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonotrain.data.corpus import BATCH_CLIPS, Corpus, shard_seed, sounds
from sonotrain.data.foley import SAMPLE_RATE
from sonotrain.files.json_files import read_json
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept, rows_in

logger = logging.getLogger(__name__)


def corpus_curves(corpus: Corpus) -> dict[str, Tensor]:
    """Curves {name: float32 [N, 320]} of a corpus's clips at the rate of its pictures' columns.

    Kept as <folder>/curves/*.safetensors, a shard each, so that a broken-off measuring goes on. Pitches are
    the quick ones of `measure`; of two sounds at once they are the louder one's. SonopaintError for scenes.
    """
    if corpus.boxes is not None:
        raise SonopaintError(
            f"{corpus.folder} holds scenes, of which curves aren't measured; give another corpus."
        )
    folder = corpus.folder / "curves"
    folder.mkdir(exist_ok=True)
    shards, pace, done, made = [], Pace(), 0, 0
    for index, pictures in enumerate(sorted(corpus.folder.glob("shard-*.safetensors"))):
        if done >= len(corpus):
            break
        count = rows_in(pictures, "levels")  # all, though few may be asked for: a batch is drawn as a whole
        path = folder / pictures.name
        shard, done = kept(path), done + count
        if not shard or len(shard["loudness"]) != count:
            shard = _shard(read_json(corpus.folder / "corpus.json"), index, count)
            keep(path, shard)
            made += count
            left = pace.left(made, max(0, len(corpus) - done))
            logger.info("%d of %d clips measured, %s left", min(done, len(corpus)), len(corpus), left)
        shards.append(shard)
    return {name: torch.cat([shard[name] for shard in shards])[: len(corpus)].float() for name in MEASURED}


def _shard(settings: dict[str, Any], index: int, count: int) -> dict[str, Tensor]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in MEASURED}
    for part, first in enumerate(range(0, count, BATCH_CLIPS)):
        size = min(BATCH_CLIPS, count - first)
        batch = sounds(size, shard_seed(settings["seed"], index, part), settings["content"])
        for place, wave in enumerate(batch.waveforms):
            curves = dict(measure(Clip(wave[None], SAMPLE_RATE), quick=True).values)
            if batch.pitch is not None and not batch.pitch[place].isnan().any():
                curves["pitch"] = batch.pitch[place].numpy()
            for name in MEASURED:
                rows[name].append(curves[name])
    return {name: torch.from_numpy(np.stack(values)).half() for name, values in rows.items()}


def row(curves: dict[str, Tensor], clip: int, rate: float) -> Curves:
    """The curves of one clip."""
    return Curves(rate, {name: values[clip].numpy() for name, values in curves.items()})
