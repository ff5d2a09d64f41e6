"""A hummed voice becomes a train horn in a real ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip, read_clip

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[3]


def test_a_voice_becomes_a_train_horn(comfyui: Any) -> None:
    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    prompt = {
        "voice": node("SonopaintExampleSound", sound="humming"),
        "curves": node(
            "SonopaintCurvesFromSound", audio=["voice", 0],
            loudness=True, pitch=True, brightness=False, onsets=False,
        ),
        "model": node("SonopaintLoadMini", model="mini"),
        "text": node("CLIPTextEncode", text="a train horn", clip=["model", 1]),
        "empty": node("CLIPTextEncode", text="", clip=["model", 1]),
        "latent": node(
            "SonopaintEmptySpectrogram", format=["model", 3], seconds=5.12, batch_size=1, loop=False
        ),
        "follow": node(
            "SonopaintApplyCurves", model=["model", 0], curves=["curves", 0], format=["model", 3]
        ),
        "sampler": node(
            "KSampler", model=["follow", 0], positive=["text", 0], negative=["empty", 0],
            latent_image=["latent", 0],
            seed=7, steps=20, cfg=4.0, sampler_name="dpmpp_2m", scheduler="simple", denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "sound": node(
            "SonopaintSpectrogramToAudio", image=["decode", 0], format=["latent", 1],
            decoder="automatic", quality="fast", seed=7,
        ),
        "brought": node(
            "SonopaintBringToCurves", audio=["sound", 0], curves=["curves", 0], loudness=True, pitch=True
        ),
        "save": node("SonopaintSaveAudio", audio=["brought", 0], filename_prefix="sung", format="WAV 16 bit"),
    }  # fmt: skip
    [path] = comfyui.files(comfyui.queue(prompt))
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    made = measure(Clip(torch.from_numpy(samples.T.copy()), rate), ("loudness",))
    voice = ROOT / "extensions/comfyui/sonopaint_comfyui/examples/humming.ogg"
    asked = measure(read_clip(voice), ("loudness",)).at(62.5, made.frames)
    a, b = (np.maximum(c.values["loudness"] - c.values["loudness"].max(), -60) for c in (asked, made))
    assert np.corrcoef(a, b)[0, 1] > 0.9
