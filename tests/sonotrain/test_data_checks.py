"""Which clips are fit, which are the same, who comes into which split, and what captions say."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data import foley
from sonotrain.data.captions import count_tokens, load_counter, make_captions, plain_label, words_of_name
from sonotrain.data.checks import content_hash, find_duplicates, fingerprint, measure
from sonotrain.data.options import DatasetOptions
from sonotrain.data.split import assign, share
from sonotrain.data.texts import decode

FMT = get_format("sonopaint-mini")


def test_levels_are_those_of_a_sine() -> None:
    sine = 0.5 * torch.sin(torch.arange(32000) * 2 * torch.pi * 440 / 32000)[None]
    found = measure(sine)
    assert found.peak_db == pytest.approx(-6.02, abs=0.01)
    assert found.rms_db == pytest.approx(-9.03, abs=0.01)
    assert found.clipped == 0


@pytest.mark.parametrize(("gain", "least", "most"), [(1.0, 0.0, 0.0), (2.0, 0.6, 0.7), (10.0, 0.9, 1.0)])
def test_clipping_is_the_part_that_is_flat(gain: float, least: float, most: float) -> None:
    # A sine at double gain spends 2/3 of its time beyond full scale: arccos(1/2) · 2/π.
    sine = (gain * torch.sin(torch.arange(32000) * 2 * torch.pi * 100 / 32000)).clamp(-1, 1)[None]
    assert least <= measure(sine * 0.9995 if gain == 1 else sine).clipped <= max(most, 0.06)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_tiny_clips_can_be_measured(samples: int) -> None:
    assert measure(torch.ones(2, samples)).clipped == (1.0 if samples >= 3 else 0.0)
    assert measure(torch.zeros(1, samples)).peak_db == -200


def printed(waveforms: torch.Tensor) -> np.ndarray:
    return np.stack([fingerprint(one) for one in levels(waveforms, FMT)])


def test_mp3_gain_and_noise_are_the_same_sound_but_other_clips_are_not() -> None:
    clips = foley.batch(68, 5, list(foley.KINDS), relations=[("single", 1.0)]).waveforms
    copies = []
    for clip in clips[:16]:
        file = io.BytesIO()
        soundfile.write(file, (0.3 * clip).numpy(), FMT.sample_rate, format="MP3")
        file.seek(0)
        copy = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[: clip.shape[0]]
        copies.append(torch.nn.functional.pad(copy, (0, clip.shape[0] - len(copy))))
    prints = np.concatenate([printed(clips), printed(torch.stack(copies))])
    names = [f"{index}" for index in range(len(prints))]
    found = find_duplicates(names, prints, [FMT.width] * len(prints), 0.88)
    assert found[:68] == [-1] * 68  # 68 different kinds of sound
    caught = sum(found[68 + index] == index for index in range(16))
    assert caught >= 13, caught
    assert all(one in (-1, index) for index, one in enumerate(found[68:]))


def test_windows_of_one_steady_noise_are_different_clips() -> None:
    noise = torch.randn(24, FMT.width * FMT.hop_length, generator=torch.Generator().manual_seed(1))
    rain = torch.nn.functional.avg_pool1d(noise[:, None], 9, 1, 4)[:, 0]
    found = find_duplicates([str(i) for i in range(24)], printed(rain), [FMT.width] * 24, 0.75)
    assert found == [-1] * 24


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.5, 1.0])
def test_short_noises_at_a_low_rate_are_different_clips(seconds: float) -> None:
    """Nothing above 4 kHz, hard ends: what short sounds have in common must not make them the same."""
    count = int(seconds * FMT.sample_rate)
    noise = torch.randn(40, count // 4, generator=torch.Generator().manual_seed(2))
    wide = torch.nn.functional.interpolate(noise[:, None], size=count, mode="linear")[:, 0]
    padded = torch.nn.functional.pad(wide, (0, FMT.width * FMT.hop_length - count))
    columns = FMT.frames(count)
    prints = np.stack([fingerprint(one[:, :columns]) for one in levels(padded, FMT)])
    assert find_duplicates([str(i) for i in range(40)], prints, [columns] * 40, 0.75) == [-1] * 40


def test_exact_duplicates_are_found_whatever_the_similarity() -> None:
    clip = torch.randn(1, 1000).clamp(-1, 1)
    names = [content_hash(clip), content_hash(clip * 0.5), content_hash(clip.clone()), content_hash(clip)]
    assert find_duplicates(names, np.zeros((4, 512), np.int8), [5, 5, 5, 5], 2.0) == [-1, -1, 0, 0]


@given(names=st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=60), seed=st.integers(0, 99))
def test_the_split_hangs_on_names_alone(names: list[str], seed: int) -> None:
    before = assign(names, 0.2, 0.2, seed)
    assert set(before) == set(names) and "train" in before.values()
    assert len(names) < 2 or "validation" in before.values()
    # More files move none of the old ones, once a dataset remembers its groups.
    after = assign([*names, "another one", "and one more"], 0.2, 0.2, seed, before)
    assert {name: after[name] for name in names} == before


def test_splits_have_their_sizes_and_do_not_move() -> None:
    many = [f"recording {index}" for index in range(4000)]
    counts = Counter(assign(many, 0.1, 0.1, 0).values())
    assert counts["validation"] == pytest.approx(400, abs=60) and counts["test"] == pytest.approx(400, abs=60)
    some = assign(many[::2], 0.1, 0.1, 0)
    every = assign(many, 0.1, 0.1, 0)
    assert all(every[name] == split for name, split in some.items())
    assert assign(many, 0.1, 0.1, 1) != every and share("a", 0) != share("a", 1)


def test_no_validation_where_none_is_wanted_and_one_clip_is_for_training() -> None:
    assert set(assign(["a", "b", "c"], 0, 0, 0).values()) == {"train"}
    for seed in range(20):
        assert assign(["only"], 0.4, 0.4, seed) == {"only": "train"}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("field/DoorSlam_03 (take 2).wav", "door slam"),
        ("dog-bark-001.wav", "dog bark"),
        ("1-100032-A-0.wav", ""),
        ("d41d8cd98f00b204.wav", ""),
        ("Glocke große Turmuhr.flac", "glocke große turmuhr"),
    ],
)
def test_file_names_become_words(source: str, words: str) -> None:
    assert words_of_name(source) == words


def test_labels_become_words() -> None:
    assert [plain_label(name) for name in ("Dog_Bark", "trainHorn", "3")] == ["dog bark", "train horn", "3"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a dog, loud"),
        ({"trigger": "zorb"}, "zorb, a dog, loud"),
        ({"signifier": "a spectrogram of"}, "a spectrogram of a dog, loud"),
        ({"caption": "{label}: {text}"}, "dogs: a dog"),
        ({"caption": "{tags} {text} {trigger}", "trigger": "zorb"}, "loud a dog zorb"),
        ({"caption": "{trigger}", "trigger": "zorb"}, "zorb"),
        ({"caption": "{text}, {name}, end"}, "a dog, end"),
    ],
)
def test_captions_follow_the_template(options: dict[str, str], said: str) -> None:
    found = make_captions(DatasetOptions(**options), "01.wav", ["a dog", "a Dog"], "Dogs", ["loud"])
    assert found[0] == said and all("{" not in text for text in found)


def test_captions_fall_back_and_do_not_repeat() -> None:
    plain = DatasetOptions()
    assert make_captions(plain, "x/whip crack.wav", [], "Whips") == ["whips"]
    assert make_captions(plain, "x/whip crack.wav", [], None) == ["whip crack"]
    assert make_captions(plain, "x/0001.wav", [], None) == [""]
    assert make_captions(DatasetOptions(trigger="zorb"), "x/0001.wav", [], None) == ["zorb"]
    assert make_captions(plain, "x.wav", ["one", "two", "one"], None) == ["one", "two"]
    assert make_captions(plain, "x.wav", ["a dog barks"], None, ["Dog", "park"]) == ["a dog barks, park"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layout", "zip"), ("windows", "some"), ("overlap", 1.0), ("silence_db", 3),
        ("caption", "{0.__class__}"), ("caption", "{path}"), ("group", "("), ("validation", 0.95),
        ("max_unreadable", float("nan")),
    ],
)  # fmt: skip
def test_options_that_can_not_be_are_refused(field: str, value: object) -> None:
    with pytest.raises(SonopaintError) as refused:
        DatasetOptions(**{field: value})
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("ein Käfer".encode(), "UTF-8"),
        ("ein Käfer".encode("utf-8-sig"), "UTF-8"),
        ("ein Käfer".encode("utf-16"), "UTF-16"),
        ("ein Käfer!".encode("utf-16-le"), "UTF-16"),
        ("ein Käfer!".encode("utf-16-be"), "UTF-16"),
        ("ein Käfer".encode("latin-1"), "Windows-1252"),
        ("ein Käfer \x81".encode("latin-1"), "Latin-1"),
        (b"", "UTF-8"),
    ],
)
def test_captions_in_other_encodings_are_read(data: bytes, encoding: str) -> None:
    text, found = decode(data)
    assert found == encoding and (not data or text.startswith("ein Käfer"))


@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_decoded(data: bytes) -> None:
    text, encoding = decode(data)
    assert isinstance(text, str) and encoding


def test_tokens_are_counted_as_clip_does() -> None:
    pytest.importorskip("transformers")
    counter = load_counter("")
    assert count_tokens(counter, ["", "a dog barking", "dog " * 200]) == [2, 5, 202]
    assert count_tokens(counter, []) == []
