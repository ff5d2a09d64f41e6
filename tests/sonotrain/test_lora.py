"""LoRA training on a tiny model: what comes out, resuming exactly, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from sonoconvert.errors import SonopaintError
from sonotrain.cli import main
from sonotrain.files.json_files import read_json
from sonotrain.trainers.lora.options import read_config, resolve
from sonotrain.trainers.lora.trainer import LoraTrainer
from sonotrain.training.inputs import prior
from sonotrain.training.painting import sample
from sonotrain.training.run import train
from sonotrain.training.run_folder import load_final, read_log

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("rough")


@pytest.fixture(scope="module")
def given(tiny_base: Path, tiny_sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options for a run of a second or two."""
    return {
        "cache": str(tmp_path_factory.mktemp("cache")),
        "model": str(tiny_base), "dataset": str(tiny_sounds), "threads": 1, "steps": 6, "batch": 2, "rank": 4,
        "alpha": 2.0, "checkpoint_every": 99, "validate_every": 3, "preview_every": 0, "preview_steps": 2,
        "log_every": 1, "variants": 2, "preserve": 0.0, "tensorboard": False,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Painting all kinds that --preserve keeps takes longer than a tiny run, and so does validating."""
    monkeypatch.setattr(LoraTrainer, "kept", 6)
    monkeypatch.setattr("sonotrain.trainers.lora.learner.VALIDATION_TIMESTEPS", 2)


def lora_of(run: Path) -> list[torch.Tensor]:
    """The trained factors in the newest checkpoint."""
    return list(load_final(run)[0]["lora"].values())


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    step = LoraTrainer.step

    def failing(self: LoraTrainer, at: int) -> dict[str, torch.Tensor]:
        if at == number:
            raise ConnectionAbortedError
        return step(self, at)

    monkeypatch.setattr(LoraTrainer, "step", failing)


@pytest.mark.draws_curves
def test_a_run_leaves_a_lora_that_does_in_the_engine_what_it_did_in_training(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.models.loading import load_model

    trainers: list[LoraTrainer] = []
    init = LoraTrainer.__init__
    monkeypatch.setattr(
        LoraTrainer, "__init__", lambda self, *args: (init(self, *args), trainers.append(self))[0]
    )
    run = tmp_path / "horn"
    more = {
        "preview_every": 4,
        "learning_rate": 0.03,
        "save_every": 99,
        "preserve": 0.5,
        "licence": "CC0-1.0",
    }
    assert train(LoraTrainer, run, given | more, device="cpu")

    x = torch.randn(2, 4, 16, 40, generator=torch.Generator().manual_seed(0))
    text = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(1))
    steps = torch.tensor([10, 700])
    with torch.no_grad():
        trained = trainers[0].model.unet.eval()(x, steps, text).sample
        base = load_model(given["model"], device="cpu")
        plain = base.unet(x, steps, text).sample
        loaded = load_model(given["model"], device="cpu", loras=[(run / "horn.safetensors", 1.0)])
        used = loaded.unet(x, steps, text).sample
    change = (trained - plain).abs().max()
    assert change > 0.01 and (used - trained).abs().max() < 0.01 * change  # fp16 weights

    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    tensors, alphas = Loader.lora_state_dict(run / "horn.safetensors", unet_config=base.unet.config)[:2]
    Loader.load_lora_into_unet(tensors, network_alphas=alphas, unet=base.unet)
    with torch.no_grad():
        theirs = base.unet(x, steps, text).sample
    assert (theirs - used).abs().max() < 1e-4 * change  # the same numbers, added in another order

    with safe_open(run / "horn.safetensors", framework="pt") as file:
        header, keys = file.metadata(), list(file.keys())
        assert file.get_tensor(next(key for key in keys if key.endswith(".alpha"))).item() == 2.0
    assert not any(str(tmp_path.parent) in value for value in header.values())  # nobody's folders
    downs = [key for key in keys if key.endswith("lora_down.weight")]
    assert downs and len(keys) == 3 * len(downs)  # each with .alpha
    assert all(key.startswith(("lora_unet_input_", "lora_unet_middle_", "lora_unet_output_")) for key in keys)
    assert header["modelspec.sai_model_spec"] == "1.0.1" and header["modelspec.license"] == "CC0-1.0"
    assert header["modelspec.trigger_phrase"] == "zorblat"
    assert json.loads(header["sonopaint.format"])["name"] == "sonopaint-mini"
    assert json.loads(header["ss_tag_frequency"]) == {"zorblat": {"zorblat, a train horn": 6}}
    assert header["ss_network_dim"] == "4" and header["ss_network_alpha"] == "2.0"
    assert header["ss_max_train_steps"] == "6"

    card = (run / "README.md").read_text(encoding="utf-8")
    assert "zorblat" in card and "curves.png" in card and "sheet.png" in card
    assert (run / "horn.png").is_file() and (run / "curves.png").is_file()
    last = run / "previews" / "step-00000006"
    assert {p.name for p in last.iterdir()} >= {
        "sheet.png",
        "0-with.png",
        "0-with.wav",
        "0-without.wav",
        "1-with.wav",
    }
    assert (last / "0-with.png").read_bytes() != (last / "0-without.png").read_bytes()
    first = run / "previews" / "step-00000004"
    from sonoconvert.pictures.picture import load_picture

    same = [load_picture(folder / "0-without.png").pixels for folder in (first, last)]
    assert (same[0] == same[1]).all()
    assert read_json(run / "state.json")["phase"] == "finished"
    losses = [line["validation_loss"] for line in read_log(run) if "validation_loss" in line]
    assert len(losses) == 3 and losses[0] != losses[-1]


VARIETIES = {
    "ema, text encoder, dropout": {"ema": 0.9, "text_encoder": True, "lora_dropout": 0.2, "preserve": 1.0},
    "dora, convolutions, v": {"dora": True, "targets": "all", "conv_rank": 2, "prediction": "v_prediction"},
    "masks, offset, checkpointing": {
        "mix": 0.5, "mask_time_s": 1.0, "noise_offset": 0.1, "gradient_checkpointing": True,
        "accumulation": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("variety", VARIETIES)
def test_a_run_that_broke_off_goes_on_exactly(
    variety: str, tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = given | VARIETIES[variety] | {"steps": 4, "checkpoint_every": 2}
    assert train(LoraTrainer, tmp_path / "whole", options, device="cpu")
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(ConnectionAbortedError):
            train(LoraTrainer, tmp_path / "broken", options, device="cpu")
    assert not (tmp_path / "broken" / "broken.safetensors").exists()
    assert train(
        LoraTrainer, tmp_path / "broken", {}, device="cpu", resume=True
    )  # its options are in config.json
    one, other = lora_of(tmp_path / "whole"), lora_of(tmp_path / "broken")
    assert len(one) > 10 and any(tensor.abs().max() > 0 for tensor in one)
    for tensor, again in zip(one, other, strict=True):
        assert torch.equal(tensor, again)
    first, second = (read_log(tmp_path / name)[-1]["validation_loss"] for name in ("whole", "broken"))
    assert first == second
    shapes = []
    for name in ("whole", "broken"):
        with safe_open(tmp_path / name / f"{name}.safetensors", framework="pt") as file:
            shapes.append({key: file.get_tensor(key) for key in file.keys()})
    assert all(torch.equal(shapes[0][key], shapes[1][key]) for key in shapes[0])


def test_accumulated_batches_do_what_one_large_batch_does(tmp_path: Path, given: dict[str, Any]) -> None:
    assert train(LoraTrainer, tmp_path / "one", given | {"batch": 4, "steps": 4}, device="cpu")
    assert train(
        LoraTrainer, tmp_path / "two", given | {"batch": 2, "accumulation": 2, "steps": 4}, device="cpu"
    )
    for one, two in zip(lora_of(tmp_path / "one"), lora_of(tmp_path / "two"), strict=True):
        assert torch.allclose(one, two, atol=2e-5)


def test_a_second_run_finds_the_caches_of_the_first(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonotrain.training.inputs import latents as caches

    given = given | {"cache": ""}
    assert train(LoraTrainer, tmp_path / "run", given | {"steps": 1}, device="cpu")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    monkeypatch.setattr(caches, "encode_pixels", lambda *_: pytest.fail("a cached clip was encoded again"))
    assert train(LoraTrainer, tmp_path / "run", given | {"steps": 2}, device="cpu")


def test_a_resumed_run_says_which_options_changed(
    tmp_path: Path, given: dict[str, Any], make_dataset: Callable[..., Path]
) -> None:
    run = tmp_path / "run"
    assert train(LoraTrainer, run, given | {"steps": 2}, device="cpu")
    with pytest.raises(SonopaintError, match=r"rank \(4 → 8\), learning_rate \(0.002 → 0.1\)"):
        train(LoraTrainer, run, {"rank": 8, "learning_rate": 0.1, "log_every": 5}, device="cpu", resume=True)
    with pytest.raises(SonopaintError, match="dataset"):
        train(LoraTrainer, run, {"dataset": str(make_dataset(4, 1))}, device="cpu", resume=True)
    with pytest.raises(SonopaintError, match="already holds a run"):
        train(LoraTrainer, run, given, device="cpu")
    assert train(LoraTrainer, run, {"log_every": 5}, device="cpu", resume=True)
    dataset = tmp_path / "sounds"
    shutil.copytree(given["dataset"], dataset)
    moved = tmp_path / "moved"
    assert train(LoraTrainer, moved, given | {"steps": 1, "dataset": str(dataset)}, device="cpu")
    lines = (dataset / "train" / "metadata.jsonl").read_text(encoding="utf-8")
    (dataset / "train" / "metadata.jsonl").write_text(
        lines.replace("train horn", "whistle"), encoding="utf-8"
    )
    with pytest.raises(SonopaintError, match="dataset has changed"):
        train(LoraTrainer, moved, {}, device="cpu", resume=True)


@pytest.mark.parametrize("rate", [3e3, 1e5])
def test_an_explosion_names_the_remedy_and_leaves_whole_checkpoints(
    rate: float, tmp_path: Path, given: dict[str, Any]
) -> None:
    options = given | {
        "learning_rate": rate,
        "warmup": 0.0,
        "steps": 60,
        "clip_norm": 0.0,
        "checkpoint_every": 1,
    }
    with pytest.raises(SonopaintError, match="lower learning_rate"):
        train(LoraTrainer, tmp_path / "run", options, device="cpu")
    parts = load_final(tmp_path / "run")[0]
    assert all(tensor.isfinite().all() for tensor in parts["lora"].values())


def test_stopping_saves_and_resuming_finishes(
    tmp_path: Path, given: dict[str, Any], monkeypatch: Any
) -> None:
    step = LoraTrainer.step

    def stopping(self: LoraTrainer, number: int) -> dict[str, torch.Tensor]:
        if number == 2:
            (tmp_path / "run" / "stop").touch()
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(LoraTrainer, "step", stopping)
        assert not train(LoraTrainer, tmp_path / "run", given, device="cpu")
    assert (tmp_path / "run" / "run-step3.safetensors").is_file()
    assert read_json(tmp_path / "run" / "state.json")["phase"] == "stopped"
    assert train(LoraTrainer, tmp_path / "run", {}, device="cpu", resume=True)
    assert (tmp_path / "run" / "run.safetensors").is_file()


def test_options_come_from_flags_then_file_then_preset(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('rank = 32\nlearning-rate = 3\npreview-prompts = ["a", "b"]\n', encoding="utf-8")
    values = read_config(config)
    assert values == {"rank": 32, "learning_rate": 3.0, "preview_prompts": ("a", "b")}
    options = resolve({**values, "rank": 2, "preset": "8gb"}, mini=False, device=CPU)
    assert (options.rank, options.alpha, options.learning_rate) == (2, 2.0, 3.0)
    assert (options.batch, options.accumulation) == (1, 4)
    assert resolve({"optimiser": "prodigy"}, mini=True, device=CPU).learning_rate == 1.0
    with pytest.raises(SonopaintError, match="no option"):
        read_config(_write(tmp_path / "x.toml", "rnk = 3"))
    with pytest.raises(SonopaintError, match="whole number"):
        read_config(_write(tmp_path / "x.toml", 'rank = "3"'))
    with pytest.raises(SonopaintError, match="not valid TOML"):
        read_config(_write(tmp_path / "x.toml", "rank = "))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--dataset FOLDER"),
        (["--dataset", "/nowhere"], "no folder"),
        (["--rank", "0"], "--rank is 0; it must be 1 to 1024"),
        (["--learning-rate", "-1"], "above 0"),
        (["--epochs", "-2"], "0 or more"),
        (["--precision", "fp16"], "needs a graphics card"),
        (["--optimiser", "prodigy"], "pip install prodigyopt"),
        (["--model", "nothing"], "no model"),
        (["nowhere.toml"], "can't be read"),
        (["--resume"], "no run to resume"),
        (["--device", "cuda:97"], "not available"),
        (["--name", "../x"], "--name"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], message: str, tmp_path: Path, given: dict[str, Any], monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [] if words in ([], ["--resume"]) else ["--dataset", given["dataset"]]
    model = [] if "--model" in words else ["--model", given["model"]]
    assert main(["lora", *filled, *model, "--device", "cpu", *words]) == 2
    errors = capsys.readouterr().err.strip()
    assert message in errors and errors.startswith("sonotrain: ") and "\n" not in errors
    assert not list(tmp_path.rglob("*.safetensors")), "work was done before the complaint"


def test_a_dry_run_measures_and_leaves_nothing(
    tmp_path: Path, given: dict[str, Any], capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--dataset", given["dataset"], "--model", given["model"], "--device", "cpu", "--steps", "50"]
    painted = []
    monkeypatch.setattr(
        prior, "sample", lambda *given, **how: painted.append(sample(*given, **how)) or painted[-1]
    )
    assert main(["lora", *words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [len(part) for part in painted] == [prior.BATCH]  # of the 52 kinds that a run paints first
    assert "50 steps" in said and "s a step" in said and "GB" in said and "MB" in said
    assert not list(tmp_path.iterdir())


def test_the_flow_objective_trains_a_lora_for_the_same_model(tmp_path: Path, given: dict[str, Any]) -> None:
    assert train(LoraTrainer, tmp_path / "flow", given | {"objective": "flow", "steps": 3}, device="cpu")
    assert train(LoraTrainer, tmp_path / "plain", given | {"steps": 3}, device="cpu")
    flow, plain = (read_log(tmp_path / name)[-1] for name in ("flow", "plain"))
    # a velocity's error is larger than that of the noise: (x − ε) has twice its variance
    assert flow["validation_loss"] > plain["validation_loss"] > 0
    (file,) = (tmp_path / "flow").glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["modelspec.prediction_type"] == "epsilon"
        assert json.loads(opened.metadata()["sonopaint.training"])["options"]["objective"] == "flow"
