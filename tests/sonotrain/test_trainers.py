"""The trainers on a tiny model and corpus: resuming exactly, refusals, the way from corpus to export."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
    Record,
    build_corpus,
    quantise,
    synthesise,
    to_levels,
    to_pixels,
    write_shard,
)
from sonotrain.trainers.mini.diffusion import DiffusionOptions, DiffusionTrainer, train_diffusion
from sonotrain.trainers.mini.export import export
from sonotrain.trainers.mini.text import TextOptions, train_text
from sonotrain.trainers.mini.vae import VaeOptions, VaeTrainer, load_vae, train_vae
from sonotrain.training.loop import Budget
from sonotrain.training.run_folder import RunFolder, load_final

KINDS = ("rain", "siren", "dog_bark")
OFTEN = 1e-6  # minutes between checkpoints: after every step


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures: stripes whose height is their kind, some in sequence."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = torch.Generator().manual_seed(0)
    levels, records = torch.zeros(72, 128, 320), []
    for clip in range(72):
        first, second = torch.randint(3, (2,), generator=generator).tolist()
        pair = clip % 3 == 0
        levels[clip, 20 + 30 * first : 40 + 30 * first, : 160 if pair else 320] = 0.8
        if pair:
            levels[clip, 20 + 30 * second : 40 + 30 * second, 160:] = 0.8
        names = [KINDS[first], KINDS[second]] if pair else [KINDS[first]]
        said = [
            form.format(*names) for form in (("{}, then {}", "{} and then {}") if pair else ("{}", "a {}"))
        ]
        said += [f"{text} {word}" for text in said for word in ("nearby", "outside", f"number {clip}")]
        records.append(Record(said, names, "sequence" if pair else "single", ["distant"] if clip % 2 else []))
    write_shard(folder, 0, {"levels": quantise(levels[:40])}, records[:40])
    write_shard(folder, 1, {"levels": quantise(levels[40:])}, records[40:])
    return folder


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mini's architecture at a fraction of its size."""
    full = mini.mini_config

    def small(*args: Any, **kwargs: Any) -> dict[str, Any]:
        config = full(*args, **kwargs)
        config["unet"] |= {
            "block_out_channels": [16, 16, 32],
            "norm_num_groups": 8,
            "cross_attention_dim": 32,
        }
        config["unet"] |= {"attention_head_dim": 2}
        config["vae"] |= {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
        config["text_encoder"] |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        return config

    monkeypatch.setattr(mini, "mini_config", small)


@pytest.fixture(scope="module")
def options(corpus: Path) -> dict[str, Any]:
    return {"corpus": str(corpus), "checkpoint_minutes": OFTEN, "threads": 1, "warmup": 2}


def _tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {k: v for key, inner in pairs for k, v in _tensors(inner, f"{name}.{key}").items()}


def _assert_same(one: Path, other: Path) -> None:
    first, second = _tensors(load_final(one)[0]), _tensors(load_final(other)[0])
    assert first.keys() == second.keys() and len(first) > 10
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def _vae(corpus: Path, options: dict[str, Any], out: Path) -> Path:
    assert train_vae(out, VaeOptions(**options, batch=2, crop=16), Budget(steps=3), device="cpu")
    return out


def _text(options: dict[str, Any], out: Path) -> Path:
    assert train_text(out, TextOptions(**options, vocab_size=700, batch=16), Budget(steps=3), device="cpu")
    return out


def _sources(corpus: Path, options: dict[str, Any], folder: Path) -> dict[str, str]:
    """A VAE and a text encoder for the diffusion training."""
    vae, text = _vae(corpus, options, folder / "vae"), _text(options, folder / "text")
    return {"vae": str(vae), "text": str(text)}


def _crash_at(monkeypatch: pytest.MonkeyPatch, trainer: type, crash: int) -> None:
    step = trainer.step

    def failing(self: Any, number: int) -> dict[str, torch.Tensor]:
        if number == crash:
            raise ConnectionAbortedError
        return step(self, number)

    monkeypatch.setattr(trainer, "step", failing)


def test_a_vae_that_broke_off_goes_on_exactly(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = VaeOptions(**options, batch=2, crop=16, adversarial_from=0.4)
    assert train_vae(tmp_path / "whole", chosen, Budget(steps=6), device="cpu")
    with monkeypatch.context() as patch:
        _crash_at(patch, VaeTrainer, 4)
        with pytest.raises(ConnectionAbortedError):
            train_vae(tmp_path / "broken", chosen, Budget(steps=6), device="cpu")
    newest = max((tmp_path / "broken" / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-10])  # so the checkpoint before it must do
    assert train_vae(tmp_path / "broken", chosen, Budget(steps=6), device="cpu", resume=True)
    _assert_same(tmp_path / "whole", tmp_path / "broken")
    joined = load_final(tmp_path / "whole")[0]["critic"]["state"]
    assert {int(state["step"]) for state in joined.values()} == {3}  # the last three of six steps
    with pytest.raises(SonopaintError, match="share of the run"):
        wrong = dataclasses.replace(chosen, adversarial_from=6000)
        train_vae(tmp_path / "no", wrong, Budget(steps=6), device="cpu")
    vae, factor = load_vae(tmp_path / "broken", torch.device("cpu"))
    assert 0 < factor < 1000 and vae.config.scaling_factor == factor
    assert list((tmp_path / "whole" / "previews").glob("*.png"))


def test_diffusion_goes_on_exactly_and_is_exported(
    tmp_path: Path, corpus: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _sources(corpus, options, tmp_path)
    chosen = DiffusionOptions(**options, **sources, batch=2, text_every=2, preview_steps=1)
    assert train_diffusion(tmp_path / "whole", chosen, Budget(steps=5), device="cpu")
    with monkeypatch.context() as patch:
        _crash_at(patch, DiffusionTrainer, 3)
        with pytest.raises(ConnectionAbortedError):
            train_diffusion(tmp_path / "broken", chosen, Budget(steps=5), device="cpu")
    assert train_diffusion(tmp_path / "broken", chosen, Budget(steps=5), device="cpu", resume=True)
    _assert_same(tmp_path / "whole", tmp_path / "broken")
    assert len(list((tmp_path / "whole" / "previews").glob("*.wav"))) == 8

    facts = export(tmp_path / "whole", tmp_path / "mini")
    unet, vae, encoder, tokenizer, config = mini.load_mini(tmp_path / "mini")
    averaged = load_final(tmp_path / "whole")[0]["ema"]["average"]
    assert torch.allclose(next(unet.parameters()), averaged[0], atol=1e-3)
    assert config["vae"]["scaling_factor"] == vae.config.scaling_factor
    assert facts["stages"]["diffusion"]["steps"] == 5
    card = (tmp_path / "mini" / "README.md").read_text(encoding="utf-8")
    assert "MIT" in card and "<!-- evaluation -->" in card
    with pytest.raises(SonopaintError, match="already holds"):
        export(tmp_path / "whole", tmp_path / "mini")


def test_a_decoder_is_trained_on_and_exported_beside_its_encoder(
    tmp_path: Path, corpus: Path, options: dict[str, Any]
) -> None:
    sources = _sources(corpus, options, tmp_path)
    chosen = DiffusionOptions(**options, **sources, batch=2, preview_minutes=99)
    assert train_diffusion(tmp_path / "run", chosen, Budget(steps=1), device="cpu")
    refined = VaeOptions(corpus=str(corpus), batch=2, crop=16, seed=5, decoder_of=sources["vae"])
    assert train_vae(tmp_path / "decoder", refined, Budget(steps=3), device="cpu")
    export(tmp_path / "run", tmp_path / "first")
    facts = export(tmp_path / "run", tmp_path / "refined", decoder=tmp_path / "decoder")
    assert facts["stages"]["decoder"]["steps"] == 3
    before = load_file(tmp_path / "first" / "vae.safetensors")
    after = load_file(tmp_path / "refined" / "vae.safetensors")
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"decoder", "post_quant_conv"}

    stranger = VaeOptions(corpus=str(corpus), batch=2, crop=16, seed=6)
    assert train_vae(tmp_path / "stranger", stranger, Budget(steps=1), device="cpu")
    with pytest.raises(SonopaintError, match="another encoder"):
        export(tmp_path / "run", tmp_path / "wrong", decoder=tmp_path / "stranger")


def test_an_offset_shifts_the_noise_of_whole_channels_and_nothing_else(
    tmp_path: Path, corpus: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _sources(corpus, options, tmp_path)
    noises = []
    for offset in (0.0, 3.0):
        chosen = DiffusionOptions(**options, **sources, batch=8, noise_offset=offset)
        trainer = DiffusionTrainer(Corpus(corpus), chosen, torch.device("cpu"))
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


def test_an_exported_model_is_trained_on(tmp_path: Path, corpus: Path, options: dict[str, Any]) -> None:
    sources = _sources(corpus, options, tmp_path)
    chosen = DiffusionOptions(**options, **sources, batch=2, preview_minutes=99)
    assert train_diffusion(tmp_path / "run", chosen, Budget(steps=2), device="cpu")
    export(tmp_path / "run", tmp_path / "mini")

    first = str(tmp_path / "mini")
    further = DiffusionOptions(**options, start=first, batch=2, learning_rate=1e-6, preview_minutes=99)
    assert train_diffusion(tmp_path / "further", further, Budget(steps=2), device="cpu")
    refined = VaeOptions(corpus=str(corpus), batch=2, crop=16, decoder_of=first)
    assert train_vae(tmp_path / "decoder", refined, Budget(steps=2), device="cpu")
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


def test_a_run_of_before_start_was_an_option_is_exported(
    tmp_path: Path, corpus: Path, options: dict[str, Any]
) -> None:
    chosen = DiffusionOptions(**options, **_sources(corpus, options, tmp_path), batch=2, preview_minutes=99)
    assert train_diffusion(tmp_path / "run", chosen, Budget(steps=1), device="cpu")
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    del config["options"]["start"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = export(tmp_path / "run", tmp_path / "mini")
    assert list(facts["stages"]) == ["vae", "text", "diffusion"]


def test_filler_words_come_into_training_in_their_share(
    tmp_path: Path, corpus: Path, options: dict[str, Any]
) -> None:
    sources, loaded = _sources(corpus, options, tmp_path), Corpus(corpus)
    clips = torch.arange(72).repeat(5)
    changed = {}
    for share in (0.0, 0.5):
        chosen = DiffusionOptions(**options, **sources, batch=8, caption_dropout=0.25, filler_words=share)
        trainer = DiffusionTrainer(loaded, chosen, torch.device("cpu"))
        ids = trainer.captions(clips, torch.Generator().manual_seed(1))
        known = {tuple(row) for row in trainer.phrasings.ids.tolist()}
        changed[share] = sum(tuple(row) not in known for row in ids.tolist()) / len(clips)
        empty = (ids == trainer.phrasings.ids[0]).all(1).float().mean().item()
        assert empty == pytest.approx(0.25, abs=0.08)  # a caption that was left out stays empty
    assert changed[0.0] == 0.0 and changed[0.5] == pytest.approx(0.375, abs=0.08)


@pytest.mark.slow
def test_a_killed_process_goes_on_exactly(tmp_path: Path, corpus: Path) -> None:
    """SIGINT saves and says how to go on; SIGKILL loses nothing but the step at hand."""
    whole = VaeOptions(corpus=str(corpus), batch=2, crop=16, warmup=2, threads=1)
    code = (
        "import sys; from sonopaint.models import mini; full = mini.mini_config\n"
        "def small(*a, **k):\n"
        "    c = full(*a, **k); c['vae'] |= {'block_out_channels': [8] * 4, 'norm_num_groups': 4}; return c\n"
        "mini.mini_config = small\n"
        "from sonotrain.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    steps = 14
    assert train_vae(tmp_path / "whole", whole, Budget(steps=steps), device="cpu")
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
    _assert_same(tmp_path / "whole", out)


def test_text_encoder_learns_the_order_of_two_events(tmp_path: Path, options: dict[str, Any]) -> None:
    from sonotrain.files.json_files import read_json
    from sonotrain.trainers.mini.text import load_text

    chosen = TextOptions(
        **{**options, "checkpoint_minutes": 5.0}, vocab_size=700, batch=32, learning_rate=3e-3
    )
    assert train_text(tmp_path / "text", chosen, Budget(steps=120), device="cpu")
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
    levels, records = synthesise(4, seed=1, content="singles")
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


def test_options_of_a_run_are_kept_on_resuming(tmp_path: Path, corpus: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "vae"
    chosen = VaeOptions(**options, batch=3, crop=24)
    assert train_vae(out, chosen, Budget(steps=2), device="cpu")
    assert main(["base", "vae", "--out", str(out), "--resume", "--steps", "3", "--device", "cpu"]) == 0
    saved = load_final(out)[1]["options"]
    assert saved == dataclasses.asdict(dataclasses.replace(chosen, clips=72))
    with RunFolder(out, resume=True) as run:
        checkpoint = run.load_checkpoint()
    assert checkpoint is not None and checkpoint["step"] == 3


def test_latents_are_kept_and_belong_to_their_vae(
    tmp_path: Path, corpus: Path, options: dict[str, Any]
) -> None:
    from sonotrain.training.inputs.corpus_latents import corpus_latents

    own, device = tmp_path / "corpus", torch.device("cpu")
    vae = load_vae(_vae(corpus, options, tmp_path / "vae"), device)
    shutil.copytree(corpus, own, ignore=shutil.ignore_patterns("latents"))
    clips = Corpus(own)
    first = corpus_latents(clips, *vae, device)
    kept = list((own / "latents").glob("*.safetensors"))
    assert first.shape == (72, 4, 16, 40) and first.dtype == torch.float16 and len(kept) == 1
    assert torch.equal(load_file(kept[0])["latents"], first)
    assert torch.equal(corpus_latents(clips, *vae, device), first)
    assert first.float().std().item() == pytest.approx(1.0, abs=0.15)
