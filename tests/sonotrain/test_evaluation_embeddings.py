"""PANNs, VGGish and CLAP with random weights: sizes, names, front ends against librosa, wrong files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sonoconvert.errors import SonopaintError
from sonotrain.evaluation.embeddings import load_clap, load_embedding, panns, vggish
from sonotrain.evaluation.embeddings.base import windows_of
from sonotrain.evaluation.embeddings.weights import weights_folder


def sound(seconds: float, rate: int, seed: int = 0) -> torch.Tensor:
    """A chirp, a click and noise [1, T]: what a front end could get wrong shows in one of them."""
    time = np.arange(round(seconds * rate)) / rate
    made = 0.3 * np.sin(2 * np.pi * (50 + 0.2 * rate * time / seconds) * time)
    made += 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    made[len(made) // 3] = 1.0
    return torch.from_numpy(made).float()[None]


def small_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panns, "CHANNELS", (4, 4, 8, 8, 16, 16))


def published(model: torch.nn.Module, front: panns.FrontEnd) -> dict[str, torch.Tensor]:
    """A state dict with the names and the fixed front end that the published files have."""
    size = front.window
    kernels = torch.zeros(size // 2 + 1, 1, size)
    kernels[0, 0] = torch.hann_window(size)  # the cosine of 0 Hz is 1
    fixed = {
        panns.STFT_KERNEL: kernels,
        panns.STFT_KERNEL.replace("real", "imag"): kernels.clone(),
        panns.MEL_FILTERS: front.mel_filters(),
    }
    return fixed | model.state_dict()


def test_cnn14_has_the_published_size_and_names() -> None:
    with torch.device("meta"):
        model = panns.Cnn14()
    assert sum(p.numel() for p in model.parameters()) == 80_753_615  # Kong et al. 2020, Table XII
    names = set(model.state_dict())
    assert {
        "bn0.running_mean",
        "conv_block1.conv1.weight",
        "conv_block6.bn2.num_batches_tracked",
        "fc1.bias",
        "fc_audioset.weight",
    } < names
    assert len(names) == 5 + 6 * (2 + 2 * 5) + 4
    mel = torch.empty(2, 1001, 64, device="meta")
    embedding, logits = model.eval()(mel)
    assert embedding.shape == (2, 2048) and logits.shape == (2, 527)


def test_vggish_has_the_published_size_and_names() -> None:
    with torch.device("meta"):
        model = vggish.VggishNet()
        assert model(torch.empty(3, 96, 64)).shape == (3, 128)
    assert sum(p.numel() for p in model.parameters()) == 72_141_184
    layers = {name.rsplit(".", 1)[0] for name in model.state_dict()}
    assert layers == {f"features.{i}" for i in (0, 3, 6, 8, 11, 13)} | {f"embeddings.{i}" for i in (0, 2, 4)}


@pytest.mark.parametrize("size", panns.FRONT_ENDS)
def test_the_front_end_of_panns_is_librosas(size: int) -> None:
    front = panns.FRONT_ENDS[size]
    waveform = sound(1.5, front.sample_rate)
    mel = librosa.feature.melspectrogram(
        y=waveform[0].numpy(), sr=front.sample_rate, n_fft=size, hop_length=front.hop, n_mels=64,
        fmin=front.f_min, fmax=front.f_max, power=2.0, center=True, pad_mode="reflect",
        norm="slaney", htk=False,
    )  # fmt: skip
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T
    ours = panns.log_mel(waveform, front, front.mel_filters())[0].numpy()
    assert ours.shape == expected.shape == (1 + waveform.shape[1] // front.hop, 64)
    assert np.abs(ours - expected).max() < 0.02  # dB; 80 dB below the loudest float32 is that exact
    assert ours.max() > -10 and front.hop * 100 == front.sample_rate


def test_silence_has_the_floor_of_panns() -> None:
    front = panns.FrontEnd()
    mel = panns.log_mel(torch.zeros(1, 32_000), front, front.mel_filters())
    assert torch.equal(mel, torch.full((1, 101, 64), -100.0))


def test_the_front_end_of_vggish_is_a_log_mel_without_padding() -> None:
    waveform = sound(2.0, vggish.RATE)
    frames = librosa.util.frame(waveform[0].numpy(), frame_length=400, hop_length=160).T
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(frames * window, 512))
    expected = np.log(magnitude @ vggish.mel_filters().numpy() + 0.01)
    ours = vggish.examples(waveform)
    assert ours.shape == (1, 2, 96, 64)
    assert np.abs(ours[0].reshape(-1, 64).numpy() - expected[:192]).max() < 1e-3
    filters = vggish.mel_filters()
    assert (filters.argmax(0) * vggish.RATE / 512 > 125).all() and filters[0].abs().max() == 0
    assert 7000 < filters[:, -1].argmax() * vggish.RATE / 512 < 7500


def test_windows_are_consecutive_and_short_clips_are_padded() -> None:
    parts = windows_of(torch.arange(10.0)[None], 4)
    assert parts.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert windows_of(torch.ones(2, 3), 4).tolist() == [[[1, 1, 1, 0]]] * 2


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("size", [1024, 512])
def test_files_with_the_published_names_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, size: int
) -> None:
    small_channels(monkeypatch)
    torch.manual_seed(0)
    model = panns.Cnn14()
    front = panns.FRONT_ENDS[size]
    state = published(model, front)
    path = tmp_path / f"Cnn14{suffix}"
    if suffix == ".pth":
        old = size == 512  # the published files are from before PyTorch's zip format
        torch.save({"iteration": 1, "model": state}, path, _use_new_zipfile_serialization=not old)
    else:
        save_file(state, path)
    loaded = load_embedding("panns", path)
    assert loaded.sample_rate == front.sample_rate and loaded.hash and loaded.file == path.name
    waveforms = sound(2.5, front.sample_rate).repeat(2, 1)
    result = loaded(waveforms)
    assert result.windows is not None and result.logits is not None
    assert result.clip.shape == (2, 16) and result.windows.shape == (2, 2, 16)
    assert result.logits.shape == (2, 527)
    mel = panns.log_mel(waveforms, front, front.mel_filters())
    with torch.no_grad():
        expected, logits = model.eval()(mel)
    assert torch.allclose(result.clip, expected, atol=1e-5) and torch.allclose(
        result.logits, logits, atol=1e-5
    )
    alone = loaded(waveforms[:1, : front.sample_rate])
    assert torch.allclose(result.windows[:1, 0], alone.clip, atol=1e-5)


def test_wrong_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_channels(monkeypatch)
    state = published(panns.Cnn14(), panns.FrontEnd())

    def refused(changed: dict[str, torch.Tensor], match: str) -> None:
        path = tmp_path / "Cnn10.safetensors"
        save_file(changed, path)
        with pytest.raises(SonopaintError, match=match):
            load_embedding("panns", path)

    shallow = {name: value for name, value in state.items() if "conv_block6" not in name}
    refused(shallow, r"it lacks conv_block6\.\S+ and differs in \d+")
    refused(state | {"att_block.att.weight": torch.zeros(1)}, r"it has att_block\.att\.weight\.$")
    refused(state | {"fc1.bias": torch.zeros(3)}, r"fc1\.bias is \[3\] where \[16\] was expected")
    refused(state | {"fc1.bias": torch.full((16,), float("nan"))}, "NaN")
    refused(state | {panns.MEL_FILTERS: torch.zeros(513, 64)}, "other mel filters")
    refused(state | {panns.STFT_KERNEL: torch.zeros(1025, 1, 2048)}, "an STFT of 2048 samples")
    hamming = torch.hamming_window(1024).expand(513, 1, 1024).contiguous()
    refused(state | {panns.STFT_KERNEL: hamming}, "another window than Hann")
    broken = tmp_path / "Cnn14.pth"
    broken.write_bytes(b"<html>not found</html>")
    with pytest.raises(SonopaintError, match="is damaged"):
        load_embedding("panns", broken)
    torch.save({"model": {"fc1.weight": "text"}}, broken)
    with pytest.raises(SonopaintError, match="Cnn14.pth"):
        load_embedding("panns", broken)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"model": Bomb()}, tmp_path / "Cnn14.pth")
    with pytest.raises(SonopaintError, match="nothing in it was run"):
        load_embedding("panns", tmp_path / "Cnn14.pth")
    assert not (tmp_path / "exploded").exists()


def test_missing_weights_say_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    assert weights_folder() == tmp_path / "evaluation"
    for name, wanted in (
        ("panns", "Cnn14_mAP=0.431.pth"),
        ("vggish", "vggish-10086976.pth"),
        ("clap", "CLAP"),
    ):
        with pytest.raises(SonopaintError, match=wanted) as caught:
            load_embedding(name)
        assert str(tmp_path / "evaluation") in str(caught.value)
    with pytest.raises(SonopaintError, match="no /nowhere"):
        load_embedding("panns", "/nowhere")
    with pytest.raises(SonopaintError, match="is no embedding; choose auto, panns"):
        load_embedding("inception")
    assert load_embedding("auto").name == "classifier"
    small_channels(monkeypatch)
    (tmp_path / "evaluation").mkdir()
    save_file(panns.Cnn14().state_dict(), tmp_path / "evaluation" / "Cnn14_16k_mAP=0.438.safetensors")
    found = load_embedding("auto")
    assert found.title == "PANNs CNN14 16k" and found.sample_rate == 16_000  # told by its name


def test_vggish_embeds_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(vggish.VggishNet):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.features = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.MaxPool2d(16))
            self.embeddings = torch.nn.Sequential(torch.nn.Linear(2 * 6 * 4, 128))

    monkeypatch.setattr(vggish, "VggishNet", Small)
    torch.save(Small().state_dict() | {"pproc.pca_means": torch.zeros(1)}, tmp_path / "vggish.pth")
    loaded = load_embedding("vggish", tmp_path / "vggish.pth")
    result = loaded(sound(3.0, 16_000))
    assert result.windows is not None and result.windows.shape == (1, 3, 128) and result.logits is None
    assert torch.allclose(result.clip, result.windows.mean(1))
    short = loaded(torch.zeros(2, 5000))
    assert short.windows is not None and short.windows.shape == (2, 1, 128)


def clap_folder(folder: Path, fusion: bool) -> Path:
    """A miniature ClapModel with its processor."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    torch.manual_seed(0)
    config = ClapConfig(
        text_config={
            "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "projection_dim": 8,
        },
        audio_config={
            "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "window_size": 4,
            "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
            "hidden_size": 32, "enable_fusion": fusion, "projection_dim": 8,
        },
        projection_dim=8,
    )  # fmt: skip
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=2, fft_window_size=256,
        frequency_max=4000, truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)  # fmt: skip
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    words |= {character: 5 + i for i, character in enumerate("abcdefghijklmnopqrstuvwxyzĠ")}
    tokenizer = RobertaTokenizer(vocab=words, merges=[], model_max_length=77)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fusion", [False, True])
def test_clap_hears_and_reads(tmp_path: Path, fusion: bool) -> None:
    loaded = load_clap(clap_folder(tmp_path, fusion))
    long = sound(3.0, 8000)
    first = loaded(long)
    assert first.clip.shape == (1, 8) and first.windows is None and first.logits is None
    assert first.clip.norm().item() == pytest.approx(1.0, abs=1e-5)
    np.random.seed(1)  # a longer clip is cut at its start, not anywhere
    assert torch.equal(loaded(long[:, :16_000]).clip, first.clip)
    texts = loaded.texts(["a dog barks", "rain", "a dog barks"])
    assert texts.shape == (3, 8) and torch.allclose(texts[0], texts[2], atol=1e-6)
    assert not torch.allclose(texts[0], texts[1], atol=1e-3)


def test_a_folder_that_is_no_clap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match=r"has no model\.safetensors"):
        load_embedding("clap", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SonopaintError, match="can't be loaded as CLAP"):
        load_embedding("clap", tmp_path)


def test_the_corpus_classifier_hears_like_itself() -> None:
    loaded = load_embedding("classifier")
    assert "not comparable" in loaded.details and len(loaded.kinds) == 68
    result = loaded(torch.stack([sound(5.12, 32_000, seed)[0] for seed in (1, 2)]))
    logits, features = loaded.model.judge(torch.stack([sound(5.12, 32_000, seed)[0] for seed in (1, 2)]))  # type: ignore[attr-defined]
    assert torch.allclose(result.clip, features, atol=1e-5) and torch.allclose(
        result.logits, logits, atol=1e-4
    )  # type: ignore[arg-type]
    assert result.windows is not None and result.windows.shape == (2, 2, 512)
    assert loaded(sound(1.0, 32_000)).windows.shape == (1, 1, 512)  # type: ignore[union-attr]
