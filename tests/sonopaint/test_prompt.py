"""Prompt weights, long prompts, and the tokenizer that Mini brings."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonopaint.models.mini import mini_config
from sonopaint.models.prompt import CHUNK, encode_prompt, parse_prompt
from sonopaint.models.tokenizer import find_clip_tokenizer, load_tokenizer, save_tokenizer, train_tokenizer

CAPTIONS = ["a distant, low train horn", "a dog barks, then a siren passes", "rain on a tin roof"] * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    size = train_tokenizer(CAPTIONS, folder, 560)
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    config = CLIPTextConfig(**mini_config(size)["text_encoder"] | {"num_hidden_layers": 1, "hidden_size": 64})
    text_encoder = CLIPTextModel(config).eval()
    return SimpleNamespace(
        tokenizer=load_tokenizer(folder),
        text_encoder=text_encoder,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a dog", [("a dog", 1.0)]),
        ("a (dog)", [("a ", 1.0), ("dog", 1.1)]),
        ("a ((dog)) barks", [("a ", 1.0), ("dog", 1.21), (" barks", 1.0)]),
        ("[far] dog", [("far", 1 / 1.1), (" dog", 1.0)]),
        ("(dog:1.3)", [("dog", 1.3)]),
        ("(dog: .5 )", [("dog", 0.5)]),
        ("(a (loud:2) dog:1.5)", [("a ", 1.5), ("loud", 3.0), (" dog", 1.5)]),
        ("[a (dog:1.1)]", [("a ", 1 / 1.1), ("dog", 1.0)]),
        (r"a \(dog\) \[x\] \\", [(r"a (dog) [x] " + "\\", 1.0)]),
        (r"(a\):2)", [("a)", 2.0)]),
        ("(dog", [("(dog", 1.0)]),
        ("dog) (cat)", [("dog) ", 1.0), ("cat", 1.1)]),
        ("([dog)]", [("(", 1.0), ("dog)", 1 / 1.1)]),
        ("(dog:loud)", [("dog:loud", 1.1)]),
        ("12:30 (at 12:30)", [("12:30 ", 1.0), ("at 12", 30.0)]),
        ("()", []),
        ("(dog:1e9)", [("dog:1e9", 1.1)]),
        ("a\\b", [("a\\b", 1.0)]),
    ],
)
def test_syntax(prompt, expected):
    parsed = parse_prompt(prompt)
    assert [text for text, _ in parsed] == [text for text, _ in expected]
    assert [w for _, w in parsed] == pytest.approx([min(w, 10) for _, w in expected])


@given(st.text(alphabet="ab():[]\\.1 ", max_size=60))
def test_any_text_parses_and_no_letter_is_lost(prompt):
    parsed = parse_prompt(prompt)
    assert all(text and abs(weight) <= 10 for text, weight in parsed)
    letters = "".join(text for text, _ in parsed)
    assert [c for c in letters if c in "ab"] == [c for c in prompt if c in "ab"]


@given(st.text(max_size=80))
def test_escaped_text_comes_back_whole(text):
    escaped = "".join("\\" + c if c in "()[]\\" else c for c in text)
    assert "".join(part for part, _ in parse_prompt(escaped)) == text


def test_brackets_by_the_thousand_take_linear_time():
    start = time.perf_counter()
    assert parse_prompt("(" * 5000 + "dog" + ")" * 5000) == [("dog", 10.0)]
    assert len(parse_prompt("(" * 10_000)) == 1
    assert time.perf_counter() - start < 1


def test_plain_prompts_are_encoded_as_clip_encodes_them(model):
    prompts = ["a dog barks", "", "rain on a tin roof"]
    inputs = model.tokenizer(prompts, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        expected = model.text_encoder(inputs.input_ids).last_hidden_state
    torch.testing.assert_close(encode_prompt(model, prompts), expected, atol=1e-5, rtol=1e-5)


def test_long_prompts_are_cut_into_chunks_and_short_ones_filled_up(model):
    long = "dog " * 100
    both = encode_prompt(model, [long, "rain"])
    assert both.shape == (2, 154, 64)
    torch.testing.assert_close(both[1, :77], encode_prompt(model, ["rain"])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1, 77:], encode_prompt(model, [""])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[0], encode_prompt(model, [long])[0], atol=1e-5, rtol=1e-5)
    exact = encode_prompt(model, ["dog " * CHUNK])
    assert exact.shape == (1, 77, 64)


@pytest.mark.parametrize(
    "prompt", ["x" * 10_000, "(a:1.2) " * 1250, "犬 " * 3333, "😀" * 2500, "\x00 \n\t" * 10]
)
def test_ten_thousand_characters_of_anything(model, prompt):
    embeddings = encode_prompt(model, [prompt])
    assert embeddings.shape[1] % 77 == 0
    assert embeddings.isfinite().all()


def test_weights_scale_their_tokens_and_keep_the_mean():
    """With a text encoder of constant, non-zero mean the WebUI's formula holds exactly."""
    from sonopaint.models.prompt import _apply_weights

    embeddings = torch.rand(2, 77, 8) + 1
    weights = torch.ones(2, 77)
    weights[1, 3] = 1.5
    out = _apply_weights(embeddings, weights)
    assert torch.equal(out[0], embeddings[0])
    assert out[1].mean() == pytest.approx(embeddings[1].mean().item(), rel=1e-5)
    factor = out[1] / embeddings[1]
    torch.testing.assert_close(factor[3] / factor[4], torch.full((8,), 1.5))


def test_weights_act_sensibly_on_embeddings_of_mean_zero(model):
    plain = encode_prompt(model, ["a dog barks"])
    strong = encode_prompt(model, ["a (dog:1.5) barks"])
    assert not torch.allclose(plain, strong)
    ratio = strong[0, 2].norm() / plain[0, 2].norm()
    assert 1.2 < ratio < 1.6
    assert strong.square().mean().item() == pytest.approx(plain.square().mean().item(), rel=0.1)
    assert encode_prompt(model, ["(dog:0)"]).isfinite().all()
    assert encode_prompt(model, ["(dog:-1)"]).isfinite().all()


def test_rows_do_not_depend_on_their_neighbours(model):
    alone = encode_prompt(model, ["a (dog:1.4)"])
    among = encode_prompt(model, ["rain", "a (dog:1.4)", "(siren:2)"])
    torch.testing.assert_close(among[1:2], alone, atol=1e-5, rtol=1e-5)


def test_a_trained_tokenizer_is_clips_format(tmp_path):
    size = train_tokenizer(CAPTIONS, tmp_path, 560)
    vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert size == len(vocab) <= 560
    assert sorted(vocab.values()) == list(range(size))
    assert (vocab["<|startoftext|>"], vocab["<|endoftext|>"]) == (size - 2, size - 1)
    assert merges[0].startswith("#version") and len(merges) - 1 == size - 514
    assert vocab["!"] == 0 and vocab["!</w>"] == 256  # CLIP's own order of bytes

    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer("A Distant TRAIN horn, ünï 犬!").input_ids
    assert ids[0] == size - 2 and ids[-1] == size - 1
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "adistanttrainhorn,ünï犬!"
    assert tokenizer.pad_token_id == size - 1 and tokenizer.model_max_length == 77
    assert len(tokenizer("train").input_ids) == 3  # a word that was seen is one token

    save_tokenizer(tokenizer, tmp_path / "again")
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_training_a_tokenizer_needs_room_for_bytes(tmp_path):
    with pytest.raises(SonopaintError, match="514"):
        train_tokenizer(CAPTIONS, tmp_path, 100)
    assert train_tokenizer([], tmp_path, 600) == 514
    assert load_tokenizer(tmp_path)("dog").input_ids[0] == 512


def test_clips_tokenizer_is_shipped_and_a_folder_goes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path / "models"))
    shipped = find_clip_tokenizer(tmp_path)
    # the numbers that CLIP ViT-L/14's published tokenizer gives
    assert shipped("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(shipped) == 49408

    train_tokenizer(CAPTIONS, tmp_path / "models" / "tokenizer", 560)
    assert len(find_clip_tokenizer(tmp_path)) > 516
    train_tokenizer([], tmp_path / "here" / "tokenizer", 560)
    assert len(find_clip_tokenizer(tmp_path / "here")) == 514
