"""Make the ComfyUI pack's example sounds from the foley corpus: python docs/make_example_sounds.py

Nothing is recorded: the corpus synthesises them, so they are free of rights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sonoconvert.files.clip import Clip, write_clip
from sonotrain.data.foley.corpus import SAMPLE_RATE, synthesise
from sonotrain.data.humming import hum

FOLDER = Path(__file__).resolve().parent.parent / "extensions/comfyui/sonopaint_comfyui/examples"
SOUNDS = {"horse_hooves": 3, "engine": 1, "whistling": 5}  # kind: seed
HUM = 7


def main() -> None:
    write_clip(hum(np.random.default_rng(HUM), 300.0, 520.0), FOLDER / "humming.ogg", force=True)
    for kind, seed in SOUNDS.items():
        waveform, _ = synthesise(kind, 1, torch.Generator().manual_seed(seed))
        write_clip(Clip(0.7 * waveform[:1], SAMPLE_RATE), FOLDER / f"{kind}.ogg", force=True)


if __name__ == "__main__":
    main()
