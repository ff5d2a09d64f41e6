"""Models and VAEs along time: windows that agree with the whole where they can, and time that wraps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from sonoconvert.errors import SonopaintError


class FakeModel:
    """A MODEL as far as wrappers go; its network is one convolution along time."""

    def __init__(self) -> None:
        self.wrappers: dict[tuple[str, str], list[Any]] = {}
        torch.manual_seed(0)
        self.network = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
        self.widths: list[int] = []
        self.patcher: Any = None

    def clone(self) -> FakeModel:
        other = FakeModel()
        other.wrappers = {key: list(value) for key, value in self.wrappers.items()}
        other.widths = self.widths
        return other

    def remove_wrappers_with_key(self, kind: str, key: str) -> None:
        self.wrappers.pop((kind, key), None)

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Any) -> None:
        self.wrappers.setdefault((kind, key), []).append(wrapper)

    def apply(self, x: torch.Tensor, **more: Any) -> torch.Tensor:
        """What ComfyUI calls at every step: the wrappers around the network."""

        class Executor:
            class_obj = SimpleNamespace(diffusion_model=self.network, current_patcher=self.patcher)

            def __call__(_, x: torch.Tensor, *__: Any, **___: Any) -> torch.Tensor:
                self.widths.append(x.shape[-1])
                return self.network(x[:, :4])

        wrappers = [one for group in self.wrappers.values() for one in group]
        assert len(wrappers) <= 1, "a later node replaces an earlier one's patch"
        executor = Executor()
        return wrappers[0](executor, x, torch.ones(len(x)), **more) if wrappers else executor(x)


class FakeVAE:
    """A VAE that only shrinks and enlarges, with a convolution that sees the edges."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.first_stage_model = nn.Conv2d(4, 3, 3, padding=1).requires_grad_(False)
        self.widths: list[int] = []

    def decode(self, samples: torch.Tensor) -> torch.Tensor:
        self.widths.append(samples.shape[-1])
        return self.first_stage_model(samples).repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        small = nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return torch.cat([small, small[:, :1]], dim=1)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def patched(run: Any, mini: Any) -> Any:
    def patch(node: str) -> tuple[FakeModel, FakeVAE, FakeModel, FakeVAE]:
        model, vae = FakeModel(), FakeVAE()
        return (model, vae, *run(node, model=model, vae=vae, format=mini).args)

    return patch


def test_short_sounds_go_through_as_ever(patched: Any) -> None:
    model, vae, long_model, long_vae = patched("SonopaintLongAudio")
    x = random(2, 4, 16, 40)
    assert torch.equal(long_model.apply(x), model.apply(x))
    assert torch.equal(long_vae.decode(x), vae.decode(x))


def test_long_sounds_go_in_windows_of_the_models_width(patched: Any) -> None:
    model, vae, long_model, long_vae = patched("SonopaintLongAudio")
    x = random(2, 4, 16, 120)
    inner = slice(1, -1)
    whole = model.apply(x)
    model.widths.clear()
    long_model.widths.clear()
    result = long_model.apply(x)
    assert set(long_model.widths) == {40}
    # A convolution sees one column: but for the windows' own edges, windows and whole are the same.
    assert float((result - whole)[..., inner].abs().mean()) < 0.1 * float(whole.abs().mean())
    assert long_vae.decode(x).shape == (2, 128, 960, 3)
    assert set(vae.widths) == {40}
    assert long_vae.encode(torch.rand(1, 128, 960, 3)).shape == (1, 4, 16, 120)


def test_what_comes_with_the_latents_is_cut_alike(patched: Any) -> None:
    *_, long_model, _ = patched("SonopaintLongAudio")
    x = random(1, 4, 16, 100)
    beside = random(1, 5, 16, 100)
    assert long_model.apply(x, c_concat=beside).shape == x.shape
    with pytest.raises(SonopaintError, match="ControlNet"):
        long_model.apply(x, control={"output": []})


# One window that wraps in the network, and four that wrap round: they begin 24 columns apart.
@pytest.mark.parametrize(("width", "turn"), [(40, 13), (96, 24)])
def test_loops_wrap_in_model_and_vae(patched: Any, width: int, turn: int) -> None:
    model, vae, loop_model, loop_vae = patched("SonopaintLoop")
    x = random(1, 4, 16, width)
    rolled = loop_model.apply(x.roll(turn, -1))
    torch.testing.assert_close(rolled, loop_model.apply(x).roll(turn, -1), atol=1e-5, rtol=1e-4)
    picture = loop_vae.decode(x)
    torch.testing.assert_close(
        loop_vae.decode(x.roll(turn, -1)), picture.roll(8 * turn, 2), atol=1e-5, rtol=1e-4
    )
    if width <= 40:
        assert not torch.allclose(model.apply(x.roll(turn, -1)), model.apply(x).roll(turn, -1), atol=1e-3)
    assert model.network.padding == (1, 1) and vae.first_stage_model.padding == (1, 1)


def test_the_last_of_two_patches_counts(run: Any, mini: Any) -> None:
    model, vae = FakeModel(), FakeVAE()
    once = run("SonopaintLoop", model=model, vae=vae, format=mini).args
    twice = run("SonopaintLongAudio", model=once[0], vae=once[1], format=mini).args
    x = random(1, 4, 16, 40)
    assert torch.equal(twice[0].apply(x), model.apply(x))
    assert torch.equal(twice[1].decode(x), vae.decode(x))


def guider(model: FakeModel, lora: dict[str, str]) -> Any:
    patcher = SimpleNamespace(get_attachment={"lora_metadata": lora}.get)
    [guard] = model.wrappers[("outer_sample", "sonopaint_time")]

    class Executor:
        class_obj = SimpleNamespace(model_patcher=patcher)

        def __call__(self, *values: Any) -> Any:
            return values[3]

    return lambda steps: guard(Executor(), None, None, None, torch.linspace(14, 0, steps + 1))


@pytest.mark.parametrize("header", ["sonopaint.one_step", "sonopaint.on_student"])
def test_a_student_is_not_sampled_in_many_steps(pack: Any, header: str) -> None:
    from sonopaint_comfyui.time_patches import guarded_model

    guarded = guarded_model(guarded_model(FakeModel()))
    student = guider(guarded, {header: "{}"})
    with pytest.raises(SonopaintError, match="20 steps of it are noise: use One-Step Sound"):
        student(20)
    assert len(student(4)) == 5 and len(guider(guarded, {"ss_steps": "9"})(20)) == 21


def test_windows_come_by_themselves_in_the_loras_width(pack: Any) -> None:
    import json

    from sonoconvert.pictures.format import get_format
    from sonopaint_comfyui.time_patches import patched_model, window_of

    model, wide = FakeModel(), get_format("riffusion-v1")
    assert window_of(wide) == 64
    automatic = patched_model(model, 40, circular=False, asked=False)
    automatic.apply(random(1, 4, 16, 120))
    assert set(model.widths) == {40}
    model.widths.clear()
    assert automatic.apply(random(1, 4, 16, 120), control={"output": []}).shape[-1] == 120
    assert model.widths == [120]  # a ControlNet's hint is as wide as the whole

    header = {"sonopaint.format": json.dumps(wide.to_dict())}
    patcher = SimpleNamespace(get_attachment={"lora_metadata": header}.get)
    model.widths.clear()
    automatic.patcher = patcher
    automatic.apply(random(1, 4, 16, 64))
    assert model.widths == [64]
