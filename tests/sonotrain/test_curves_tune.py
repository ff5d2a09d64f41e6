"""Kinds of one's own along curves: what learns and what stays, the file, the way from sounds to a sound."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonoconvert.files.hashes import sha256_of
from sonopaint.models.curves_file import load_adapter, new_adapter, save_adapter
from sonotrain.files.json_files import read_json
from sonotrain.trainers.curves.train import export_curves
from sonotrain.training.run import Alone, Run
from sonotrain.training.run_folder import RunFolder

NAMES = ["glimp", "zorble horn"]


def product(run: Path) -> Path:
    return run / read_json(run / "tune.json")["file"]


def test_only_classes_and_film_learn_and_the_loss_falls(case: Callable[[str], Any], tmp_path: Path) -> None:
    chosen = case("tune")
    model = Path(chosen.given["model"])
    before = {path: sha256_of(path) for path in model.rglob("*") if path.is_file()}
    with RunFolder(tmp_path) as folder:
        given = chosen.given | {"learning_rate": 1e-2, "caption_dropout": 0.3}
        trainer = Run(folder, Alone()).prepare(chosen.kind, given)
        frozen = {name: value.clone() for name, value in trainer.unet.state_dict().items()}
        words = {name: value.clone() for name, value in trainer.text_encoder.state_dict().items()}
        first = {name: value.clone() for name, value in trainer.learning.state_dict().items()}
        for number in range(12):
            trainer.step(number)
        assert trainer.names == NAMES and trainer.validate() < 0.99 * trainer.before
    assert all(torch.equal(value, frozen[name]) for name, value in trainer.unet.state_dict().items())
    assert all(torch.equal(value, words[name]) for name, value in trainer.text_encoder.state_dict().items())
    assert {path: sha256_of(path) for path in model.rglob("*") if path.is_file()} == before
    learnt = trainer.learning.state_dict()
    moved = {name for name, value in learnt.items() if not torch.equal(value, first[name])}
    assert {f"1.{number}" for number in range(2)} <= moved  # both classes
    assert {name for name in learnt if name.startswith("0.out.")} <= moved  # every scale and shift


def test_a_class_begins_as_its_words_and_goes_on_from_an_adapter_that_has_it(
    case: Callable[[str], Any], whole: Callable[[str], Path], tmp_path: Path
) -> None:
    chosen, start = case("tune"), product(whole("tune"))
    begun = load_adapter(start)
    assert sorted(begun.classes) == NAMES and begun.variant == "block-film" and begun.channels == 8
    begun.classes["third"] = begun.classes.pop("glimp")
    save_adapter(begun, tmp_path / "start.safetensors", {})
    out = tmp_path / "more"
    assert chosen.train(out, {"start": str(tmp_path / "start.safetensors"), "keep": 0.5})
    more = load_adapter(product(out))
    assert sorted(more.classes) == ["glimp", "third", "zorble horn"]
    assert torch.equal(more.classes["third"], begun.classes["third"])
    assert not torch.equal(more.classes["zorble horn"], begun.classes["zorble horn"])
    with pytest.raises(SonopaintError, match=r"another trainer \(tune\)"):
        export_curves(out, tmp_path / "exported")


def test_from_a_folder_of_sounds_to_a_sound_on_the_command_lines(
    case: Callable[[str], Any],
    mini_folder: Path,
    kinds_folder: Path,
    tmp_path: Path,
    rough: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from sonopaint.cli import main as paint
    from sonotrain.cli import main as train

    sounds, run = kinds_folder / "glimp", tmp_path / "mirliton"
    words = ["curves", "tune", "--sounds", str(sounds), "--kind", "Mirliton", "--model", str(mini_folder)]
    words += ["--variant", "film", "--channels", "8", "--batch", "2", "--device", "cpu", "--threads", "1"]
    words += ["--learning-rate", "0.05", "--warmup", "1", "--steps", "4", "--out", str(run)]
    assert train(words) == 0
    assert train([*words, "--seed", "3", "--resume"]) == 2
    assert "seed (0 → 3)" in capsys.readouterr().err
    adapter = str(run / "mirliton.safetensors")
    common = ["--model", str(mini_folder), "--quiet", "--seed", "1", "--steps", "2", "--adapter", adapter]

    def made(prompt: str) -> torch.Tensor:
        out = tmp_path / "made.wav"
        ask = ["generate", prompt, "--curves", str(sounds / "1.flac"), "-o", str(out), "--force"]
        assert paint([*ask, *common]) == 0
        clip = read_clip(out)
        assert clip.settings["curves_by"] == "film" and clip.settings["prompt"] == prompt
        return clip.waveform

    assert torch.equal(made("a mirliton"), made("MIRLITON nearby"))  # only the class is read
    assert not torch.equal(made("a mirliton"), made("a siren"))
    assert paint(["generate", "a mirliton", "-o", str(tmp_path / "x.wav"), *common]) == 2
    assert "--adapter lets a model follow curves; say which with --curves" in capsys.readouterr().err


def adapters(variant: str, folder: Path) -> str:
    path = folder / f"{variant}.safetensors"
    save_adapter(new_adapter(variant, {"conv_in": (320, 0)}, 8), path, {})
    return str(path)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"sounds": ""}, "There is no folder of sounds; name one with sounds"),
        ({"sounds": "absent"}, "There is no folder absent"),
        ({"kind": "!?"}, "give it a word that prompts can name"),
        ({"vectors": 1}, "vectors must be 2 to 77, not 1"),
        ({"start": "output"}, "an adapter output; start takes one of block-film or film"),
        ({"start": "concat"}, "an adapter concat; start takes one of block-film or film"),
        ({"start": "film"}, "was made for another kind of model"),
        ({"start": "absent.safetensors"}, "There is no file absent.safetensors"),
        ({"keep": 0.5}, "a share of start"),
        ({"model": "absent"}, "absent holds no Mini"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    more: dict[str, Any], sentence: str, case: Callable[[str], Any], tmp_path: Path
) -> None:
    if more.get("start") in ("output", "concat", "film"):
        more = {"start": adapters(more["start"], tmp_path)}
    with pytest.raises(SonopaintError, match=sentence):
        case("tune").train(tmp_path / "run", more)


@pytest.mark.parametrize(
    ("waveform", "sentence"),
    [
        (None, "no sounds|no sound files"),
        (torch.zeros(1, 32_000), "No clip is left to train on"),
        (torch.full((1, 32_000), np.nan), "No clip is left to train on"),
        (torch.ones(1, 200), "No clip is left to train on"),
        (torch.sin(torch.arange(32_000)[None] / 9), "put it into a folder that is named after its kind"),
    ],
)
def test_sounds_that_teach_nothing_are_told_in_a_sentence(
    waveform: torch.Tensor | None, sentence: str, case: Callable[[str], Any], tmp_path: Path
) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    if waveform is not None:
        soundfile.write(sounds / "one.wav", waveform[0].numpy(), 32_000, subtype="FLOAT")
    with pytest.raises(SonopaintError, match=sentence) as told:
        case("tune").train(tmp_path / "run", {"sounds": str(sounds)})
    assert str(told.value).count("\n") == 0


def test_other_datasets_are_refused_and_one_recording_is_enough(
    case: Callable[[str], Any], kinds_folder: Path, make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    one = tmp_path / "one"
    (one / "glimp").mkdir(parents=True)
    shutil.copy(kinds_folder / "glimp/1.flac", one / "glimp")
    assert case("tune").train(tmp_path / "run", {"sounds": str(one)})
    assert list(load_adapter(product(tmp_path / "run")).classes) == ["glimp"]
    config = (tmp_path / "run/config.json").read_bytes()
    shutil.copy(kinds_folder / "glimp/3.flac", one / "glimp/1.flac")  # another sound of the same name
    with pytest.raises(SonopaintError, match="The dataset has changed since"):
        case("tune").train(tmp_path / "run", {"sounds": str(one)}, resume=True)
    assert (tmp_path / "run/config.json").read_bytes() == config
    dataset = make_dataset(2, 1)
    assert case("tune").train(tmp_path / "of-dataset", {"sounds": str(dataset)})
    about = read_json(dataset / "dataset.json")
    (dataset / "dataset.json").write_text(
        json.dumps(about | {"format": {**about["format"], "sample_rate": 44_100}})
    )
    with pytest.raises(SonopaintError, match="but the model paints sonopaint-mini"):
        case("tune").train(tmp_path / "other", {"sounds": str(dataset)})
