"""Three coughs in speech, marked and healed in a real ComfyUI."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.host


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def test_three_coughs_are_healed_and_all_else_stays(comfyui: Any, coughs: Any) -> None:
    shutil.copyfile(coughs.path, comfyui.base / "input" / "interview.wav")
    boxes = "; ".join(f"{start}:{stop}" for start, stop in coughs.spans)
    prompt = {
        "load": {"class_type": "LoadAudio", "inputs": {"audio": "interview.wav"}},
        "region": {
            "class_type": "SonopaintRegion",
            "inputs": {"boxes": boxes, "feather": 0.0, "invert": False, "drawing": ""},
        },
        "heal": {
            "class_type": "SonopaintHeal",
            "inputs": {
                "audio": ["load", 0],
                "region": ["region", 0],
                "method": "auto",
                "steps": 1,
                "seed": 3,
            },
        },
        "save": {
            "class_type": "SonopaintSaveAudio",
            "inputs": {"audio": ["heal", 0], "filename_prefix": "healed", "format": "WAV 16 bit"},
        },
        "done": {"class_type": "PreviewAny", "inputs": {"source": ["heal", 1]}},
    }
    entry = comfyui.queue(prompt)
    [path] = comfyui.files(entry)
    healed, rate = soundfile.read(path, dtype="float32")
    assert rate == coughs.rate and len(healed) == len(coughs.samples)
    inside = np.zeros(len(healed), bool)
    for start, stop in coughs.spans:
        here = slice(round(start * rate), round(stop * rate))
        inside[here] = True
        assert rms(healed[here]) < 0.5 * rms(coughs.samples[here]), "no cough is left"
        assert rms(healed[here]) < 3 * rms(coughs.clean) and rms(healed[here]) > 0.1 * rms(coughs.clean)
    np.testing.assert_array_equal(healed[~inside], coughs.samples[~inside])
    told = str(entry["outputs"]["done"])
    assert told.count(" by ") == 3, told
