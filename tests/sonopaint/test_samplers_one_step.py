"""One step: x̂0 from one call, as DMD2 has it, for ε- and v-predicting students."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonopaint.models.denoiser import Denoiser
from sonopaint.models.one_step import ON_STUDENT_KEY, ONE_STEP_KEY, student_timestep
from sonopaint.models.schedule import one_step_sigma, scaled_linear_alphas_cumprod
from sonopaint.samplers.one_step import sample_one_step

ALPHAS = scaled_linear_alphas_cumprod()


class Student:
    """A stand-in for a U-Net: remembers its calls and answers with a fixed function of its input."""

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Tensor, float]] = []

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor, **_: object) -> tuple[torch.Tensor]:
        self.calls.append((x, float(timestep)))
        return (torch.tanh(x) * 0.9,)


def model(prediction: str) -> SimpleNamespace:
    return SimpleNamespace(
        unet=Student(), alphas_cumprod=ALPHAS, prediction_type=prediction, device="cpu", dtype=torch.float64
    )


@pytest.mark.parametrize("timestep", [999, 399])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_it_is_the_formula_in_one_call(prediction: str, timestep: int) -> None:
    student = model(prediction)
    noise = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoiser = Denoiser(student, torch.zeros(1, 77, 8), torch.zeros(1, 77, 8), guidance_scale=1.0)
    x0 = sample_one_step(denoiser, noise, one_step_sigma(ALPHAS, timestep))

    alpha, sigma = ALPHAS[timestep] ** 0.5, (1 - ALPHAS[timestep]) ** 0.5
    answer = torch.tanh(noise) * 0.9
    expected = (noise - sigma * answer) / alpha if prediction == "epsilon" else alpha * noise - sigma * answer
    torch.testing.assert_close(x0, expected, atol=1e-9, rtol=1e-9)
    [(seen, at)] = student.unet.calls  # once, and the network sees the noise itself
    torch.testing.assert_close(seen, noise)
    assert at == pytest.approx(timestep, abs=1e-6)


def test_students_are_known_by_their_header() -> None:
    header = {ONE_STEP_KEY: json.dumps({"timestep": 399})}
    assert student_timestep({"mini": {}, "its LoRA": header}) == 399
    with pytest.raises(SonopaintError, match="mini needs many steps.*one-step model or LoRA"):
        student_timestep({"mini": {"modelspec.title": "Mini"}})
    with pytest.raises(SonopaintError, match="This model needs many steps"):
        student_timestep({})
    with pytest.raises(SonopaintError, match="damaged"):
        student_timestep({"x": {ONE_STEP_KEY: "soon"}})
    above = {"dog": {ON_STUDENT_KEY: '{"student": "s", "timestep": 399}'}}
    with pytest.raises(SonopaintError, match="load the LoRA s as well"):
        student_timestep(above)
    assert student_timestep({**above, "s": header}) == 399
    with pytest.raises(SonopaintError, match="header sonopaint.on_student is damaged"):
        student_timestep({"dog": {ON_STUDENT_KEY: "s"}})


@pytest.mark.parametrize("timestep", [-1, 1000])
def test_impossible_timesteps(timestep: int) -> None:
    with pytest.raises(SonopaintError, match="0 to 999"):
        one_step_sigma(ALPHAS, timestep)
