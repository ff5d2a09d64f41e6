"""Files, sampling helpers and bad input: what comes back, and one clear sentence where nothing can."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import save_file

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.tags import read_tags
from sonoconvert.pictures.format import get_format

# Files --------------------------------------------------------------------------------------------------

GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "Grüße", "clip": ["9", 1]}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "noise", "clip": ["9", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 5, "steps": 20, "cfg": 4.0, "sampler_name": "euler", "denoise": 1.0}
        | {"positive": ["1", 0], "negative": ["2", 0]},
    },
}


@pytest.fixture
def hidden(pack: Any) -> Any:
    node = pack.nodes["SonopaintSaveAudio"]
    before = node.hidden
    node.hidden = type("Hidden", (), {"prompt": GRAPH, "extra_pnginfo": {"workflow": {"nodes": [1, 2]}}})
    yield
    node.hidden = before


def test_save_sound_says_what_mini_does_not_know(pack: Any, run: Any, audio: Any, hidden: None) -> None:
    def saved(words: str, **nodes: Any) -> Any:
        graph = {
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["9", 1]}},
            "3": {"class_type": "KSampler", "inputs": {"seed": 5, "positive": ["1", 0]}},
            "9": {"class_type": "SonopaintLoadMini", "inputs": {"model": "mini", "format": "as the model"}},
        }
        pack.nodes["SonopaintSaveAudio"].hidden.prompt = graph | nodes
        return run("SonopaintSaveAudio", audio=audio(0.2), filename_prefix="known", format="FLAC 16 bit").ui

    ui = saved("a didgeridoo in a cave")
    assert ui["text"] == ("Mini does not know a didgeridoo; nearest: flute, train horn.",)
    path = pack.base / "output" / ui["audio"][0]["subfolder"] / ui["audio"][0]["filename"]
    assert read_clip(path).settings["unknown"] == ui["text"][0]
    assert "text" not in saved("a dog barking")
    lora = {"class_type": "LoraLoader", "inputs": {"lora_name": "zorblax.safetensors", "model": ["9", 0]}}
    assert "text" not in saved("a zorblax", **{"4": lora}), "the LoRA may have taught it"
    other = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}}
    assert "text" not in saved("a didgeridoo", **{"9": other})


@pytest.mark.parametrize(
    ("format", "suffix", "subtype"),
    [
        ("WAV 16 bit", ".wav", "PCM_16"),
        ("WAV 24 bit", ".wav", "PCM_24"),
        ("WAV 32 bit float", ".wav", "FLOAT"),
        ("FLAC 16 bit", ".flac", "PCM_16"),
        ("FLAC 24 bit", ".flac", "PCM_24"),
        ("OGG", ".ogg", "VORBIS"),
    ],
)
def test_files_hold_sound_settings_and_workflow(
    pack: Any, run: Any, audio: Any, hidden: None, format: str, suffix: str, subtype: str
) -> None:
    sound = audio(0.5, 44_100, channels=2, batch=2)
    out = run("SonopaintSaveAudio", audio=sound, filename_prefix=f"a/{subtype}", format=format)
    assert len(out.ui["audio"]) == 2
    for item, expected in zip(out.ui["audio"], sound["waveform"], strict=True):
        path = pack.base / item["type"] / item["subfolder"] / item["filename"]
        assert path.suffix == suffix and soundfile.info(path).subtype == subtype
        clip = read_clip(path)
        assert clip.sample_rate == 44_100 and clip.waveform.shape == expected.shape
        steps = {"PCM_16": 2**-16, "PCM_24": 2**-24, "FLOAT": 0.0, "VORBIS": 0.2}[subtype]
        assert float((clip.waveform - expected).abs().max()) <= steps * 1.001
        assert clip.settings["prompt"] == "Grüße" and clip.settings["negative_prompt"] == "noise"
        assert (clip.settings["seed"], clip.settings["sampler"]) == (5, "euler")
        if suffix == ".wav":
            assert clip.settings["comfyui"] == {"prompt": GRAPH, "workflow": {"nodes": [1, 2]}}
        else:
            tags = read_tags(path)
            assert json.loads(tags["prompt"]) == GRAPH and json.loads(tags["workflow"]) == {"nodes": [1, 2]}


@pytest.mark.parametrize("node", ["SonopaintSaveAudio", "SonopaintPreviewAudio"])
def test_every_sound_of_a_batch_is_shown(
    pack: Any, run: Any, audio: Any, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    views = run(node, audio=audio(0.5, 44_100, channels=2, batch=4)).ui["sonopaint"]
    assert len({view["audio"]["filename"] for view in views}) == 4
    for view in views:
        picture, sound = (
            pack.base
            / ("output" if place["type"] == "output" else "temp")
            / place["subfolder"]
            / place["filename"]
            for place in (view["view"], view["audio"])
        )
        assert picture.read_bytes()[:4] == b"\x89PNG" and read_clip(sound).duration_s == pytest.approx(0.5)
        assert view["duration"] == pytest.approx(0.5, abs=0.02)
    monkeypatch.setattr("sonopaint_comfyui.views.LONGEST_S", 0.1)  # no picture holds hours; they are heard
    assert [set(view) for view in run(node, audio=audio(0.5)).ui["sonopaint"]] == [{"audio"}]


def test_settings_are_found_behind_custom_samplers(pack: Any) -> None:
    from sonopaint_comfyui.files import settings_of

    graph = {
        "a": {"class_type": "CLIPTextEncode", "inputs": {"text": "an owl", "clip": ["m", 1]}},
        "b": {"class_type": "CLIPTextEncode", "inputs": {"text": "a siren", "clip": ["m", 1]}},
        "c": {"class_type": "CLIPTextEncode", "inputs": {"text": "hum", "clip": ["m", 1]}},
        "between": {
            "class_type": "SonopaintInterpolation",
            "inputs": {"prompt_a": ["a", 0], "prompt_b": ["b", 0], "seed_a": 7, "seed_b": 8, "steps": 5},
        },
        "guider": {
            "class_type": "CFGGuider",
            "inputs": {"positive": ["between", 0], "negative": ["c", 0], "cfg": 4.0, "model": ["m", 0]},
        },
        "select": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
        "schedule": {"class_type": "BasicScheduler", "inputs": {"steps": 20, "denoise": 1.0}},
        "sampler": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {"sigmas": ["schedule", 0], "noise": ["between", 1], "guider": ["guider", 0]}
            | {"sampler": ["select", 0]},
        },
    }
    expected = {"prompt": "an owl", "negative_prompt": "hum", "seed": 7, "steps": 20, "sampler": "dpmpp_2m"}
    assert settings_of(graph) == {"task": "comfyui", "guidance_scale": 4.0, "strength": 1.0, **expected}
    assert settings_of({}) == settings_of(None) == {}


def test_loading_resamples_mixes_and_cuts(pack: Any, run: Any, audio: Any) -> None:
    sound = audio(2.0, 44_100, channels=2)
    write_clip(Clip(sound["waveform"][0], 44_100), pack.base / "input/two.wav", force=True)
    whole = run("SonopaintLoadAudio", audio="two.wav")[0]
    assert whole["sample_rate"] == 44_100 and whole["waveform"].shape == (1, 2, 88_200)
    part = run(
        "SonopaintLoadAudio", audio="two.wav", sample_rate=32_000, channels="mono", start=0.5, duration=1.0
    )[0]
    assert part["sample_rate"] == 32_000 and part["waveform"].shape == (1, 1, 32_000)
    node = pack.nodes["SonopaintLoadAudio"]
    assert node.validate_inputs(audio="two.wav") is True
    assert "There is no file gone.wav" in node.validate_inputs(audio="gone.wav")
    stamp = node.fingerprint_inputs(audio="two.wav", start=0.0)
    write_clip(Clip(sound["waveform"][0, :, :100], 44_100), pack.base / "input/two.wav", force=True)
    assert node.fingerprint_inputs(audio="two.wav", start=0.0) != stamp


def test_example_sounds_are_five_seconds(pack: Any, run: Any) -> None:
    names = pack.nodes["SonopaintExampleSound"].define_schema().inputs[0].options["options"]
    assert len(names) == 4
    for name in names:
        sound = run("SonopaintExampleSound", sound=name)[0]
        assert sound["waveform"].shape[-1] / sound["sample_rate"] == pytest.approx(5.12, abs=0.05)


def test_plots_and_envelopes(run: Any, audio: Any, mini: Any) -> None:
    sound = audio(1.0, batch=2)
    sound["waveform"][0, :, :16_000] = 0
    region = run("SonopaintRegion", boxes="0.2:0.6")[0]
    plot = run("SonopaintPlot", audio=sound, region=region, width=300, height=200)[0]
    assert plot.shape == (2, 200, 300, 3)
    assert not torch.equal(plot, run("SonopaintPlot", audio=sound, width=300, height=200)[0])
    values, mask, image = run("SonopaintEnvelope", audio=sound, format=mini).args
    assert len(values) == 63 and max(values) == 1.0 and max(values[:29]) == 0.0
    assert mask.shape == (2, 128, 64) and image.shape == (2, 128, 64, 3)


# Sampling -----------------------------------------------------------------------------------------------


def test_interpolations_start_at_a_and_end_at_b(run: Any) -> None:
    a = [[torch.zeros(1, 77, 8), {"pooled_output": torch.zeros(1, 8)}]]
    b = [[torch.ones(1, 154, 8), {"pooled_output": torch.ones(1, 8)}]]
    latent = {"samples": torch.zeros(1, 4, 16, 40)}
    out = run("SonopaintInterpolation", prompt_a=a, prompt_b=b, latent=latent, seed_a=3, seed_b=4, steps=5)
    [[text, more]], noise, repeated = out.args
    assert text.shape == (5, 154, 8) and text[:, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert more["pooled_output"][:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    made = noise.generate_noise(repeated)
    own = [torch.randn(1, 4, 16, 40, generator=torch.Generator().manual_seed(seed))[0] for seed in (3, 4)]
    torch.testing.assert_close(made[0], own[0])
    torch.testing.assert_close(made[-1], own[1])
    assert made.std(dim=(1, 2, 3)).tolist() == pytest.approx([1] * 5, abs=0.05)


def test_a_batch_is_joined_to_one_long_picture(run: Any, mini: Any) -> None:
    image = torch.rand(3, 128, 64, 3, generator=torch.Generator().manual_seed(1))
    whole, form = run("SonopaintJoin", image=image, format=mini, overlap=0.25).args
    assert whole.shape == (1, 128, 3 * 64 - 2 * 16, 3) and form.num_samples == 160 * 512
    grey = image[0, :, :48].mean(dim=-1)
    assert torch.allclose(whole[0, :, :48, 0], grey, atol=0.003)  # 8 bits
    sound = run("SonopaintSpectrogramToAudio", image=whole, format=form, quality="fast")[0]
    assert sound["waveform"].shape == (1, 1, 160 * 512)


ON_STUDENT = {"sonopaint.on_student": '{"student": "mini-one-step", "timestep": 399}'}


class FakeModel:
    """What one-step nodes ask of a MODEL."""

    def __init__(self, **attachments: dict[str, str]) -> None:
        self.attachments = attachments
        self.patches: dict[str, list[int]] = {}

    def get_attachment(self, name: str) -> Any:
        return self.attachments.get(name)

    def get_model_object(self, _: str) -> Any:
        return type("Sampling", (), {"sigmas": torch.linspace(0.03, 14.6, 1000)})


def test_the_one_step_sampler_takes_students_only(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    student = FakeModel(
        lora_metadata={"sonopaint.one_step": '{"timestep": 399}'}, sonopaint_metadata={"a": "b"}
    )
    sampler, sigmas = run("SonopaintOneStepSampler", model=student).args
    assert sigmas.tolist() == [pytest.approx(0.03 + 399 * 14.57 / 999, abs=1e-4), 0]
    forced = run("SonopaintOneStepSampler", model=FakeModel(), timestep=999)[1]
    assert float(forced[0]) == pytest.approx(14.6)
    with pytest.raises(SonopaintError, match="This model needs many steps.*ordinary sampler"):
        run("SonopaintOneStepSampler", model=FakeModel(sonopaint_metadata={"a": "b"}))

    above = FakeModel(lora_metadata=ON_STUDENT)
    above.patches = {"a.weight": [1]}
    with pytest.raises(SonopaintError, match="load the LoRA mini-one-step as well"):
        run("SonopaintOneStepSampler", model=above)
    above.patches["b.weight"] = [1, 2]  # of two LoRAs
    assert run("SonopaintOneStepSampler", model=above)[1].tolist() == sigmas.tolist()

    calls, scales = [], []

    class Wrapped:
        inner_model = type("Guider", (), {"cfg": 1.0})
        noise = torch.full((1, 4, 2, 2), 2.0)

        def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
            calls.append((x, sigma)), scales.append(self.inner_model.cfg)
            return x * 0

    told = []
    sampler.sampler_function(Wrapped(), torch.zeros(1, 4, 2, 2), sigmas, {}, told.append)
    [(x, sigma)] = calls
    assert torch.allclose(x, 2 * (sigma**2 + 1).sqrt().view(-1, 1, 1, 1).expand_as(x)) and len(told) == 1
    with pytest.raises(SonopaintError, match="20 steps"):
        sampler.sampler_function(Wrapped(), x, torch.linspace(14, 0, 21), {})
    calls.clear()
    few, levels = run("SonopaintOneStepSampler", model=student, steps=4, denoise=0.5).args
    assert len(levels) == 3 and float(levels[0]) == pytest.approx(0.03 + 199 * 14.57 / 999, abs=1e-4)
    start = torch.full((1, 4, 2, 2), 5.0)  # latent and noise, as ComfyUI mixed them
    few.sampler_function(Wrapped(), start, levels, {"seed": 3})
    assert torch.equal(calls[0][0], start) and len(calls) == 2
    again = [x for x, _ in calls]
    few.sampler_function(Wrapped(), start, levels, {"seed": 3})
    assert torch.equal(calls[3][0], again[1])  # the noise in between hangs on the seed
    Wrapped.inner_model.cfg = 7.5
    with caplog.at_level("WARNING"):
        sampler.sampler_function(Wrapped(), x, sigmas, {})
    assert scales[-1] == 1.0 and Wrapped.inner_model.cfg == 7.5  # for others as it was
    assert "cfg 7.5 is not used" in caplog.text


def test_checkpoints_stand_beside_mini(
    pack: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))  # browser tests have models of their own
    node, file = pack.nodes["SonopaintLoadMini"], pack.base / "checkpoints/some.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    try:
        assert node.define_schema().inputs[0].options["options"] == ["mini", "some.safetensors"]
        assert node.validate_inputs(model="some.safetensors") is True
        assert node.fingerprint_inputs(model="some.safetensors", format="as the model")
        with pytest.raises(SonopaintError, match="needs a complete Stable Diffusion 1.5 checkpoint"):
            run("SonopaintLoadMini", model="some.safetensors")
    finally:
        file.unlink()
    assert "choose one of: mini" in node.validate_inputs(model="some.safetensors")


def test_a_subject_brings_its_student_along(pack: Any, run: Any) -> None:
    from sonopaint_comfyui.one_step_nodes import loras_of

    folder, nothing = pack.base / "loras", {"a": torch.zeros(1)}
    save_file(nothing, folder / "dog.safetensors", ON_STUDENT)
    with pytest.raises(SonopaintError, match="'mini-one-step', which is missing"):
        loras_of("dog.safetensors", 0.8)
    save_file(nothing, folder / "mini-one-step.safetensors", {"sonopaint.one_step": '{"timestep": 399}'})
    student, subject = folder / "mini-one-step.safetensors", folder / "dog.safetensors"
    assert loras_of(student.name, 0.8)[0] == [(student, 1.0)]
    files, header = loras_of(subject.name, 0.8)
    assert files == [(student, 1.0), (subject, 0.8)]
    sigmas = run("SonopaintOneStepSampler", model=FakeModel(lora_metadata=header))[1]
    assert float(sigmas[0]) == pytest.approx(0.03 + 399 * 14.57 / 999, abs=1e-4)

    node = pack.nodes["SonopaintLoadOneStep"]
    assert node.define_schema().inputs[2].options["options"] == [student.name, subject.name]
    assert node.validate_inputs(lora=subject.name) is True
    assert "no LoRA cat.safetensors" in node.validate_inputs(lora="cat.safetensors")


def test_a_loras_format_is_its_models(pack: Any, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    def told(name: str) -> dict[str, str]:
        return {"sonopaint.format": json.dumps(get_format(name).to_dict())}

    def format_of(model: Any, **more: Any) -> str:
        return str(run("SonopaintFormat", preset="full-48k", model=model, **more)[0].format.name)

    model = FakeModel(lora_metadata=told("perkins-10s"), sonopaint_metadata=told("riffusion-v1"))
    assert format_of(model) == "perkins-10s"
    assert format_of(model, channels="mid-side") == "perkins-10s-mid-side"
    assert format_of(FakeModel(sonopaint_metadata=told("riffusion-v1"))) == "riffusion-v1"
    assert format_of(FakeModel(lora_metadata={"a": "b"})) == "full-48k"  # nothing says: the preset
    assert run("SonopaintFormat", preset="full-48k")[0].format.name == "full-48k"
    assert not caplog.text
    model.patches = {"a.weight": [1, 2]}
    assert format_of(model) == "perkins-10s" and "more than one LoRA" in caplog.text

    save_file({"a": torch.zeros(1)}, pack.base / "loras" / "bark.safetensors", told("sonopaint-mini"))
    with pytest.raises(SonopaintError, match="paints the format perkins-10s, but bark.*sonopaint-mini"):
        run("SonopaintLoadOneStep", model=model, clip=None, lora="bark.safetensors")


# Bad input ----------------------------------------------------------------------------------------------


def test_bad_input_is_one_sentence_that_says_what_to_change(run: Any, audio: Any, mini: Any) -> None:
    sound, short = audio(1.0), {"waveform": torch.zeros(1, 1, 0), "sample_rate": 32_000}
    riffusion = run("SonopaintFormat", preset="riffusion-v1")[0]
    image, info = run("SonopaintAudioToSpectrogram", audio=sound, format=mini).args
    region = run("SonopaintRegion", boxes="0.2:0.5")[0]
    painted, _, context = run("SonopaintInpaintCanvas", audio=sound, region=region, format=mini).args
    nan = {"waveform": torch.full((1, 1, 9000), torch.nan), "sample_rate": 32_000}
    far = run("SonopaintRegion", boxes="5:6")[0]
    latent = {"samples": torch.zeros(2, 4, 16, 40)}
    text = [[torch.zeros(1, 77, 8), {}]]
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("SonopaintAudioToSpectrogram", {"audio": None, "format": mini}, "no audio"),
        ("SonopaintAudioToSpectrogram", {"audio": short, "format": mini}, "audio is empty"),
        ("SonopaintAudioToSpectrogram", {"audio": nan, "format": mini}, "not numbers"),
        ("SonopaintSpectrogramToAudio", {"image": image, "format": riffusion}, "riffusion-v1 has 512 rows"),
        ("SonopaintSpectrogramToAudio", {"image": image[:, :, :32], "format": info}, "scale or crop"),
        ("SonopaintSpectrogramToAudio", {"image": image * torch.nan, "format": mini}, "NaN"),
        (
            "SonopaintSpectrogramToAudio",
            {"image": image.repeat(3, 1, 1, 1), "format": type(info)(mini.format, (1.0, 2.0))},
            "levels of 2 pictures, but 3",
        ),
        ("SonopaintRegion", {}, "region is empty"),
        ("SonopaintRegion", {"boxes": "one to two"}, "cannot be read"),
        ("SonopaintRegion", {"drawing": "{"}, "could not be read"),
        ("SonopaintRegion", {"mask": torch.zeros(1, 64, 64)}, "region is empty"),
        ("SonopaintRegion", {"mask": torch.ones(1, 128, 70), "format": info}, "The mask is 70 × 128 pixels"),
        ("SonopaintRegion", {"mask": torch.ones(1, 64, 64), "format": info}, "paint the mask on that"),
        ("SonopaintInpaintCanvas", {"audio": sound, "region": far, "format": mini}, "outside the clip"),
        (
            "SonopaintExtendCanvas",
            {"audio": sound, "format": mini, "left": 0.0, "right": 0.0},
            "adds nothing",
        ),
        ("SonopaintPutBack", {"image": painted[:, :64], "context": context}, "not scaled or cropped"),
        ("SonopaintPutBack", {"image": painted[:, :, :8], "context": context}, "not scaled or cropped"),
        ("SonopaintEmptySpectrogram", {"format": mini, "seconds": 0.01}, "seconds must be from 0.1"),
        ("SonopaintPlot", {}, "nothing to plot"),
        ("SonopaintPlot", {"image": image}, "needs its format"),
        ("SonopaintInterpolation", {"prompt_a": text, "prompt_b": text, "latent": latent}, "batch_size to 1"),
        ("SonopaintLoadAudio", {"audio": "gone.wav"}, "no file"),
        ("SonopaintSaveAudio", {"audio": None, "filename_prefix": "x"}, "no audio"),
    ]
    for name, inputs, words in cases:
        with pytest.raises(SonopaintError, match=words) as caught:
            run(name, **inputs)
        assert str(caught.value).count("\n") == 0, name

    two, _, pair = run("SonopaintVariation", audio=audio(1.0, batch=2), format=mini).args
    with pytest.raises(SonopaintError, match="2 recordings but 3 pictures"):
        run("SonopaintPutBack", image=torch.cat([two, two[:1]]), context=pair)


def test_cancelling_stops_every_node_that_works(pack: Any, run: Any, audio: Any, mini: Any) -> None:
    sound = audio(1.0)
    image, form = run("SonopaintAudioToSpectrogram", audio=sound, format=mini).args
    region = run("SonopaintRegion", boxes="0.2:0.5")[0]
    painted, _, context = run("SonopaintInpaintCanvas", audio=sound, region=region, format=mini).args
    working: dict[str, dict[str, Any]] = {
        "SonopaintAudioToSpectrogram": {"audio": sound, "format": mini},
        "SonopaintSpectrogramToAudio": {"image": image, "format": form},
        "SonopaintInpaintCanvas": {"audio": sound, "region": region, "format": mini},
        "SonopaintPutBack": {"image": painted, "context": context},
        "SonopaintPlot": {"audio": sound},
        "SonopaintEnvelope": {"audio": sound, "format": mini},
    }
    pack.state.interrupted = True
    try:
        for name, inputs in working.items():
            with pytest.raises(pack.Interrupted):
                run(name, **inputs)
    finally:
        pack.state.interrupted = False


@pytest.mark.parametrize("node", ["SonopaintSpectrogramToAudio", "SonopaintPutBack"])
def test_the_bar_moves_and_cancel_stops_within_a_phase_search(
    pack: Any, run: Any, audio: Any, mini: Any, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, form = run("SonopaintAudioToSpectrogram", audio=audio(1.0), format=mini).args
    inputs: dict[str, Any] = {"image": image, "format": form}
    if node == "SonopaintPutBack":
        region = run("SonopaintRegion", boxes="0.2:0.5")[0]
        canvas = run("SonopaintInpaintCanvas", audio=audio(1.0), region=region, format=mini)
        inputs = {"image": 0.5 * canvas[0], "context": canvas[2]}
    pack.state.progress.clear()
    run(node, **inputs, quality="normal")
    shares = pack.state.progress
    assert len(set(shares)) > 8 and shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1

    calls = []

    def cancelled() -> None:
        calls.append(1)
        if len(calls) > 5:
            raise pack.Interrupted

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", cancelled)
    with pytest.raises(pack.Interrupted):
        run(node, **inputs, quality="normal")
    assert len(calls) == 6


def test_the_door_finds_the_nodes_and_survives_a_missing_library(
    pack: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from sonopaint_comfyui.extension import FAMILIES, SonopaintExtension

    def found() -> list[Any]:
        # In a thread of its own: browser tests that ran before leave Playwright's event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, SonopaintExtension().get_node_list()).result()

    assert len(found()) == len(pack.nodes)
    lost = {node.define_schema().node_id for node in sys.modules["sonopaint_comfyui.file_nodes"].NODES}
    monkeypatch.setitem(sys.modules, "sonopaint_comfyui.file_nodes", None)
    nodes = found()
    assert {node.define_schema().node_id for node in nodes} == set(pack.nodes) - lost and FAMILIES
    [line] = [r.getMessage() for r in caplog.records if "not available" in r.getMessage()]
    assert "install.py" in line and "restart ComfyUI" in line


def test_example_workflows_name_only_inputs_that_exist(pack: Any, repository: Path) -> None:
    files = sorted((repository / "example_workflows").glob("*.json"))
    assert len(files) == 17
    for path in files:
        assert path.with_suffix(".jpg").is_file()
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            if not node["type"].startswith("Sonopaint"):
                continue
            schema = pack.nodes[node["type"]].define_schema()
            known = {one.id: one.io_type for one in schema.inputs}
            for slot in node["inputs"]:
                assert known.get(slot["name"]) == slot["type"], f"{path.name}: {node['type']}.{slot['name']}"
            assert [o["type"] for o in node["outputs"]] == [o.io_type for o in schema.outputs]


@pytest.mark.parametrize(
    ("node", "inputs", "name"),
    [
        ("SonopaintLoopCanvas", {"seam": 0.0}, "seam"),
        ("SonopaintLoopCanvas", {"seam": 20.0}, "seam"),
        ("SonopaintExtendCanvas", {"left": -1.0, "right": 0.0}, "left"),
        ("SonopaintExtendCanvas", {"left": 0.0, "right": 0.0}, "right"),
        ("SonopaintRegion", {"boxes": "0:1", "feather": -1.0}, "feather"),
    ],
)
def test_errors_name_the_nodes_inputs(
    pack: Any, run: Any, mini: Any, audio: Any, node: str, inputs: dict[str, Any], name: str
) -> None:
    """ComfyUI shows str(error): settings have the names of the node's own inputs there."""
    if node != "SonopaintRegion":
        inputs = {"audio": audio(), "format": mini, **inputs}
    with pytest.raises(SonopaintError, match=name) as caught:
        run(node, **inputs)
    known = {one.id for one in pack.nodes[node].define_schema().inputs}
    assert name in caught.value.settings and set(caught.value.settings) <= known
