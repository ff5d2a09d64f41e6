"""Models that paint waveforms: every task with diffusers' own pipelines and random weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.models.info import describe, list_models
from sonopaint.models.loading import load_model
from sonopaint.models.wave_families import BY_PIPELINE, FAMILIES
from sonopaint.painters.diffusers_waves.dpmpp_3m_sde import Dpmpp3mSde
from sonopaint.painters.diffusers_waves.loading import PAINTERS, load_wave_painter, open_model
from sonopaint.painters.diffusers_waves.stable_audio import noise_level
from sonopaint.painters.waves import WaveJob, WavePainter
from sonopaint.tasks import PaintSettings, extend, generate, inpaint, loop, vary

SETTINGS = PaintSettings("a dog", steps=2, seed=3, guidance_scale=3.0)


@pytest.fixture(scope="module", params=list(PAINTERS))
def painter(request: pytest.FixtureRequest, build_wave: Callable[[str], Any]) -> WavePainter:
    return PAINTERS[request.param](build_wave(request.param), Path(request.param))


@pytest.fixture(scope="module")
def clip() -> Clip:
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(2, 11_025, generator=generator).cumsum(1)
    return Clip(0.1 * torch.tanh(wave / 20), 22_050)


def test_every_task_and_what_is_kept(painter: WavePainter, clip: Clip) -> None:
    """Generate, vary, inpaint a box and frequencies, extend, loop: lengths exact, the rest bit for bit."""
    assert isinstance(painter, WavePainter)
    (made,) = generate(painter, SETTINGS, seconds=0.4)
    assert made.clip.num_samples == round(0.4 * painter.sample_rate)
    assert made.clip.waveform.abs().max() == pytest.approx(10 ** (-1 / 20), abs=1e-4)
    assert made.settings["family"] and made.settings["steps"] == 2

    (varied,) = vary(painter, clip, PaintSettings("a dog", steps=2, strength=0.5))
    assert varied.clip.waveform.shape == clip.waveform.shape
    assert not torch.equal(varied.clip.waveform, clip.waveform)

    region = Region((Box(0.1, 0.2),), feather_s=0.02)
    (whole,) = inpaint(painter, clip, region, SETTINGS)
    low = Region((Box(0.1, 0.2, None, 2000),), feather_s=0.02)
    (part,) = inpaint(painter, clip, low, SETTINGS)
    kept = torch.ones(clip.num_samples, dtype=torch.bool)
    kept[round(0.08 * 22_050) : round(0.22 * 22_050)] = False
    for one in (whole, part):
        assert torch.equal(one.clip.waveform[:, kept], clip.waveform[:, kept])
        assert (one.clip.waveform != clip.waveform)[:, ~kept].float().mean() > 0.9
    above = torch.fft.rfftfreq(1024, 1 / 22_050) > 3500
    middle = slice(round(0.12 * 22_050), round(0.12 * 22_050) + 1024)
    spectra = [torch.fft.rfft((one.clip.waveform - clip.waveform)[:, middle] * torch.hann_window(1024)).abs()
               for one in (whole, part)]  # fmt: skip
    assert spectra[1][:, above].sum() < 0.3 * spectra[0][:, above].sum() + 1e-3

    (longer,) = extend(painter, clip, 0.05, 0.1, SETTINGS)
    left = round(0.05 * 22_050)
    assert longer.clip.num_samples == clip.num_samples + left + round(0.1 * 22_050)
    assert torch.equal(longer.clip.waveform[:, left : left + clip.num_samples], clip.waveform)
    assert longer.clip.waveform[:, -1000:].abs().max() > 0

    (closed,) = loop(painter, clip, SETTINGS, seam_s=0.2)
    middle_kept = slice(round(0.16 * 22_050), round(0.34 * 22_050))
    assert torch.equal(closed.clip.waveform[:, middle_kept], clip.waveform[:, middle_kept])
    assert not torch.equal(closed.clip.waveform[:, :100], clip.waveform[:, :100])


def test_a_seed_gives_the_same_sound_and_strength_is_heard(painter: WavePainter) -> None:
    rate = painter.sample_rate
    samples = rate // 4
    source = 0.1 * torch.sin(torch.arange(samples) * 0.05).repeat(painter.channels, 1)
    told: list[int] = []

    def paint(strength: float, seed: int = 1, prompt: str = "a dog") -> torch.Tensor:
        settings = PaintSettings(steps=4, seed=seed, guidance_scale=3.0)
        job = WaveJob(samples, source, strength=strength)
        return painter.paint_wave(job, prompt, settings, lambda step, *_: told.append(step))

    half = paint(0.5)
    assert half.shape == source.shape and torch.equal(half, paint(0.5))
    assert not torch.equal(half, paint(0.5, seed=2)) and not torch.equal(half, paint(0.5, prompt="xylophone"))
    assert not torch.equal(half, paint(0.9))
    assert max(told) >= 2

    def stop(*_: Any) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        painter.paint_wave(WaveJob(samples), "a dog", SETTINGS, stop)
    with pytest.raises(SonopaintError, match="at most .* s at once"):
        painter.paint_wave(WaveJob(round((painter.longest_s + 1) * rate)), "a dog", SETTINGS)


COMMON = "num_inference_steps generator latents"
GUIDED = f"{COMMON} prompt guidance_scale negative_prompt"
SA3 = f"{COMMON} prompt duration callback_on_step_end"
USED = {
    "AudioLDMPipeline": f"{GUIDED} audio_length_in_s callback output_type",
    "AudioLDM2Pipeline": f"{GUIDED} audio_length_in_s callback output_type",
    "StableAudioPipeline": f"{GUIDED} audio_end_in_s callback",
    "StableAudio3Pipeline": SA3,
    "StableAudio3InpaintPipeline": f"{SA3} audio mask_start_seconds mask_end_seconds",
    "StableAudio3AudioToAudioPipeline": f"{SA3} audio init_noise_level",
    "AceStepPipeline": f"{COMMON} prompt lyrics audio_duration guidance_scale shift callback_on_step_end "
    "task_type src_audio repainting_start repainting_end timesteps",
    "LongCatAudioDiTPipeline": f"{GUIDED} output_type callback_on_step_end",
}


@pytest.mark.parametrize("name", USED)
def test_the_installed_diffusers_takes_what_is_given_to_it(name: str) -> None:
    import diffusers

    taken = inspect.signature(getattr(diffusers, name).__call__).parameters
    assert set(USED[name].split()) <= taken.keys()


def test_the_table_has_every_painter() -> None:
    assert {family.pipeline for family in FAMILIES} == PAINTERS.keys()
    assert USED.keys() == BY_PIPELINE.keys()


def test_a_flow_begins_as_the_documents_have_it_or_on_its_path(build_wave: Callable[[str], Any]) -> None:
    pipe = build_wave("LongCatAudioDiTPipeline")
    latents, noise = torch.ones(1, 2, 3), torch.full((1, 2, 3), 2.0)
    begun = [PAINTERS["LongCatAudioDiTPipeline"](pipe, Path("x"), start).begun(latents, noise, 0.9)
             for start in ("interpolated", "added")]  # fmt: skip
    assert begun[0].unique().tolist() == pytest.approx([0.1 + 1.8]) == [begun[0][0, 0, 0].item()]
    assert begun[1].unique().tolist() == pytest.approx([1 + 1.8])


def test_dpmpp_3m_sde_finds_a_gaussian() -> None:
    """Samples of N(3, 0.5²) by the exact denoiser: mean and spread come out."""
    scheduler = Dpmpp3mSde(0.05, 80.0)
    scheduler.set_timesteps(40)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 20_000, generator=generator) * 80 + 3
    for time in scheduler.timesteps:
        sigma = float(scheduler.sigmas[scheduler.step_index])
        x0 = (x * 0.25 + 3 * sigma**2) / (0.25 + sigma**2)
        v = (x / (sigma**2 + 1) - x0) * (sigma**2 + 1) ** 0.5 / sigma
        x = scheduler.step(v, time, x, generator).prev_sample
    assert x.mean().item() == pytest.approx(3, abs=0.02)
    assert x.std().item() == pytest.approx(0.5, abs=0.03)
    assert noise_level(0.6, 0.3, 500) == pytest.approx(1.38, abs=0.01)
    assert noise_level(0.01, 0.3, 500) > 0.3 and noise_level(1.0, 0.3, 500) == 500


def test_a_folder_is_listed_and_opened_from_disk_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Clip, build_wave: Callable[[str], Any]
) -> None:
    folder = tmp_path / "my-longcat"
    build_wave("LongCatAudioDiTPipeline").save_pretrained(folder)
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    info = describe(folder)
    assert (info.kind, info.format, info.metadata["family"]) == ("waveform", None, "LongCat-AudioDiT")
    assert [one.name for one in list_models() if one.kind == "waveform"] == ["my-longcat"]
    painter = open_model("my-longcat", device="cpu")
    assert isinstance(painter, WavePainter)
    (made,) = vary(painter, clip, SETTINGS)
    assert made.settings["model"] == "my-longcat"
    with pytest.raises(SonopaintError, match="LongCat-AudioDiT, which paints waveforms"):
        load_model("my-longcat")
    with pytest.raises(SonopaintError, match="LoRAs of spectrogram models don't fit it"):
        open_model("my-longcat", loras=[("x", 1.0)])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "no audio model in diffusers' layout"),
        (
            lambda folder: (folder / "vae" / "config.json").unlink(),
            "can't be opened as LongCatAudioDiTPipeline",
        ),
        (
            lambda folder: (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(
                b"x" * 90
            ),
            "can't be opened as LongCatAudioDiTPipeline",
        ),
    ],
)
def test_folders_that_are_not_whole_are_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], said: str, build_wave: Callable[[str], Any]
) -> None:
    folder = tmp_path / "broken"
    build_wave("LongCatAudioDiTPipeline").save_pretrained(folder)
    spoil(folder)
    with pytest.raises(SonopaintError, match=said) as caught:
        load_wave_painter(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_that_answers_no_numbers_is_one_sentence(build_wave: Callable[[str], Any]) -> None:
    pipe = build_wave("LongCatAudioDiTPipeline")
    next(pipe.vae.decoder.parameters()).data.fill_(torch.nan)
    painter = PAINTERS["LongCatAudioDiTPipeline"](pipe, Path("broken"))
    with pytest.raises(SonopaintError, match="broken painted values that are no numbers"):
        painter.paint_wave(WaveJob(800), "a dog", SETTINGS)
