"""The adapter for curves: at first it changes nothing, then only where curves are given; windows, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.points import parse_points
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonopaint.knowledge import knowledge_of
from sonopaint.models.curves import (
    INJECTED,
    VARIANTS,
    CurveAdapter,
    changed,
    control,
    following,
    points_of,
    relative,
    without,
)
from sonopaint.models.curves_file import load_adapter, new_adapter, save_adapter
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.following import Following, adapter_file, in_register
from sonopaint.painters.following import following as follow
from sonopaint.tasks import generate
from sonopaint.tasks.following import exactly, measured
from sonopaint.tasks.settings import PaintSettings

FORMAT = get_format("sonopaint-mini")
MINI = Path(__file__).resolve().parents[2] / "weights/mini"


@pytest.fixture(scope="module")
def curves() -> Curves:
    return parse_points("loudness", "0:-60 2:-12 4:-40", 5.12).joined(
        parse_points("pitch", "0:A3 3:off", 5.12)
    )


def adapter(variant: str, unet: Any, *, trained: bool = True) -> Any:
    torch.manual_seed(1)
    made = new_adapter(variant, points_of(unet), 8).eval().requires_grad_(False)
    for layer in ([made.last] if variant == "output" else made.out) if trained else ():
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made


@pytest.mark.parametrize("variant", INJECTED)
def test_an_untrained_adapter_changes_nothing_and_a_trained_one_only_within_the_block(
    tiny: Any, variant: str
) -> None:
    torch.manual_seed(0)
    x, text = torch.randn(2, 4, 16, 40), torch.randn(2, 7, 64)
    ask = control(parse_points("loudness", "0:-60 5:0", 5.12), FORMAT, 320)

    def paint(made: CurveAdapter | None) -> torch.Tensor:
        with following(tiny.unet, made(ask, x[:1], torch.ones(1)) if made else {}):
            return tiny.unet(x, 500, text, return_dict=False)[0]

    with torch.no_grad():
        plain = paint(None)
        assert torch.equal(paint(adapter(variant, tiny.unet, trained=False)), plain)
        assert not torch.allclose(paint(adapter(variant, tiny.unet)), plain, atol=1e-3)
        assert torch.equal(paint(None), plain)


@pytest.mark.parametrize("variant", ["concat", "block-film"])
def test_curves_act_when_they_say_so(tiny: Any, variant: str) -> None:
    made = adapter(variant, tiny.unet)
    quiet, late = (
        control(Curves(62.5, {"loudness": np.r_[np.full(240, -60.0), np.full(80, level)]}), FORMAT, 320)
        for level in (-60.0, 0.0)
    )
    x = torch.zeros(1, 4, 16, 40)
    for name, (_, level) in made.points.items():
        pairs = zip(made(quiet, x, torch.ones(1))[name], made(late, x, torch.ones(1))[name], strict=True)
        for one, other in pairs:
            if one is not None:
                apart = (one - other).abs().amax((0, 1, 2))
                early = (30 >> level) - 5
                assert apart[:early].max() < 0.2 * apart[(30 >> level) + 1 :].max()


def test_behind_the_unet_nothing_changes_at_first_and_then_where_the_curves_say_so(tiny: Any) -> None:
    x, x0, sigma = torch.randn(2, 4, 16, 40), torch.randn(2, 4, 16, 40), torch.tensor([0.1, 5.0])
    ask = control(parse_points("loudness", "0:-60 2.5:-60 2.6:0 5:0", 5.12), FORMAT, 320).expand(
        2, -1, -1, -1
    )
    assert torch.equal(adapter("output", tiny.unet, trained=False)(ask, x, x0, sigma), x0)
    made = adapter("output", tiny.unet)
    apart = (made(ask, x, x0, sigma) - made(without(ask), x, x0, sigma)).abs().amax((1, 2))
    assert (apart[0] < apart[1]).all()  # where there is little noise the model knows better


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_adapter_behind_the_unet_corrects_either_side_of_the_guidance(tiny: Any, scale: float) -> None:
    from sonopaint.models.denoiser import Denoiser

    class Half(torch.nn.Module):
        variant = "output"

        def forward(self, control: torch.Tensor, x: torch.Tensor, x0: torch.Tensor, sigma: Any) -> Any:
            return x0 / 2

    torch.manual_seed(0)
    x, ask = torch.randn(2, 4, 16, 40) * 3, torch.zeros(2, 138, 16, 40)
    text, other = torch.randn(1, 7, 64), torch.randn(1, 7, 64)
    denoiser = Denoiser(tiny, text, other, scale)
    with torch.no_grad():
        plain = denoiser(x, 3.0)
        denoiser.adapter = Half()
        assert torch.allclose(denoiser(x, 3.0, None, ask), plain / 2, atol=1e-4)
        assert torch.equal(denoiser(x, 3.0), plain)  # no curves, no change


def test_the_control_tells_silence_a_free_curve_and_a_pitch_apart() -> None:
    free = control(Curves(62.5, {"pitch": np.full(320, np.nan)}), FORMAT, 320)
    silent = control(Curves(62.5, {"pitch": np.zeros(320)}), FORMAT, 320)
    tone = control(Curves(62.5, {"pitch": np.full(320, 440.0)}), FORMAT, 320)
    assert free.shape == (1, 138, 16, 40)
    assert not torch.equal(free, silent) and torch.equal(silent[:, :64], torch.zeros(1, 64, 16, 40))
    assert torch.equal(without(tone), free)
    # the drawing's lowest line lies in the cell of 440 Hz, counted from the top
    rows = (tone[0, :64].amax((0, 2)) > 0.5).nonzero()[:, 0]
    assert int(rows.max()) == (127 - round(FORMAT.mel_row(440.0))) // 8


def test_loudness_counts_below_its_loudest() -> None:
    quiet = Curves(10.0, {"loudness": np.array([-50.0, -40.0, np.nan])})
    assert relative(quiet).values["loudness"][:2].tolist() == [-10.0, 0.0]
    assert relative(Curves(10.0, {"loudness": np.full(2, np.nan)})).is_free


def test_a_change_is_repeated_for_guidance_and_cut_to_odd_sizes() -> None:
    hidden, shift = torch.zeros(4, 2, 3, 5), torch.arange(2.0).reshape(1, 2, 1, 1).expand(1, 2, 4, 6)
    assert torch.equal(changed(hidden, (None, shift)), shift[..., :3, :5].repeat(4, 1, 1, 1))
    assert torch.equal(changed(hidden + 1, (shift[:, :, :1], None))[3, 1], torch.full((3, 5), 2.0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_comes_back_from_its_file(tiny: Any, tmp_path: Path, variant: str) -> None:
    made = adapter(variant, tiny.unet)
    save_adapter(made, tmp_path / "curves.safetensors", {})
    back = load_adapter(tmp_path / "curves.safetensors")
    assert back.variant == variant and back.points == made.points
    for name, value in made.state_dict().items():
        assert torch.allclose(back.state_dict()[name], value, atol=1e-3)


def test_other_files_and_other_models_are_refused_with_a_sentence(
    tiny: Any, tmp_path: Path, curves: Curves
) -> None:
    with pytest.raises(SonopaintError, match="has no adapter"):
        follow(tiny, curves)
    with pytest.raises(SonopaintError, match="is no adapter"):
        load_adapter(tiny.path / "unet.safetensors")
    made = adapter("concat", tiny.unet)
    with pytest.raises(SonopaintError, match="free"):
        follow(tiny, Curves(10, {"pitch": np.full(3, np.nan)}), made)
    with pytest.raises(SonopaintError, match="can't be followed"):
        follow(tiny, Curves(10, {"kind:piano": np.ones(3)}), made)
    other = CurveAdapter("concat", {"conv_in": (320, 0)}, 8)
    with pytest.raises(SonopaintError, match="another kind of model"):
        follow(tiny, curves, other)
    notes = follow(tiny, Curves(10, {"chroma": np.array([9.0]), "octave": np.array([4.0])}), made)
    assert notes.curves.values["pitch"].tolist() == pytest.approx([440.0])


def test_a_painter_follows_its_curves_and_tells_them(tiny: Any, curves: Curves) -> None:
    made = adapter("concat", tiny.unet)
    settings = PaintSettings("a dog barks", steps=2, seed=3)
    plain = generate(tiny, settings)[0]
    followed = generate(DiffusersPainter(tiny, Following(curves, made)), settings)[0]
    assert not np.array_equal(plain.picture.pixels, followed.picture.pixels)
    back = Curves.from_dict(followed.clip.settings["curves"])
    assert back.names == ("loudness", "pitch") and "curves" not in plain.settings
    again = generate(DiffusersPainter(tiny, Following(back, made)), settings)[0]
    assert (
        np.abs(again.picture.pixels.astype(int) - followed.picture.pixels).max() <= 2
    )  # four digits are saved
    longer = generate(DiffusersPainter(tiny, Following(curves, made)), settings, seconds=12.0)[0]
    assert longer.clip.duration_s == pytest.approx(12.0, abs=1e-3)  # in windows; free behind the curves' end
    assert adapter_file(tiny).name == "curves.safetensors"


def test_a_part_of_a_recording_follows_the_curves_of_its_own_time(tiny: Any, make_clip: Any) -> None:
    from sonoconvert.edits.region import Box, Region
    from sonopaint.tasks import inpaint

    made, clip = adapter("concat", tiny.unet), make_clip(6.0, 32_000)
    region, settings = Region((Box(4.0, 5.0),)), PaintSettings("rain", steps=2, seed=1)

    def paint(text: str) -> torch.Tensor:
        painter = DiffusersPainter(tiny, Following(parse_points("loudness", text, 6.0), made))
        return inpaint(painter, clip, region, settings)[0].clip.waveform

    early, same, late = (
        paint(t) for t in ("0:-20 0.2:0 0.4:-20 6:-20", "0:-20 0.2:0 0.4:-20 6:-20", "0:0 4:-20 4.5:0 6:-20")
    )
    assert torch.equal(early, same) and not torch.equal(early, late)
    assert torch.equal(late[:, : 32_000 * 3], clip.waveform[:, : 32_000 * 3])


def test_what_the_adapter_leaves_over_is_made_up_for(tiny: Any) -> None:
    """A tone, two semitones too low and evenly loud, comes to the pitch and the loudness that were asked."""
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import Clip
    from sonopaint.tasks.result import Result

    time = torch.arange(3 * 32_000) / 32_000
    tone = sum(torch.sin(2 * torch.pi * 392 * k * time) / k for k in (1, 2, 3, 4, 5)) * 0.2
    clip = Clip(tone[None].float(), 32_000)
    result = Result.of(clip, encode(clip, FORMAT), PaintSettings("a tone", iterations=16).to_dict())
    asked = parse_points("loudness", "0:-50 1.5:-12 2.5:-40 3:free", 3).joined(
        parse_points("pitch", "0:A4", 3)
    )
    fitted = exactly(result, asked)
    got = measured(fitted, asked)
    middle = slice(20, 150)
    cents = 1200 * np.log2(got.values["pitch"][middle] / 440)
    assert np.mean(np.abs(cents) < 50) > 0.95
    assert np.corrcoef(got.values["loudness"][middle], asked.values["loudness"][middle])[0, 1] > 0.98
    assert fitted.settings["curves_exact"] == ["loudness", "pitch"]
    assert float(fitted.clip.waveform.abs().max()) == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    untouched = exactly(result, asked, ())
    assert torch.allclose(
        untouched.clip.waveform / untouched.clip.waveform.max(), clip.waveform / clip.waveform.max()
    )


def test_the_command_line_follows_what_is_hummed_and_what_is_written(
    tiny: Any,
    tiny_folder: Path,
    tmp_path: Path,
    make_clip: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sonoconvert.files.clip import read_clip, write_clip
    from sonopaint.cli import main

    save_adapter(adapter("output", tiny.unet), tmp_path / "adapter.safetensors", {})
    write_clip(make_clip(2.0, 32_000), tmp_path / "hum.wav")
    common = [
        "--model",
        str(tiny_folder),
        "--quiet",
        "--seed",
        "1",
        "--adapter",
        str(tmp_path / "adapter.safetensors"),
    ]
    out = tmp_path / "horn.wav"
    ask = [
        "--curves",
        str(tmp_path / "hum.wav"),
        "--follow",
        "loudness,pitch",
        "--brightness",
        "0:500 1:2000",
    ]
    assert main(["generate", "a horn", *ask, "-o", str(out), *common]) == 0
    made = read_clip(out)
    assert made.duration_s == pytest.approx(2.0, abs=0.02)  # as long as what was hummed
    assert set(made.settings["curves"]["values"]) == {"loudness", "pitch", "brightness"}
    assert main(["generate", "--like", str(out), "-o", str(tmp_path / "again.wav"), *common]) == 0
    assert read_clip(tmp_path / "again.wav").settings["curves"] == made.settings["curves"]
    part = ["inpaint", str(out), "rain", "--region", "0.5:1", "--loudness", "0:-40 1:-6"]
    assert main([*part, "-o", str(tmp_path / "part.wav"), *common]) == 0
    known = knowledge_of(MINI)
    monkeypatch.setattr("sonopaint.painters.diffusers_painter.knowledge_of", lambda *_: known)
    assert main(["generate", "--like", str(out), "-o", str(tmp_path / "known.wav"), *common]) == 0
    part = ["inpaint", str(out), "a cow", "--region", "0.5:1", "--pitch", "0:500"]
    assert main([*part, "-o", str(tmp_path / "cow.wav"), *common]) == 0
    assert capsys.readouterr().err.count("moved down by 2 octaves") == 1
    assert main([*part, "--keep-octave", "-o", str(tmp_path / "high.wav"), *common]) == 0
    assert "octave" not in capsys.readouterr().err
    assert main(["generate", "a horn", "--loudness", "0:40", "-o", str(tmp_path / "x.wav"), *common]) == 2
    assert "out of range" in capsys.readouterr().err
    assert main(["generate", "a horn", "--loudness", "0:-6", "--model", str(tiny_folder), "--quiet"]) == 2
    assert "has no adapter for curves" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "hertz", "times"),
    [
        ("somebody whistling", 300.0, 4.0),  # hummed two octaves below
        ("a cow", 500.0, 0.25),
        ("a violin", 300.0, 1.0),  # within its reach
        ("a violin", 230.0, 1.0),  # outside, but an octave higher is no nearer to its middle
        ("rain", 300.0, 1.0),
        ("a didgeridoo", 300.0, 1.0),
    ],
)
def test_a_hum_moves_by_octaves_to_where_the_kind_is(prompt: str, hertz: float, times: float) -> None:
    known = knowledge_of(MINI)
    pitch = np.array([np.nan, 0.0, hertz, hertz], np.float32)
    hummed = Curves(62.5, {"pitch": pitch, "loudness": np.zeros(4, np.float32)})
    moved = in_register(hummed, known, prompt)
    assert np.allclose(moved.values["pitch"], pitch * times, equal_nan=True)
    assert (times == 1.0) == (moved.notes == ())
    if prompt == "a cow":
        assert moved.notes == ("The pitch was moved down by 2 octaves: “cow” lies between 85 and 180 Hz.",)
    assert in_register(hummed, None, prompt) is hummed
