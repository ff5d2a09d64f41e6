"""The trainers on a tiny model and corpus: resuming exactly, refusals, the way from corpus to export."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from sonoconvert.errors import SonopaintError
from sonopaint.models import mini
from sonotrain.cli import main
from sonotrain.data.corpus import (
    Corpus,
    build_corpus,
    quantise,
    synthesise,
    to_levels,
    to_pixels,
)
from sonotrain.files.json_files import read_json
from sonotrain.trainers.mini.diffusion import DiffusionTrainer
from sonotrain.trainers.mini.export import export, export_decoder
from sonotrain.trainers.mini.text import TextTrainer
from sonotrain.trainers.mini.vae import VaeTrainer, load_vae
from sonotrain.training import run_view, runs
from sonotrain.training.loop import Budget
from sonotrain.training.run import Alone, Run, train
from sonotrain.training.run_folder import RunFolder, load_final

OFTEN = 1e-6  # minutes between checkpoints: after every step
Whole = Callable[[str], Path]  # the finished run of a trainer (conftest)


@pytest.fixture(autouse=True)
def tiny(tiny_mini: None) -> None:
    """Mini's architecture at a fraction of its size."""


@pytest.fixture(scope="module")
def options(corpus: Path) -> dict[str, Any]:
    return {"corpus": str(corpus), "checkpoint_minutes": 5.0, "threads": 1, "warmup": 2}


@pytest.fixture(scope="module")
def sources(whole: Whole) -> dict[str, str]:
    """A VAE and a text encoder for the diffusion training."""
    return {"vae": str(whole("vae")), "text": str(whole("text"))}


def prepared(folder: Path, given: dict[str, Any]) -> DiffusionTrainer:
    """A trainer ready for its first step."""
    with RunFolder(folder) as opened:
        trainer = Run(opened, Alone()).prepare(DiffusionTrainer, given)
    assert isinstance(trainer, DiffusionTrainer)
    return trainer


def test_a_vae_joined_its_critic_and_is_read_again(
    tmp_path: Path, whole: Whole, options: dict[str, Any]
) -> None:
    joined = load_final(whole("vae"))[0]["critic"]["state"]
    assert {int(state["step"]) for state in joined.values()} == {3}  # the last three of six steps
    with pytest.raises(SonopaintError, match="share of the run"):
        train(VaeTrainer, tmp_path, options | {"adversarial_from": 6000.0}, Budget(steps=6), device="cpu")
    vae, factor = load_vae(whole("vae"), torch.device("cpu"))
    assert 0 < factor < 1000 and vae.config.scaling_factor == factor
    assert (whole("vae") / "previews" / "step-00000006" / "sheet.png").is_file()


def test_diffusion_is_shown_and_exported(tmp_path: Path, whole: Whole) -> None:
    run = whole("diffusion")
    last = run / "previews" / "step-00000005"
    assert len(list(last.glob("*.wav"))) == 8
    state = runs.read(run)
    assert state.sheet == last / "sheet.png" and state.previews[0].prompt == "a dog barking"
    shown = run_view.previews_of(state, lambda path, name: name)
    assert shown.count("<img") == shown.count("<audio") == 8 and "Without" not in shown
    sheet = run_view.previews_of(runs.read(whole("vae")), lambda path, name: name)
    assert sheet.count("<img") == 1

    facts = export(run, tmp_path / "mini")
    unet, vae, encoder, tokenizer, config = mini.load_mini(tmp_path / "mini")
    averaged = load_final(run)[0]["ema"]["average"]
    assert torch.allclose(next(unet.parameters()), averaged[0], atol=1e-3)
    assert config["vae"]["scaling_factor"] == vae.config.scaling_factor
    assert facts["stages"]["diffusion"]["steps"] == 5
    assert set(facts["stages"]["diffusion"]["metrics"]) == {"validation_loss"}
    card = (tmp_path / "mini" / "README.md").read_text(encoding="utf-8")
    assert "MIT" in card and "<!-- evaluation -->" in card
    with pytest.raises(SonopaintError, match="already holds"):
        export(run, tmp_path / "mini")


def test_a_decoder_is_trained_on_and_exported_beside_its_encoder(
    tmp_path: Path, whole: Whole, options: dict[str, Any], sources: dict[str, str]
) -> None:
    refined = options | {"batch": 2, "crop": 16, "seed": 5, "decoder_of": sources["vae"]}
    refined |= {"adversarial_from": 0.3}
    assert train(VaeTrainer, tmp_path / "decoder", refined, Budget(steps=3), device="cpu")
    joined = load_final(tmp_path / "decoder")[0]["critic"]["state"]
    assert {int(state["step"]) for state in joined.values()} == {2}  # the last two of three steps
    export(whole("diffusion"), tmp_path / "first")
    facts = export(whole("diffusion"), tmp_path / "refined", decoder=tmp_path / "decoder")
    assert facts["stages"]["decoder"]["steps"] == 3
    before = load_file(tmp_path / "first" / "vae.safetensors")
    after = load_file(tmp_path / "refined" / "vae.safetensors")
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"decoder", "post_quant_conv"}

    given = ["--model", str(tmp_path / "first"), "--decoder", str(tmp_path / "decoder")]
    assert main(["base", "export", *given, "--out", str(tmp_path / "only")]) == 0
    only = load_file(tmp_path / "only" / "vae.safetensors")
    assert all(torch.equal(value, only[name]) for name, value in after.items())
    for name in ("unet.safetensors", "text_encoder.safetensors", "config.json"):
        assert (tmp_path / "only" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    with pytest.raises(SonopaintError, match="already holds"):
        export_decoder(tmp_path / "first", tmp_path / "decoder", tmp_path / "only")

    stranger = options | {"batch": 2, "crop": 16, "seed": 6}
    assert train(VaeTrainer, tmp_path / "stranger", stranger, Budget(steps=1), device="cpu")
    with pytest.raises(SonopaintError, match="another encoder"):
        export(whole("diffusion"), tmp_path / "wrong", decoder=tmp_path / "stranger")


def test_an_offset_shifts_the_noise_of_whole_channels_and_nothing_else(
    tmp_path: Path, options: dict[str, Any], sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noises = []
    for offset in (0.0, 3.0):
        given = options | sources | {"batch": 8, "noise_offset": offset}
        trainer = prepared(tmp_path / str(offset), given)
        with monkeypatch.context() as patch:
            heard = mock.Mock(wraps=trainer.loss)
            patch.setattr(trainer, "loss", heard)
            trainer.step(0)
            noises.append(heard.call_args.args[1])
    plain, shifted = noises
    shift = shifted - plain
    assert torch.allclose(shift, shift.mean((2, 3), keepdim=True).expand_as(shift), atol=1e-5)
    assert shift.mean((2, 3)).std().item() == pytest.approx(3.0, rel=0.4)
    assert plain.mean((2, 3)).std().item() < 0.2


def test_an_exported_model_is_trained_on(tmp_path: Path, whole: Whole, options: dict[str, Any]) -> None:
    export(whole("diffusion"), tmp_path / "mini")
    first = str(tmp_path / "mini")
    further = options | {"start": first, "batch": 2, "learning_rate": 1e-6, "preview_steps": 1}
    assert train(DiffusionTrainer, tmp_path / "further", further, Budget(steps=2), device="cpu")
    refined = options | {"batch": 2, "crop": 16, "decoder_of": first}
    assert train(VaeTrainer, tmp_path / "decoder", refined, Budget(steps=2), device="cpu")
    facts = export(tmp_path / "further", tmp_path / "second", decoder=tmp_path / "decoder")
    assert list(facts["stages"]) == ["vae", "text", "diffusion", "diffusion 2", "decoder"]
    assert "| diffusion 2 | 2 |" in (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    for part, moved in (("unet", 1e-4), ("vae", 0.0)):  # from the model's weights, not from new ones
        before = load_file(tmp_path / "mini" / f"{part}.safetensors")
        after = load_file(tmp_path / "second" / f"{part}.safetensors")
        for name, value in before.items():
            if not name.startswith(("decoder.", "post_quant_conv.")):
                assert (value.float() - after[name].float()).abs().max() <= moved, name
    tokenizers = [tmp_path / name / "tokenizer" / "vocab.json" for name in ("mini", "second")]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_a_run_of_before_start_was_an_option_is_exported(tmp_path: Path, whole: Whole) -> None:
    shutil.copytree(whole("diffusion"), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    del config["options"]["start"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = export(tmp_path / "run", tmp_path / "mini")
    assert list(facts["stages"]) == ["vae", "text", "diffusion"]


def test_filler_words_come_into_training_in_their_share(
    tmp_path: Path, options: dict[str, Any], sources: dict[str, str]
) -> None:
    clips = torch.arange(72).repeat(5)
    changed = {}
    for share in (0.0, 0.5):
        given = options | sources | {"batch": 8, "caption_dropout": 0.25, "filler_words": share}
        trainer = prepared(tmp_path / str(share), given)
        ids = trainer.captions(clips, torch.Generator().manual_seed(1))
        known = {tuple(row) for row in trainer.phrasings.ids.tolist()}
        changed[share] = sum(tuple(row) not in known for row in ids.tolist()) / len(clips)
        empty = (ids == trainer.phrasings.ids[0]).all(1).float().mean().item()
        assert empty == pytest.approx(0.25, abs=0.08)  # a caption that was left out stays empty
    assert changed[0.0] == 0.0 and changed[0.5] == pytest.approx(0.375, abs=0.08)


@pytest.mark.slow
def test_a_killed_process_goes_on_exactly(tmp_path: Path, corpus: Path) -> None:
    """SIGINT saves and says how to go on; SIGKILL loses nothing but the step at hand."""
    whole = {"corpus": str(corpus), "batch": 2, "crop": 16, "warmup": 2, "threads": 1}
    code = (
        "import sys; from sonopaint.models import mini; full = mini.mini_config\n"
        "def small(*a, **k):\n"
        "    c = full(*a, **k); c['vae'] |= {'block_out_channels': [8] * 4, 'norm_num_groups': 4}; return c\n"
        "mini.mini_config = small\n"
        "from sonotrain.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    steps = 14
    assert train(VaeTrainer, tmp_path / "whole", whole, Budget(steps=steps), device="cpu")
    out = tmp_path / "killed"
    words = ["base", "vae", "--corpus", str(corpus), "--out", str(out), "--steps", str(steps), "--batch", "2"]
    words += ["--crop", "16", "--warmup", "2", "--threads", "1", "--checkpoint-minutes", str(OFTEN)]
    words += ["--device", "cpu"]

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *words, *more],
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
        while process.poll() is None and not any(
            int(path.stem[5:]) >= step for path in (out / "checkpoints").glob("step-*.sha256")
        ):
            time.sleep(0.02)

    process = start()
    wait_for_step(process, 3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in errors.splitlines()[-1]
    process = start("--resume")
    wait_for_step(process, 8)
    process.kill()
    process.communicate(timeout=60)
    process = start("--resume")
    process.communicate(timeout=120)
    assert process.returncode == 0
    for part in ("vae", "ema", "optimiser"):
        first, second = (load_final(folder)[0][part] for folder in (tmp_path / "whole", out))
        assert str(first) == str(second), part


def test_text_encoder_learns_the_order_of_two_events(tmp_path: Path, options: dict[str, Any]) -> None:
    from sonotrain.files.json_files import read_json
    from sonotrain.trainers.mini.text import load_text

    given = options | {"vocab_size": 700, "batch": 32, "learning_rate": 3e-3}
    assert train(TextTrainer, tmp_path / "text", given, Budget(steps=120), device="cpu")
    measured = read_json(tmp_path / "text" / "text.json")
    assert measured["order"] > 0.9 and measured["relation"] > 0.9
    _, tokenizer = load_text(tmp_path / "text")
    assert len(tokenizer) <= 700


def test_pictures_and_levels_are_inverse() -> None:
    levels = torch.rand(2, 128, 32, generator=torch.Generator().manual_seed(0))
    stored = quantise(levels)
    pixels = to_pixels(stored)
    assert pixels.shape == (2, 3, 128, 32) and pixels.min() >= -1 and pixels.max() <= 1
    assert torch.equal(pixels[0, 0, 0], stored[0, -1].float() / 127.5 - 1)  # the top row is the highest
    assert torch.allclose(to_levels(pixels), levels, atol=0.5 / 255 + 1e-6)


def test_corpus_is_the_same_after_a_shard_was_lost(tmp_path: Path) -> None:
    build_corpus(tmp_path, 8, seed=3, workers=1)
    before = Corpus(tmp_path)
    shard = tmp_path / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(SonopaintError, match="damaged"):
        Corpus(tmp_path)
    build_corpus(tmp_path, 8, seed=3, workers=1)
    after = Corpus(tmp_path)
    assert torch.equal(before.levels, after.levels) and before.records == after.records
    assert all(len(record.phrasings) >= 4 for record in after.records)
    with pytest.raises(SonopaintError, match="seed 3"):
        build_corpus(tmp_path, 8, seed=4, workers=1)


def test_singles_are_single_events_of_all_kinds() -> None:
    tensors, records = synthesise(4, seed=1, content="singles")
    levels = tensors["levels"]
    assert levels.shape == (4, 128, 320) and levels.dtype == torch.uint8
    assert {record.relation for record in records} == {"single"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vae", "--corpus", "/nowhere", "--steps", "1"], "holds no corpus"),
        (["vae"], "--steps or --minutes"),
        (["vae", "--steps", "1", "--minutes", "1"], "--steps or --minutes"),
        (["vae", "--steps", "0"], "above 0"),
        (["vae", "--crop", "13", "--steps", "1"], "multiple of 8"),
        (["vae", "--steps", "1", "--device", "cuda:97"], "not available"),
        (["vae", "--steps", "1", "--resume"], "no run to resume"),
        (["text", "--steps", "1"], "holds no corpus"),
        (["diffusion", "--steps", "1", "--text-every", "0"], "at least 1"),
        (["corpus", "--clips", "0"], "at least 1"),
        (["export", "--run", "/nowhere"], "missing"),
        (["evaluate", "--classifier", "/nowhere/x.safetensors"], "not a readable sound classifier"),
        (["evaluate", "--kinds", "unicorn"], "not a kind"),
        (["all", "--minutes", "0"], "above 0"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["base", *words]) == 2
    errors = capsys.readouterr().err.strip()
    assert message in errors and errors.startswith("sonotrain: ") and "\n" not in errors
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    "name", ["corpus", "vae", "text", "diffusion", "classifier", "export", "evaluate", "all"]
)
def test_every_command_explains_itself(name: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["base", name, "--help"])
    assert stop.value.code == 0 and "--device" in capsys.readouterr().out


def test_options_of_a_run_are_kept_on_resuming(tmp_path: Path, whole: Whole) -> None:
    out = tmp_path / "vae"
    shutil.copytree(whole("vae"), out)
    before = load_final(out)[1]["options"]
    assert before["clips"] == 72 and before["adversarial_from"] == 0.4
    assert main(["base", "vae", "--out", str(out), "--resume", "--steps", "7", "--device", "cpu"]) == 0
    assert load_final(out)[1]["options"] == before
    with RunFolder(out, resume=True) as run:
        checkpoint = run.load_checkpoint()
    assert checkpoint is not None and checkpoint["step"] == 7


def test_latents_are_kept_and_belong_to_their_vae(tmp_path: Path, corpus: Path, whole: Whole) -> None:
    from sonotrain.training.inputs.corpus_latents import corpus_latents

    own, device = tmp_path / "corpus", torch.device("cpu")
    vae = load_vae(whole("vae"), device)
    shutil.copytree(corpus, own, ignore=shutil.ignore_patterns("latents"))
    clips = Corpus(own)
    first = corpus_latents(clips, *vae, device)
    kept = list((own / "latents").glob("*.safetensors"))
    assert first.shape == (72, 4, 16, 40) and first.dtype == torch.float16 and len(kept) == 1
    assert torch.equal(load_file(kept[0])["latents"], first)
    assert torch.equal(corpus_latents(clips, *vae, device), first)
    assert first.float().std().item() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_flow_trains_previews_exports_and_goes_on(
    tmp_path: Path, case: Callable[[str], Any], prediction: str
) -> None:
    """The flow objective with both predictions: the model that comes out says what it predicts."""
    from sonopaint.models.loading import load_model

    base = case("diffusion")
    run = tmp_path / "run"
    more = {"objective": "flow", "prediction": prediction, "checkpoint_minutes": 5.0, "preview_minutes": 60.0}
    assert base.train(run, more)
    assert read_json(run / "config.json")["options"]["prediction"] == prediction
    export(run, tmp_path / "mini")
    model = load_model(tmp_path / "mini", device="cpu")
    assert model.prediction_type == prediction
    if prediction == "sample":
        on = base.given | {"start": str(tmp_path / "mini"), "objective": "flow"}
        on = {name: value for name, value in on.items() if name not in ("vae", "text")}
        other = replace(base, given=on, steps=1)
        assert other.train(tmp_path / "on", {"preview_minutes": 60.0})
        assert read_json(tmp_path / "on" / "config.json")["options"]["prediction"] == "sample"
        with pytest.raises(SonopaintError, match="predicts sample"):
            other.train(tmp_path / "wrong", {"prediction": "epsilon"})
