"""The report of a dataset, and tags by models from the disk."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.errors import Cancelled, SonopaintError
from sonotrain.data.build import build_dataset
from sonotrain.data.charts import bars, histogram
from sonotrain.data.options import DatasetOptions


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four short noises in two folders, one with a hostile name; a silent file, and one that is no sound."""
    folder = tmp_path / "sounds"
    for index, name in enumerate(
        ("dog/a.wav", "dog/<script>alert(1)</script>.wav", "bee/c.wav", "bee/d.wav")
    ):
        path = folder / name.replace("</script>", "<&script>")
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).standard_normal(8000).clip(-3, 3)
        soundfile.write(path, 0.2 * noise, 16000)
    (folder / "dog" / "a.txt").write_text('"quoted" <b>bold</b> & é', "utf-8")
    soundfile.write(folder / "silent.wav", np.zeros(8000), 16000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_says_what_is_there_and_what_is_not(sounds: Path, tmp_path: Path) -> None:
    build_dataset(sounds, tmp_path / "out", DatasetOptions(test=0))
    page = Tags()
    page.feed((tmp_path / "out" / "report.html").read_text("utf-8"))
    text = "".join(page.text)
    assert "4clips" in text and "2left out" in text  # a number above its word
    for words in ("recordings", "silent.wav", "is silent", "broken.wav", "could not be read", "Words"):
        assert words in text
    assert '"quoted" <b>bold</b> & é' in text  # as text, not as markup
    names = [tag for tag, _ in page.tags]
    assert "script" not in names and "b" in names and names.count("audio") == 4
    # Nothing is loaded from anywhere else, and the sounds beside it are there.
    for tag, attributes in page.tags:
        for key in ("src", "href"):
            if (value := attributes.get(key)) is not None:
                assert value.startswith("data:image/") or (tmp_path / "out" / value).is_file(), (tag, value)


def test_charts_hold_what_they_are_given() -> None:
    drawn = histogram("Peaks", [1.0, 1.0, 2.0, 9.0], "dB", bins=8)
    counts = [int(n) for n in re.findall(r": (\d+)</title>", drawn)]
    assert sum(counts) == 4 and max(counts) == 2 and "median 1.5 dB" in drawn
    assert "<svg" in histogram("Same", [3.0, 3.0], "s") and histogram("None", [], "s") == ""
    assert bars("Words", [("<b>", 3)]).count("&lt;b&gt;") == 1 and bars("None", []) == ""


# --- tags ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP with the smallest possible random weights."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    text = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "projection_dim": 16}
    audio = {"num_mel_bins": 64, "spec_size": 256, "patch_embeds_hidden_size": 16, "depths": [1, 1]}
    audio |= {"num_attention_heads": [2, 2], "hidden_size": 32, "projection_dim": 16, "num_classes": 8}
    audio |= {"enable_fusion": False}
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(feature_size=64, truncation="rand_trunc").save_pretrained(folder)
    vocabulary = {"<pad>": 1, "<s>": 0, "</s>": 2, "<unk>": 3, "dog": 4, "rain": 5, "sound": 6, "a": 7}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Audio Spectrogram Transformer with the smallest possible random weights and three classes."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=128,
        num_mel_bins=32, id2label={0: "Dog", 1: "Rain", 2: "Bell"}, label2id={"Dog": 0, "Rain": 1, "Bell": 2},
    )  # fmt: skip
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=128, num_mel_bins=32).save_pretrained(folder)
    return folder


def texts(out: Path) -> dict[str, str]:
    lines = [
        json.loads(line) for p in out.glob("*/metadata.jsonl") for line in p.read_text("utf-8").splitlines()
    ]
    return {line["source"]: line["text"] for line in lines}


def test_a_classifier_adds_its_classes(sounds: Path, tmp_path: Path, classifier: Path) -> None:
    build_dataset(sounds, tmp_path / "out", DatasetOptions(tagger=str(classifier), tags=2))
    for source, text in texts(tmp_path / "out").items():
        said = text.removeprefix('"quoted" <b>bold</b> & é').removeprefix("dog").removeprefix("bee")
        tags = [word for word in said.split(", ") if word]
        assert 1 <= len(tags) <= 2 and set(tags) <= {"dog", "rain", "bell"}, (source, text)


def test_clap_chooses_from_the_words(
    sounds: Path, tmp_path: Path, clap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, words = tmp_path / "out", tmp_path / "words.txt"
    words.write_text("rain\nthunder\n", "utf-8")
    options = DatasetOptions(tagger=str(clap), tag_words=str(words), tags=1, caption="{text} with {tags}")
    build_dataset(sounds, out, options)
    assert all(re.search(r" with (rain|thunder)$", text) for text in texts(out).values())
    # Called again, nothing is asked twice.
    monkeypatch.setattr("sonotrain.data.tags.Tagger.probabilities", None)
    build_dataset(sounds, out, options)


def test_tagging_goes_on_where_it_was_stopped(sounds: Path, tmp_path: Path, classifier: Path) -> None:
    options = DatasetOptions(tagger=str(classifier))

    def stop(done: int, total: int, what: str) -> None:
        if what == "Tagging" and done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        build_dataset(sounds, tmp_path / "out", options, stop)
    asked: list[Any] = []
    build_dataset(sounds, tmp_path / "out", options, lambda *now: asked.append(now))
    assert max(total for _, total, what in asked if what == "Tagging") == 2


def test_taggers_that_can_not_be_used(sounds: Path, tmp_path: Path, clap: Path, classifier: Path) -> None:
    def build(**options: Any) -> None:
        build_dataset(sounds, tmp_path / "out", DatasetOptions(**options))

    with pytest.raises(SonopaintError, match="CLAP needs words"):
        build(tagger=str(clap))
    with pytest.raises(SonopaintError, match="holds no tagger"):
        build(tagger=str(tmp_path))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}", "utf-8")
    with pytest.raises(SonopaintError, match="can't be loaded") as refused:
        build(tagger=str(broken))
    assert "\n" not in str(refused.value)
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    with pytest.raises(SonopaintError, match="holds no words"):
        build(tagger=str(classifier), tag_words=str(tmp_path / "empty.txt"))
    assert not (tmp_path / "out").exists()
