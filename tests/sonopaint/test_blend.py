"""Blending with a tiny auto-encoder of random weights: levels, weights, lengths, channels, bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.files import read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint import cli
from sonopaint.blend.blending import LEVELS, Blender, Source
from sonopaint.models.blend.file import BlendModel, read_blend, write_blend
from sonopaint.models.blend.network import VARIANTS, BlendNetwork
from sonopaint.models.blend.pyramid import fine_mel, pyramid_of, to_bytes
from sonopaint.models.jingles.spaces import MiniLatents, Scaling
from sonopaint.samplers import edm

SIZES = {"width": 8, "multipliers": (1, 1, 2, 2), "code": 4, "bottleneck": 4, "encoder": 2}


def tiny(variant: str = "laplacian") -> BlendModel:
    """Random weights that make every code count."""
    torch.manual_seed(0)
    network = BlendNetwork(variant, **SIZES)  # type: ignore[arg-type]
    for name, weight in network.named_parameters():
        if "conv2" in name or "head.weight" in name:
            nn.init.normal_(weight, std=0.1)
    scaling = Scaling(torch.zeros(1, 64, 1), torch.full((1, 64, 1), 0.8))
    return BlendModel(network.eval().requires_grad_(False), "latents", 32, scaling, name="tiny")


@pytest.fixture(scope="module")
def blender() -> Blender:
    """Whose latents become sound in no time."""
    return quick(tiny())


def quick(model: BlendModel) -> Blender:
    made = Blender(model)
    assert isinstance(made.space, MiniLatents)
    made.space = Rough(**vars(made.space))
    return made


class Rough(MiniLatents):
    """A wave whose samples are the sums of a frame's latents."""

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        signs = torch.arange(len(tensor))[:, None] % 3 - 1
        wave = (tensor * signs).sum(0).repeat_interleave(self.hop)[None, :num_samples]
        return Clip(wave / 500, self.sample_rate)


def sound(hertz: float, seconds: float = 1.0, rate: int = 32_000, channels: int = 1) -> Clip:
    time = torch.arange(round(seconds * rate)) / rate
    wave = torch.stack([torch.sin(2 * math.pi * hertz * (1 + c) * time) for c in range(channels)])
    return Clip(0.5 * wave * torch.exp(-3 * time), rate)


LOW, MID, HIGH = sound(110), sound(700), sound(5000)
ALL = {"coarse": Source(LOW), "mid": Source(MID), "fine": Source(HIGH)}


def made(blender: Blender, sources: dict[str, Source], **how: object) -> Tensor:
    return blender.blend(sources, steps=2, **how)[0].clip.waveform  # type: ignore[arg-type]


# --- network ------------------------------------------------------------------------------------------------


def test_codes_are_a_cumulative_pyramid_whose_frames_are_repeated() -> None:
    network = tiny().network
    codes = network.codes(torch.rand(2, 128, 176) * 8, None, 8)
    assert {k: tuple(v.shape) for k, v in codes.items()} == {
        "coarse": (2, 4, 2), "mid": (2, 4, 4), "fine": (2, 4, 8)
    }  # fmt: skip
    coarse, mid, fine = network.conditions(codes)
    assert torch.equal(coarse, codes["coarse"])
    assert torch.equal(mid[..., 2], codes["mid"][..., 2] + codes["coarse"][..., 1])
    assert torch.equal(fine[..., 5], codes["fine"][..., 5] + mid[..., 2])
    only = network.conditions({"mid": codes["mid"]})
    assert not only[0].any() and torch.equal(only[2][..., 7], codes["mid"][..., 3])


def test_a_level_hears_its_own_scale_only() -> None:
    mel = torch.rand(1, 128, 176) * 8
    levels = pyramid_of(mel)
    assert [tuple(x.shape) for x in levels] == [(1, 1, 32, 44), (1, 1, 64, 88), (1, 1, 128, 176)]
    # What averages out over 2 × 2 cells is unheard by mid and coarse.
    check = (torch.arange(128)[:, None] + torch.arange(176)) % 2 * 2.0 - 1
    codes, other = (tiny().network.codes(m, None, 8) for m in (mel, mel + check))
    assert torch.allclose(codes["coarse"], other["coarse"], atol=1e-5)
    assert torch.allclose(codes["mid"], other["mid"], atol=1e-5)
    assert not torch.allclose(codes["fine"], other["fine"], atol=1e-3)
    # 8 bits are near enough
    heard = fine_mel(sound(440), 1.0)
    assert float((to_bytes(heard) / 16 - heard).abs().max()) < 0.032


def test_a_laplacian_level_hears_only_what_it_adds() -> None:
    """Louder by one step, a sound has the same details; and details and coarse make the whole again."""
    mel = torch.rand(1, 128, 177) * 8
    coarse, mid, fine = pyramid_of(mel, laplacian=True)
    louder = pyramid_of(mel + 1, laplacian=True)
    assert not torch.allclose(louder[0], coarse, atol=0.1)
    assert torch.allclose(louder[1], mid, atol=1e-5) and torch.allclose(louder[2], fine, atol=1e-5)
    grown = 3 * coarse + 5
    for detail in (mid, fine):
        twice = grown.repeat_interleave(2, -2).repeat_interleave(2, -1)
        grown = torch.nn.functional.pad(
            twice, (0, detail.shape[-1] - twice.shape[-1], 0, 0), mode="replicate"
        )
        grown = grown + 0.7 * detail
    assert torch.allclose(grown[0, 0], mel[0], atol=1e-4)
    codes, other = (tiny().network.codes(m, None, 8) for m in (mel, mel + 1))
    assert torch.allclose(codes["fine"], other["fine"], atol=1e-4)
    assert not torch.allclose(codes["coarse"], other["coarse"], atol=1e-3)


def test_a_laplacian_code_is_never_stuck_at_its_ends() -> None:
    """However large an encoder's weights grow: at ±1 for good, it would learn no more."""
    network = tiny().network
    mel = (torch.rand(1, 128, 176) * 8).requires_grad_()
    for weight in network.encoders.parameters():
        weight.data *= 20
    code = network.codes(mel, None, 8)["mid"]
    code.sum().backward()
    assert (
        mel.grad is not None and float(code.detach().abs().mean()) < 0.9 and float(mel.grad.abs().max()) > 0
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_keep_a_model(variant: str, tmp_path: Path) -> None:
    model = tiny(variant)
    write_blend(tmp_path / "a.safetensors", model, {"sonopaint.training": "{}"})
    back = read_blend(tmp_path / "a.safetensors")
    assert back.network.config == model.network.config and back.frames == 32 and back.name == "a"
    own = model.network.state_dict()
    assert all(torch.equal(own[k].half().float(), v) for k, v in back.network.state_dict().items())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_blend(path, tiny())
    tensors = read_tensors(path)
    with pytest.raises(SonopaintError, match="no model that blends"):
        write_tensors(tmp_path / "b.safetensors", tensors, {})
        read_blend(tmp_path / "b.safetensors")
    facts = {"network": dict(tiny().network.config), "space": "latents", "frames": 32}
    facts["network"]["width"] = 10**9  # type: ignore[index]
    write_tensors(tmp_path / "c.safetensors", tensors, {"sonopaint.blend": json.dumps(facts)})
    with pytest.raises(SonopaintError, match="header is damaged"):
        read_blend(tmp_path / "c.safetensors")
    facts["network"]["width"] = 16  # type: ignore[index]
    write_tensors(tmp_path / "d.safetensors", tensors, {"sonopaint.blend": json.dumps(facts)})
    with pytest.raises(SonopaintError, match="does not fit its own description"):
        read_blend(tmp_path / "d.safetensors")
    with pytest.raises(SonopaintError, match="one code only"):
        Blender(tiny("dae"))


# --- blending -----------------------------------------------------------------------------------------------


def test_each_level_is_taken_from_its_source(blender: Blender) -> None:
    whole = made(blender, ALL)
    assert whole.shape == (1, 32_000) and torch.equal(whole, made(blender, ALL))
    for level in LEVELS:
        assert not torch.equal(whole, made(blender, ALL | {level: Source(sound(2000))})), level
    assert not torch.equal(whole, made(blender, ALL, seed=1))
    # what is missing is the first one's
    for level, clip in (("coarse", LOW), ("mid", MID)):
        every = dict.fromkeys(LEVELS, Source(clip))
        assert torch.equal(made(blender, {level: Source(clip)}), made(blender, every))
    said = blender.blend({"coarse": Source(LOW), "fine": Source(HIGH)}, steps=2)[0].notes
    assert "The mid is the first source's." in said


def test_weights_and_crossfades_have_their_ends(blender: Blender) -> None:
    fine = Source(HIGH, other=MID)
    ends = [made(blender, ALL | {"fine": Source(HIGH, other=MID, mix=m)}) for m in (0, 0.5, 1)]
    assert torch.equal(ends[0], made(blender, ALL)) and fine.mix == 0
    assert torch.allclose(ends[2], made(blender, ALL | {"fine": Source(MID)}), atol=1e-6)
    assert not torch.allclose(ends[1], ends[0], 1e-4) and not torch.allclose(ends[1], ends[2], 1e-4)
    # a level of weight 0 is not asked at all
    without = made(blender, ALL | {"fine": Source(HIGH, weight=0)})
    assert torch.equal(without, made(blender, ALL | {"fine": Source(MID, weight=0)}))
    assert not torch.equal(made(blender, ALL | {"fine": Source(HIGH, weight=1.5)}), made(blender, ALL))
    assert not torch.equal(made(blender, ALL, guidance=2.0), made(blender, ALL))


def test_weights_lead_along_a_line(blender: Blender) -> None:
    """D(w) = D without the level + w (D − D without it), between 0 and 1 and beyond."""
    codes = {k: torch.randn(1, 4, 8 // s) for k, s in (("coarse", 4), ("mid", 2), ("fine", 1))}
    x = torch.randn(1, 64, 8)

    def at(weight: float) -> Tensor:
        return blender._denoise(codes, {"coarse": 1.0, "mid": weight, "fine": 1.0}, 1.0)(x, 0.7)

    none, half, one, more = (at(w) for w in (0.0, 0.5, 1.0, 1.5))
    assert torch.allclose(half, (none + one) / 2, atol=1e-5)
    assert torch.allclose(more, one + (one - none) / 2, atol=1e-5) and not torch.allclose(
        one, none, atol=1e-4
    )


@pytest.mark.parametrize("variant", ["laplacian", "pyramid", "hdae"])
def test_lengths_rates_and_channels_may_differ(variant: str) -> None:
    blender = quick(tiny(variant))
    other = {"mid": Source(sound(700, 0.3, 22_050)), "fine": Source(sound(5000, 2.0, 48_000, 2))}
    result = blender.blend({"coarse": Source(LOW)} | other, steps=2, count=2, seed=5)
    assert [r.clip.waveform.shape for r in result] == [(2, 32_000)] * 2
    assert result[1].settings["seed"] == 6 and not torch.equal(
        result[0].clip.waveform, result[1].clip.waveform
    )
    said = " ".join(result[0].notes)
    assert "mid lasts 0.30 s; it goes round" in said and "fine, the first 1.00 s are taken" in said
    left, right = result[0].clip.waveform
    assert not torch.equal(left, right)
    again = blender.blend({"coarse": Source(LOW)} | other, steps=2, seed=6)[0]
    assert torch.equal(again.clip.waveform, result[1].clip.waveform)
    # two equal channels are one
    both = Clip(LOW.waveform.repeat(2, 1), 32_000)
    assert made(blender, {"coarse": Source(both)}).shape == (1, 32_000)


def test_long_sounds_go_through_windows(blender: Blender) -> None:
    assert made(blender, ALL, seconds=9.0).shape == (1, 288_000)
    hour = Clip(torch.zeros(1, 400 * 1000).index_fill_(1, torch.tensor([5]), 0.5), 1000)
    notes: list[str] = []
    assert blender._length(hour, None, notes) == 300 * 32_000
    assert notes == ["The source of the coarse lasts 400 s; its first 300 s are taken."]


def test_the_result_is_as_loud_as_the_first_source(blender: Blender) -> None:
    loud = made(blender, {"coarse": Source(LOW), "fine": Source(HIGH)})
    soft = made(blender, {"coarse": Source(Clip(LOW.waveform / 8, 32_000)), "fine": Source(HIGH)})
    assert torch.allclose(soft, loud / 8, rtol=1e-4)
    far = Source(Clip(HIGH.waveform / 5, 32_000))
    assert torch.allclose(loud, made(blender, {"coarse": Source(LOW), "fine": far}), atol=1e-4)


def test_inverted_noise_makes_the_sound_again() -> None:
    """The same way down from where the way up ended."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (x * 0.25 + torch.tanh(x) * sigma**2 * 0.2) / (0.25 + sigma**2)

    data = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    settings = edm.EdmSettings(steps=60)
    noise = edm.invert_edm(denoise, data, settings)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.3)
    assert torch.allclose(edm.sample_edm(denoise, noise, settings), data, atol=0.02)


@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.1, 2.0])
def test_the_family_of_samplers_is_of_second_order(alpha: float) -> None:
    def ideal(x: Tensor, sigma: float) -> Tensor:
        return x * 0.25 / (0.25 + sigma**2)

    noise = torch.linspace(-2, 2, 9)[None]
    exact = noise * 80 * 0.5 / math.hypot(0.5, 80)

    def missed(steps: int) -> float:
        settings = edm.EdmSettings(steps=steps, alpha=alpha)
        return float((edm.sample_edm(ideal, noise, settings) - exact).abs().max())

    assert missed(160) < missed(40) / 9  # a sixteenth, but for the last step, which is Euler's
    assert missed(160) < 2e-3
    with pytest.raises(SonopaintError, match="alpha must be from"):
        edm.EdmSettings(alpha=0)


def test_inversion_keeps_nearer_to_the_sound(blender: Blender) -> None:
    result = blender.blend({"coarse": Source(LOW)}, steps=6, invert=LOW)[0]
    assert result.clip.waveform.shape == (1, 32_000)
    with pytest.raises(SonopaintError, match="one noise"):
        blender.blend({"coarse": Source(LOW)}, count=2, invert=LOW)


SILENCE, SHORT = Clip(torch.zeros(1, 32_000), 32_000), Clip(torch.ones(1, 1600), 32_000)
WRONG: list[tuple[dict[str, Source], dict[str, object], str]] = [
    ({}, {}, "There is no source; give one or more of coarse, mid, fine"),
    ({"deep": Source(LOW)}, {}, "no level 'deep'"),
    ({"coarse": Source(SILENCE)}, {}, "The source of the coarse is silent"),
    ({"coarse": Source(LOW), "fine": Source(SHORT)}, {}, "fine lasts 0.05 s; give one of at least 0.1 s"),
    ({"coarse": Source(LOW, weight=1.6)}, {}, "weight of the coarse must be from 0 to 1.5, not 1.6"),
    ({"coarse": Source(LOW, weight=math.nan)}, {}, "weight of the coarse must be"),
    ({"coarse": Source(LOW, other=MID, mix=-1)}, {}, "mix of the coarse must be from 0 to 1"),
    ({"mid": Source(LOW, mix=0.5)}, {}, "no other source to mix in"),
    ({level: Source(LOW, weight=0) for level in LEVELS}, {}, "All weights are 0"),
    ({"coarse": Source(LOW)}, {"seconds": 4000.0}, "must be from 0.1 to 300, not 4000"),
    ({"coarse": Source(LOW)}, {"count": 0}, "must be from 1 to 64"),
    ({"coarse": Source(LOW)}, {"steps": 1}, "must be from 2 to 200"),
    ({"coarse": Source(LOW)}, {"guidance": math.inf}, "must be from 0 to 5"),
    ({"coarse": Source(Clip(torch.full((1, 9000), math.nan), 9000))}, {}, "samples that are no numbers"),
]


@pytest.mark.parametrize(("sources", "how", "said"), WRONG)
def test_bad_input_is_told_in_a_sentence(
    blender: Blender, sources: dict[str, Source], how: dict[str, object], said: str
) -> None:
    with pytest.raises(SonopaintError) as error:
        blender.blend(sources, **how)  # type: ignore[arg-type]
    assert said in str(error.value) and str(error.value).count(". ") == 0


# --- command line -------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], str]:
    write_blend(tmp_path / "tiny.safetensors", tiny())
    for name, clip in (("door", LOW), ("rattle", MID), ("gravel", HIGH)):
        write_clip(clip, tmp_path / f"{name}.wav")
    return lambda name: str(tmp_path / name)


def test_the_command_blends_files(files: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["blend", files("door.wav"), "--mid", files("rattle.wav"), "--fine", files("gravel.wav")]
    words += ["--model", files("tiny.safetensors"), "--steps", "2", "--seed", "3", "--quiet"]
    assert cli.main([*words, "-o", files("new.wav")]) == 0
    clip = read_clip(files("new.wav"))
    assert clip.num_samples == 32_000 and clip.settings["task"] == "blend" and clip.settings["seed"] == 3
    assert (
        cli.main(
            [*words, "--weight", "fine=0.5", "--mix", f"mid={files('gravel.wav')}:0.4", "-o", files("b.wav")]
        )
        == 0
    )
    levels = read_clip(files("b.wav")).settings["levels"]
    assert levels["fine"] == {"weight": 0.5, "mix": 0.0} and levels["mid"] == {"weight": 1.0, "mix": 0.4}
    assert not torch.equal(read_clip(files("b.wav")).waveform, clip.waveform)
    capsys.readouterr()
    write_clip(Clip(torch.ones(1, 3_600_000).mul(0.1), 1000), files("hour.wav"))
    assert cli.main([*words, "--fine", files("hour.wav"), "-o", files("h.wav")]) == 0
    assert "hour.wav lasts 60 minutes; its first 5 are taken" in capsys.readouterr().err
    for more, said in (
        (["--weight", "deep=1"], "--weight begins with coarse, mid, fine and =, not with 'deep'"),
        (["--weight", "fine=loud"], "--weight needs a number, not 'loud'"),
        (["--mix", "fine=gravel.wav"], "--mix takes LEVEL=SOUND:SHARE"),
        (["--count", "0"], "--count must be from 1 to 64"),
        (["--seconds", "9999"], "--seconds must be from 0.1 to 300"),
    ):
        assert cli.main([*words, "-o", files("c.wav"), *more]) == 2
        assert said in capsys.readouterr().err
