"""Every example workflow, queued in a real ComfyUI: what comes out is a sound as it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "extensions/comfyui/sonopaint_comfyui/examples"
RATE = 32_000
FULL = 10 ** (-1 / 20)  # generated sounds peak at −1 dBFS

pytestmark = pytest.mark.host


def run(comfyui: Any, name: str, model: str = "mini", **settings: Any) -> list[np.ndarray]:
    """The sounds of an example, with another model in its loader and other settings in its sampler."""
    workflow = json.loads((ROOT / f"example_workflows/{name}.json").read_text())
    prompt = comfyui.prompt_of(workflow)
    of_kind = {node["class_type"]: node["inputs"] for node in prompt.values()}
    if "SonopaintLoadMini" in of_kind:  # Blend has a model of its own
        of_kind["SonopaintLoadMini"]["model"] = model
    if settings:
        of_kind["KSampler"].update(settings)
    entry = comfyui.queue(prompt, {"workflow": workflow})
    sounds = []
    for path in comfyui.files(entry):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == RATE
        sounds.append(samples[:, 0])
    assert sounds
    return sounds


def recording(name: str) -> np.ndarray:
    """An example sound as Save Sound writes it: rounded to 16 bits."""
    samples = soundfile.read(EXAMPLES / f"{name}.ogg", dtype="float32")[0]
    return (np.round(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def test_every_workflow_is_tried_here() -> None:
    names = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    source = Path(__file__).read_text() + Path(__file__).with_name("test_comfyui_any_model.py").read_text()
    assert names and all(f'"{name}"' in source for name in names)


@pytest.mark.parametrize(
    ("name", "seconds", "count"),
    [
        ("Generate a sound", 5.12, 1),
        ("Long ambience", 20, 1),
        ("LoRA", 5.12, 1),
        ("One-step subject", 5.12, 4),
        ("Voice to train horn", 5.12, 1),
        ("Draw the loudness", 5.12, 1),
    ],
)
def test_painting_from_words(comfyui: Any, name: str, seconds: float, count: int) -> None:
    sounds = run(comfyui, name)
    assert [len(sound) for sound in sounds] == [round(seconds * RATE)] * count
    for sound in sounds:
        assert np.abs(sound).max() == pytest.approx(FULL, abs=1e-3)
        assert rms(sound) > 0.005
    assert all(np.abs(a - b).max() > 0.05 for a, b in zip(sounds, sounds[1:], strict=False))


def test_the_long_ambience_sounds_all_the_way(comfyui: Any) -> None:
    [sound] = run(comfyui, "Long ambience")
    levels = [rms(part) for part in np.split(sound, 20)]
    assert min(levels) > 0.1 * max(levels)


def test_interpolating_gives_five_sounds_and_one_of_them_all(comfyui: Any) -> None:
    *sounds, whole = sorted(run(comfyui, "Interpolate A to B"), key=len)
    length = round(5.12 * RATE)
    assert [len(sound) for sound in sounds] == [length] * 5
    assert all(np.abs(a - b).max() > 0.05 for a, b in zip(sounds, sounds[1:], strict=False))
    assert len(whole) == 5 * length - 4 * 16 * 512  # neighbours cross-fade over 16 columns
    levels = [rms(part) for part in np.array_split(whole, 24)]
    assert min(levels) > 0.01 * max(levels)


@pytest.mark.parametrize(("name", "seconds"), [("Generate a sound", 5.12), ("Inpaint a box", 5.12)])
def test_a_checkpoint_takes_minis_place_by_one_choice(
    comfyui: Any, checkpoint: Path, name: str, seconds: float
) -> None:
    """Stable Diffusion 1.5's layout, random weights: what is painted is noise, but it is painted."""
    place = comfyui.base / "models/checkpoints" / checkpoint.name
    if not place.exists():
        place.symlink_to(checkpoint)
    [sound] = run(comfyui, name, model=checkpoint.name, steps=2)
    assert len(sound) == round(seconds * RATE) and rms(sound) > 0.005
    [minis] = run(comfyui, name, steps=2)
    assert rms(sound - minis) > 0.005


def test_the_loop_closes(comfyui: Any) -> None:
    [sound] = run(comfyui, "Seamless loop")
    assert len(sound) == 8 * RATE
    steps = np.abs(np.diff(sound))
    seam = abs(float(sound[0] - sound[-1]))
    assert seam <= np.quantile(steps, 0.999)
    # The spectrum across the seam is like that around it, not one of a cut.
    around = np.concatenate([sound[-512:], sound[:512]]) * np.hanning(1024)
    inside = [sound[i : i + 1024] * np.hanning(1024) for i in range(0, len(sound) - 1024, 4096)]
    top = [float(np.abs(np.fft.rfft(part))[400:].mean()) for part in inside]
    assert float(np.abs(np.fft.rfft(around))[400:].mean()) < 3 * max(top)


def test_inpainting_leaves_every_other_sample(comfyui: Any) -> None:
    [sound] = run(comfyui, "Inpaint a box")
    source = recording("engine")
    assert sound.shape == source.shape
    feather = round(0.05 * RATE)
    first, last = round(1.5 * RATE) - feather, round(3.5 * RATE) + feather
    np.testing.assert_array_equal(sound[:first], source[:first])
    np.testing.assert_array_equal(sound[last:], source[last:])
    assert rms(sound[first:last] - source[first:last]) > 0.01


@pytest.fixture(scope="module")
def judge() -> Any:
    """The three kinds that the shipped classifier hears first in a sound."""
    import torch

    from sonoconvert.files.clip import Clip
    from sonotrain.trainers.mini.sound_classifier import load_classifier

    model, _ = load_classifier()
    return lambda sound: list(dict(model.classify(Clip(torch.from_numpy(sound)[None], RATE))))[:3]


def test_the_repainted_box_sounds_right(comfyui: Any, judge: Any) -> None:
    """A dog is heard in the box, over an engine that goes on."""
    [sound] = run(comfyui, "Inpaint a box")
    source, box = recording("engine"), slice(48_000, 112_000)
    added = sound[box] - source[box]
    assert "dog_bark" in judge(added)
    assert 0.3 < rms(added) / rms(source[box]) < 2
    before, after = (
        np.array([rms(part) for part in np.split(all_of[box], 40)]) for all_of in (source, sound)
    )
    assert (after > 0.8 * before).all()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Generate a sound", "owl"),
        ("Vary a recording", "horse_hooves"),
        ("Extend both sides", "whistling"),
        ("Seamless loop", "horse_hooves"),
        ("Long ambience", "crickets"),
        ("LoRA", "dog_bark"),
        ("One-step subject", "dog_bark"),
        ("Batch of variations", "whistling"),
    ],
)
def test_examples_sound_like_their_words(comfyui: Any, judge: Any, name: str, kind: str) -> None:
    sounds = run(comfyui, name)
    heard = [judge(sound[: round(5.12 * RATE)]) for sound in sounds]
    assert sum(kind in three for three in heard) > len(heard) / 2, heard


def test_extending_keeps_the_recording(comfyui: Any) -> None:
    [sound] = run(comfyui, "Extend both sides")
    source, added = recording("whistling"), round(1.5 * RATE)
    assert len(sound) == len(source) + 2 * added
    np.testing.assert_array_equal(sound[added:-added], source)
    assert rms(sound[:added]) > 1e-4 and rms(sound[-added:]) > 1e-4


def test_three_sounds_become_one(comfyui: Any) -> None:
    [sound] = run(comfyui, "Blend three sounds")
    source = recording("horse_hooves")
    assert len(sound) == len(source) and 0.1 < np.abs(sound).max() <= 1
    assert rms(sound - source) > 0.2 * rms(source)


def test_an_engine_is_matched_and_turned(comfyui: Any) -> None:
    [sound] = run(comfyui, "Match and edit")
    assert RATE < len(sound) < 6 * RATE and 0.05 < np.abs(sound).max() <= 1
    assert rms(sound) > 0.3 * rms(recording("engine"))


@pytest.mark.parametrize(
    ("name", "source", "count"),
    [
        ("Vary a recording", "horse_hooves", 1),
        ("Batch of variations", "whistling", 4),
        ("Choose variations", "whistling", 4),
    ],
)
def test_variations_are_like_their_source(comfyui: Any, name: str, source: str, count: int) -> None:
    sounds, original = run(comfyui, name), recording(source)
    assert [sound.shape for sound in sounds] == [original.shape] * count
    for sound in sounds:
        assert 0.3 < rms(sound) / rms(original) < 3
        assert rms(sound - original) > 0.2 * rms(original)
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(sounds, sounds[1:], strict=False))
