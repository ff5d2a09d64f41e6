"""Fine-tuning of AudioLDM on diffusers' own pipeline, with small random weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonotrain.data.esc50 import esc50
from sonotrain.files.json_files import read_json
from sonotrain.trainers.audioldm.data import labelled, log_mel
from sonotrain.trainers.audioldm.trainer import AudioldmTrainer, load_pipeline
from sonotrain.training.run import train
from sonotrain.training.run_folder import read_log

RATE = 16_000


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as diffusers saves AudioLDM."""
    from diffusers import AudioLDMPipeline, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import (
        ClapTextConfig,
        ClapTextModelWithProjection,
        RobertaTokenizer,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
    )

    folder = tmp_path_factory.mktemp("audioldm")
    words = folder / "words"
    words.mkdir()
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyzĠ"]
    (words / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = RobertaTokenizer.from_pretrained(str(words), model_max_length=16)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, sample_size=16, in_channels=4,
        out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=(8, 16),
        class_embed_type="simple_projection", projection_class_embeddings_input_dim=8,
        class_embeddings_concat=True,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[8, 8, 8], in_channels=1, out_channels=1, norm_num_groups=4, latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    )  # fmt: skip
    text = ClapTextModelWithProjection(
        ClapTextConfig(
            vocab_size=len(letters), hidden_size=8, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=24, projection_dim=8, pad_token_id=1,
        )
    )  # fmt: skip
    vocoder = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=16, sampling_rate=RATE, upsample_initial_channel=8, upsample_rates=[16, 10],
            upsample_kernel_sizes=[16, 10], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]],
            normalize_before=False,
        )
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    pipe = AudioLDMPipeline(vae, text, tokenizer, unet, scheduler, vocoder)
    pipe.save_pretrained(folder / "tiny", safe_serialization=True)
    return folder / "tiny"


@pytest.fixture(scope="module")
def esc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ESC-50's layout: two classes, two clips in each of five folds."""
    root = tmp_path_factory.mktemp("ESC-50")
    (root / "meta").mkdir()
    (root / "audio").mkdir()
    time = np.arange(RATE) / RATE
    with open(root / "meta" / "esc50.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for fold in range(1, 6):
            for target, kind in enumerate(("dog", "crying_baby")):
                for clip in range(2):
                    name = f"{fold}-{clip}-A-{target}.wav"
                    writer.writerow([name, fold, target, kind, "True", clip, "A"])
                    tone = np.sin(6.283 * (200 + 300 * target + 20 * clip + fold) * time) * np.exp(-3 * time)
                    soundfile.write(root / "audio" / name, tone, RATE)
    return root


def given(pipeline: Path, esc: Path, **more: Any) -> dict[str, Any]:
    told = {
        "dataset": str(esc),
        "model": str(pipeline),
        "steps": 3,
        "batch": 2,
        "seconds": 0.64,
        "threads": 1,
    }
    return told | {"rank": 2, "checkpoint_every": 1, "log_every": 1} | more


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_pipeline(folder).unet.state_dict())


def test_folds_are_esc_50s(esc: Path) -> None:
    assert len(esc50(esc, [1, 2, 3])) == 12
    assert {path.name[0] for path, _ in esc50(esc, [4])} == {"4"}
    assert {kind for _, kind in labelled(esc, "5")} == {"dog", "crying baby"}
    for wrong in ("0", "6", "a", ""):
        with pytest.raises(SonopaintError, match="from 1 to 5"):
            labelled(esc, wrong)


def test_the_front_end_is_hifi_gans() -> None:
    """A tone of amplitude 1 in the middle of a filter: window's sum / 2 × the filter, natural logarithm."""
    from types import SimpleNamespace

    from librosa.filters import mel

    vocoder = SimpleNamespace(upsample_rates=[5, 4, 2, 2, 2], sampling_rate=RATE, model_in_dim=64)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)  # bin 64 exactly
    picture = log_mel(tone, vocoder)
    assert picture.shape == (RATE // 160 + 1, 64)
    filters = mel(sr=RATE, n_fft=1024, n_mels=64, fmin=0, fmax=8000)
    loudest = int(filters[:, 64].argmax())
    leaks = (filters[loudest, 63] + filters[loudest, 65]) * 128 + filters[loudest, 64] * 256  # Hann: ½, 1, ½
    assert picture[50].argmax() == loudest
    assert picture[50, loudest] == pytest.approx(np.log(leaks), abs=1e-3)
    assert log_mel(torch.zeros(RATE), vocoder).max() == pytest.approx(np.log(1e-5))


@pytest.mark.parametrize("method", ["lora", "whole"])
def test_it_learns_leaves_a_pipeline_and_nothing_but_the_u_net_changes(
    method: str, pipeline: Path, esc: Path, tmp_path: Path
) -> None:
    told = given(pipeline, esc, method=method, learning_rate=3e-3, steps=12, batch=8, checkpoint_every=50)
    assert train(AudioldmTrainer, tmp_path / "run", told, device="cpu")
    result = read_json(tmp_path / "run" / "audioldm.json")
    assert result["validation_loss"] < result["validation_loss_before"]
    before, after = weights(pipeline), weights(tmp_path / "run" / "model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert "class_embedding.weight" in changed, "the projection of the text learns, too"
    if method == "lora":
        assert all(".to_" in name or "class_embedding" in name for name in changed)
    else:
        assert any("resnets" in name for name in changed)
    old, new = load_pipeline(pipeline), load_pipeline(tmp_path / "run" / "model")
    for part in ("vae", "text_encoder", "vocoder"):
        pairs = zip(getattr(old, part).parameters(), getattr(new, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    sound = new(
        "dog", audio_length_in_s=0.64, num_inference_steps=2, generator=torch.Generator().manual_seed(0)
    ).audios
    assert sound.shape == (1, 10_240) and np.isfinite(sound).all()
    assert "2 classes" in (tmp_path / "run" / "README.md").read_text()


def test_a_killed_run_goes_on_as_if_nothing_had_been(
    pipeline: Path, esc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = given(pipeline, esc)
    assert train(AudioldmTrainer, tmp_path / "whole", told, device="cpu")
    step = AudioldmTrainer.step

    def failing(self: AudioldmTrainer, number: int) -> dict[str, torch.Tensor]:
        if number == 2:
            raise ConnectionAbortedError
        return step(self, number)

    monkeypatch.setattr(AudioldmTrainer, "step", failing)
    with pytest.raises(ConnectionAbortedError):
        train(AudioldmTrainer, tmp_path / "killed", told, device="cpu")
    monkeypatch.undo()
    assert train(AudioldmTrainer, tmp_path / "killed", {}, device="cpu", resume=True)
    one, other = (weights(tmp_path / name / "model") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [line["loss"] for line in read_log(tmp_path / "whole")] == [
        line["loss"] for line in read_log(tmp_path / "killed")
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": ""}, "is no AudioLDM pipeline"),
        ({"model": "/nowhere"}, "is no AudioLDM pipeline"),
        ({"dataset": "/nowhere"}, "no sounds with classes"),
        ({"batch": 0}, "must be above 0"),
        ({"folds": "7"}, "from 1 to 5"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    pipeline: Path, esc: Path, tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(SonopaintError, match=said):
        train(AudioldmTrainer, tmp_path / "run", given(pipeline, esc) | more, device="cpu")
