"""What a model predicts and on which noise it was trained, wherever people write it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.layouts import open_model, save_model
from sonoconvert.errors import SonopaintError
from sonopaint.models.loading import load_model
from sonopaint.models.schedule import alphas_cumprod_of, scaled_linear_alphas_cumprod, training_sigmas

YAMLS = [
    'model:\n  params:\n    parameterization: "v"\n',
    "model:\r\n  params:\r\n    parameterization: v  # Salimans and Ho\r\n",
    '\ufeffmodel: {params: {linear_start: 0.00085, "parameterization": "v"}}\n',
]


@pytest.fixture
def copied(few_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of its own, with its tokenizer beside it."""
    shutil.copytree(few_checkpoint.parent / "tokenizer", tmp_path / "tokenizer")
    return Path(shutil.copyfile(few_checkpoint, tmp_path / "my-model.safetensors"))


@pytest.mark.parametrize("text", YAMLS)
@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_yaml_beside_the_checkpoint_says_v(copied: Path, text: str, suffix: str) -> None:
    copied.with_suffix(suffix).write_text(text, encoding="utf-8", newline="")
    assert load_model(copied).prediction_type == "v_prediction"
    folder = copied.with_name("folder")
    save_model(open_model(copied), folder, to="diffusers")  # and goes along where it is converted
    scheduler = json.loads((folder / "scheduler/scheduler_config.json").read_text(encoding="utf-8"))
    assert scheduler["prediction_type"] == "v_prediction"


@pytest.mark.parametrize(
    "text", ['# parameterization: "v"\n', "parameterization: eps\n", "", "\x00\xff\n", "{[}"]
)
def test_other_yamls_change_nothing(copied: Path, text: str) -> None:
    copied.with_suffix(".yaml").write_text(text, encoding="latin-1")
    (copied.parent / "other.yaml").write_text(YAMLS[0])
    model = load_model(copied)
    assert model.prediction_type == "epsilon"
    assert torch.equal(model.alphas_cumprod, scaled_linear_alphas_cumprod())


@pytest.mark.parametrize(
    ("metadata", "more", "prediction", "zero"),
    [
        ({"modelspec.prediction_type": "v"}, (), "v_prediction", False),
        ({"modelspec.prediction_type": "V"}, (), "v_prediction", False),
        ({"modelspec.prediction_type": "epsilon"}, ("v_pred",), "v_prediction", False),
        ({}, ("v_pred", "ztsnr"), "v_prediction", True),
    ],
)
def test_headers_and_marking_tensors_say_v(
    copied: Path, metadata: dict[str, str], more: tuple[str, ...], prediction: str, zero: bool
) -> None:
    tensors = load_file(copied) | {name: torch.zeros(0) for name in more}
    save_file(tensors, copied, metadata)
    model = load_model(copied)
    assert model.prediction_type == prediction
    assert (model.alphas_cumprod[-1] == 2.0**-24) == zero


def with_scheduler(folder: Path, target: Path, values: dict[str, Any]) -> Path:
    shutil.copytree(folder, target)
    path = target / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    return target


SCHEDULES = [
    {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True},
    {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "rescale_betas_zero_snr": True},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.02, "num_train_timesteps": 500},
    {"trained_betas": [0.001 * (1 + n / 100) for n in range(1000)]},
]


@pytest.mark.parametrize("values", SCHEDULES)
def test_schedules_agree_with_diffusers_and_go_through_a_single_file(
    few_folder: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    from diffusers import DDIMScheduler

    folder = with_scheduler(few_folder, tmp_path / "folder", values)
    model = load_model(folder)
    theirs = DDIMScheduler.from_pretrained(
        folder / "scheduler", local_files_only=True
    ).alphas_cumprod.double()
    if values.get("rescale_betas_zero_snr"):
        assert theirs[-1] == 0 and 0 < model.alphas_cumprod[-1] <= 2.0**-24
        theirs[-1] = model.alphas_cumprod[-1]
    torch.testing.assert_close(model.alphas_cumprod, theirs, rtol=2e-3, atol=2e-6)  # theirs is in float32
    single = tmp_path / "one.safetensors"
    save_model(open_model(folder), single, to="single")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    again = load_model(single)
    assert torch.equal(again.alphas_cumprod, model.alphas_cumprod)
    assert again.prediction_type == model.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    "values",
    [
        {"beta_schedule": "sigmoid"},
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
        {"beta_end": "x"},
        {"beta_end": 2.0},
        {"beta_start": float("nan")},
        {"num_train_timesteps": 0},
        {"num_train_timesteps": 10**12},
        {"trained_betas": [0.1, "x"]},
        {"trained_betas": []},
        {"beta_schedule": None},
    ],
)
def test_unknown_schedules_are_refused_by_name(
    few_folder: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    folder = with_scheduler(few_folder, tmp_path / "odd", values)
    with pytest.raises(
        SonopaintError, match="^odd was trained on a noise schedule that is not known"
    ) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_zero_terminal_snr_begins_at_noise_and_stays_finite() -> None:
    """With v-prediction, a perfect network leads from pure noise to the picture."""
    alphas = alphas_cumprod_of({"beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000,
                                "rescale_betas_zero_snr": True}, "x")  # fmt: skip
    levels = training_sigmas(alphas)
    assert levels[-1] == pytest.approx(4096, rel=1e-3) and bool(torch.isfinite(levels).all())
    assert torch.allclose(alphas[0], scaled_linear_alphas_cumprod()[0])
