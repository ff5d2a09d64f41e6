"""The loss of LoRA training: targets, weights, masks; schedules; logs of killed runs."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch
from PIL import Image

from sonoconvert.errors import SonopaintError
from sonopaint.models.schedule import scaled_linear_alphas_cumprod
from sonotrain.trainers.lora import objective as masked
from sonotrain.trainers.lora.optimisers import make_schedule
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training import objective
from sonotrain.training.curves import PANELS, draw_curves, smoothed
from sonotrain.training.losses import diffused
from sonotrain.training.run_folder import RunFolder, read_log

ALPHAS = scaled_linear_alphas_cumprod().float()


def test_v_gives_back_picture_and_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    alpha = ALPHAS[[3, 500, 990]]
    noisy = diffused(x, noise, alpha)
    v = objective.target(x, noise, alpha, "v_prediction")
    root, rest = (a[:, None, None, None].sqrt() for a in (alpha, 1 - alpha))
    assert torch.allclose(root * noisy - rest * v, x, atol=1e-5)
    assert torch.allclose(rest * noisy + root * v, noise, atol=1e-5)


def test_min_snr_weights_are_those_of_the_paper() -> None:
    steps = torch.tensor([0, 200, 999])
    ratio = ALPHAS[steps] / (1 - ALPHAS[steps])
    epsilon = objective.loss_weights(ALPHAS, steps, "epsilon", 5.0)
    v = objective.loss_weights(ALPHAS, steps, "v_prediction", 5.0)
    assert torch.allclose(epsilon, ratio.clamp(max=5) / ratio)
    assert torch.allclose(v, ratio.clamp(max=5) / (ratio + 1))
    assert objective.loss_weights(ALPHAS, steps, "epsilon", 0.0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("padding", [0.0, 0.1, 1.0])
def test_padding_counts_less_and_every_clip_counts_the_same(padding: float) -> None:
    masks = torch.full((2, 16, 40), 2, dtype=torch.uint8)
    masks[0, :, 10:] = 1
    weights = masked.cell_weights(masks, padding)
    assert torch.allclose(weights.mean((1, 2, 3)), torch.ones(2))
    assert torch.allclose(weights[0, 0, :, 20], padding * weights[0, 0, :, 0])
    masks[1, 3] = 0  # hidden by SpecAugment: it must not be learnt as silence
    assert (masked.cell_weights(masks, padding)[1, 0, 3] == 0).all()
    predicted = torch.zeros(2, 4, 16, 40, requires_grad=True)
    masked.errors(predicted, torch.ones(2, 4, 16, 40), masked.cell_weights(masks, padding)).sum().backward()
    assert predicted.grad is not None and (predicted.grad[1, :, 3] == 0).all()


def test_noise_offset_moves_whole_channels_only() -> None:
    plain = masked.offset_noise((2, 4, 8, 8), torch.Generator().manual_seed(3), 0.0)
    moved = masked.offset_noise((2, 4, 8, 8), torch.Generator().manual_seed(3), 0.5)
    difference = moved - plain
    assert difference.abs().max() > 0.1 and difference.std((2, 3)).max() < 1e-6


@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "cosine-restarts", "polynomial"])
@pytest.mark.parametrize(("version", "reached", "half"), [(1, 0.75, 50), (2, 0.999, 55)])
def test_schedules_warm_up_and_end_low(name: str, version: int, reached: float, half: int) -> None:
    scale = make_schedule(LoraOptions(schedule=name, warmup=0.1, restarts=2), 100, version)
    values = [scale(step / 100, step) for step in range(100)]
    assert values[0] == pytest.approx(0.1, abs=0.02) and max(values) <= 1.0 and values[9] > reached
    assert (values[-1] == 1.0) if name == "constant" else (values[-1] < 0.06)
    assert (values[half] > 0.99) == (name in ("constant", "cosine-restarts"))


def test_smoothing_has_no_bias_at_its_start() -> None:
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([0.0, 1.0])[1] == pytest.approx(0.1 / 0.19)


def test_the_log_of_a_killed_run_is_read_in_order(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        for step, loss in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 2.5), (3, 3.5)):
            run.log(step=step, loss=loss)
        run.log(step=3, validation_loss=0.5)
        run.log(step=3, validation_loss=0.5)
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    lines = read_log(tmp_path)
    assert [(line["step"], line.get("loss")) for line in lines] == [(1, 1.0), (2, 2.5), (3, 3.5), (3, None)]


def test_a_full_disk_stops_cleanly_with_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """A limit on files' sizes does to the writer what a full disk does."""
    with RunFolder(tmp_path) as run:
        run.save_checkpoint(1, {"step": 1, "weight": torch.zeros(10)})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(SonopaintError, match="last good checkpoint is that of step 1"):
                run.save_checkpoint(2, {"step": 2, "weight": torch.zeros(100_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        saved = run.load_checkpoint()
        assert saved is not None and saved["step"] == 1
        assert not list(run.checkpoints.glob("*.part"))


def test_curves_show_whatever_a_run_logged(tmp_path: Path) -> None:
    """A subject's run logs other losses than a LoRA's; panels without a line would only be empty frames."""
    pytest.importorskip("matplotlib")
    sizes = []
    for names in (["loss", "lr"], ["matching", "target", "fake", "spread", "lr"]):
        assert set(names) <= set(PANELS)
        lines = [{"step": step, "seconds": 1.0, **dict.fromkeys(names, 0.1 * step)} for step in (1, 2, 3)]
        lines[0]["norm"] = 1.0  # once: no curve
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert draw_curves(tmp_path, tmp_path / "curves.png")
        sizes.append(Image.open(tmp_path / "curves.png").size)
    assert sizes[0][0] == sizes[1][0] and 2.8 < sizes[1][1] / sizes[0][1] < 3.2  # one row of two, and three


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_flow_objective_is_the_error_of_the_velocity(prediction: str) -> None:
    """v̂ by z_t = t·x + (1 − t)·ε and JiT's v = (x̂ − z)/(1 − t), against the weighted error."""
    generator = torch.Generator().manual_seed(0)
    x, noise, wrong = (torch.randn(4, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    steps = torch.tensor([40, 300, 700, 990])
    alphas = ALPHAS.double()
    alpha = alphas[steps]
    noisy = diffused(x, noise, alpha)
    root, rest = (a[:, None, None, None].sqrt() for a in (alpha, 1 - alpha))
    time = root / (root + rest)
    z = noisy / (root + rest)
    assert torch.allclose(z, time * x + (1 - time) * noise)
    said = objective.target(x, noise, alpha, prediction) + 0.1 * wrong
    if prediction == "epsilon":
        sound = (noisy - rest * said) / root
    elif prediction == "v_prediction":
        sound = root * noisy - rest * said
    else:
        sound = said
    velocity = (sound - z) / (1 - time)
    error = (velocity - (x - noise)).square().mean((1, 2, 3))
    plain = (said - objective.target(x, noise, alpha, prediction)).square().mean((1, 2, 3))
    weights = objective.loss_weights(alphas, steps, prediction, 5.0, "flow")
    assert torch.allclose(weights * plain, error, rtol=1e-6)


def test_flows_times_are_spread_as_was_asked() -> None:
    def times(**how: float) -> torch.Tensor:
        steps = objective.draw_timesteps(ALPHAS, 20_000, torch.Generator().manual_seed(0), "flow", **how)
        assert steps.min() >= 0 and steps.max() <= 999
        return 1 / (1 + ((1 - ALPHAS[steps]) / ALPHAS[steps]).sqrt())

    logits = torch.logit(times())
    assert abs(logits.mean()) < 0.03 and abs(logits.std() - 1) < 0.03
    assert abs(torch.logit(times(mean=-0.8, spread=0.8)).mean() + 0.8) < 0.03
    alike = times(spread=0)
    inner = alike[(alike > 0.1) & (alike < 0.9)]
    assert torch.histc(inner, 8, 0.1, 0.9) == pytest.approx(torch.full((8,), 2000.0), rel=0.1)
    before = torch.randint(1000, (5,), generator=torch.Generator().manual_seed(3))
    assert objective.draw_timesteps(ALPHAS, 5, torch.Generator().manual_seed(3)).equal(before)


def test_a_model_that_predicts_the_sound_itself_is_not_taken_for_another() -> None:
    assert objective.prediction_of("auto", "sample") == "sample"
    assert objective.prediction_of("v_prediction", "epsilon") == "v_prediction", "a file may say nothing"
    for chosen, says in (("sample", "epsilon"), ("epsilon", "sample")):
        with pytest.raises(SonopaintError, match="prediction"):
            objective.prediction_of(chosen, says)
