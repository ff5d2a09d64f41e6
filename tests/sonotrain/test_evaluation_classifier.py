"""The shipped sound classifier, and what the evaluation makes of its verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.cli import main
from sonotrain.data import foley
from sonotrain.data.corpus import Record, write_shard
from sonotrain.data.words import FRAMES
from sonotrain.evaluation.base.examine import as_markdown
from sonotrain.evaluation.base.mixtures import both_named, judge_of_mixtures, order_heard
from sonotrain.trainers.mini.export import BEGIN, END, quote_evaluation
from sonotrain.trainers.mini.phrasings import foley_captions
from sonotrain.trainers.mini.sound_classifier import (
    SoundClassifier,
    augment,
    load_classifier,
    parts_of,
    save_classifier,
    shipped_classifier,
)
from sonotrain.training.painting import to_sound

FORMAT = get_format("sonopaint-mini")


@pytest.fixture(scope="module")
def judge() -> SoundClassifier:
    return load_classifier()[0]


def test_it_is_small_knows_every_kind_and_says_how_good_it_is(judge: SoundClassifier) -> None:
    _, metrics = load_classifier()
    assert shipped_classifier().stat().st_size < 2_000_000
    assert set(judge.kinds) == set(foley.KINDS)
    assert metrics["accuracy"] > 0.95 and metrics["accuracy_after_round_trip"] > 0.9


def test_it_hears_corpus_clips_it_was_not_trained_on(judge: SoundClassifier) -> None:
    clips = foley.batch(len(foley.KINDS), 987_654, list(foley.KINDS), relations=[("single", 1.0)])
    wanted = torch.tensor([judge.kinds.index(kinds[0]) for kinds in clips.kinds])
    logits, features = judge.judge(clips.waveforms)
    assert (logits.argmax(1) == wanted).float().mean() > 0.9
    assert features.shape == (len(wanted), 512)


def test_it_hears_clips_whose_phase_was_made_up(judge: SoundClassifier) -> None:
    kinds = ["rain", "siren", "dog_bark", "piano", "gunshot", "bird_song"]
    clips = foley.batch(6, 4321, kinds, relations=[("single", 1.0)])
    sounds = to_sound(levels(clips.waveforms, FORMAT), iterations=8)
    heard = [judge.kinds[index] for index in judge.judge(sounds)[0].argmax(1)]
    assert sum(name == kinds[0] for name, kinds in zip(heard, clips.kinds, strict=True)) >= 5


def test_it_hears_which_of_two_events_comes_first(judge: SoundClassifier) -> None:
    clips = foley.batch(12, 2468, relations=[("sequence", 1.0)])
    sounds = levels(clips.waveforms, FORMAT)
    heard = order_heard(judge, sounds, clips.kinds)
    assert heard["order"] >= 10 / 12 and heard["both"] <= heard["order"]
    swapped = order_heard(judge, sounds, [pair[::-1] for pair in clips.kinds])
    assert swapped["order"] == pytest.approx(1 - heard["order"])


def test_a_clip_of_any_rate_and_channels_is_read(judge: SoundClassifier) -> None:
    clips = foley.batch(1, 5, ["siren"], relations=[("single", 1.0)])
    stereo = Clip(clips.waveforms.expand(2, -1), 32_000).resampled(44_100)
    named = judge.classify(stereo)
    assert named[0][0] == "siren" and sum(chance for _, chance in named) == pytest.approx(1.0, abs=1e-4)


def test_a_damaged_classifier_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    save_classifier(SoundClassifier(["a", "b"]), path, {"accuracy": 0.5})
    model, metrics = load_classifier(tmp_path)
    assert model.kinds == ["a", "b"] and metrics == {"accuracy": 0.5}
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SonopaintError, match="not a readable sound classifier"):
        load_classifier(path)


KINDS = ("a", "b", "c", "d", "e", "f")


def bands(folder: Path, relation: str, count: int) -> Path:
    """A corpus whose kinds are bands of frequency that shine for a while; pairs are two of them."""
    generator = torch.Generator().manual_seed(count)
    levels, records = torch.zeros(count, 128, 100, dtype=torch.uint8), []
    for row in range(count):
        chosen = torch.randperm(len(KINDS), generator=generator)[: 1 if relation == "single" else 2].tolist()
        for kind in chosen:
            start = int(torch.randint(0, 40, (1,), generator=generator))
            levels[row, 20 * kind : 20 * kind + 12, start : start + 60] = 200
        records.append(Record(["x"], [KINDS[kind] for kind in chosen], relation, []))
    folder.mkdir()
    write_shard(folder, 0, {"levels": levels}, records)
    return folder


def test_a_judge_of_mixtures_learns_to_name_both_and_lies_beside_the_classifier(
    tmp_path: Path, rough: None
) -> None:
    singles, pairs = bands(tmp_path / "singles", "single", 90), bands(tmp_path / "pairs", "parallel", 91)
    command = ["base", "classifier", "--corpus", str(singles), "--round-trip", "0", "--held-out", "16"]
    command += ["--batch", "16", "--device", "cpu", "--warmup", "5", "--weights", str(tmp_path / "weights")]
    assert main([*command, "--steps", "1", "--out", str(tmp_path / "plain")]) == 0
    assert judge_of_mixtures(tmp_path / "weights").several is False  # nothing better is there
    told = [*command, "--pairs", str(pairs), "--steps", "60", "--out", str(tmp_path / "mixtures")]
    assert main(told) == 0
    judge, metrics = load_classifier(tmp_path / "weights" / "mixtures.safetensors")
    assert judge.several and judge_of_mixtures(tmp_path / "weights").several
    assert metrics["both_first_two"] > 0.8 and metrics["both_first_three"] >= metrics["both_first_two"]
    assert metrics["accuracy"] > 0.9
    assert load_classifier(tmp_path / "weights")[0].several is False  # top-1 stays with the old one
    strange = bands(tmp_path / "strange", "parallel", 40)
    (strange / "shard-00000.jsonl").write_text(
        (strange / "shard-00000.jsonl").read_text().replace('"a"', '"z"')
    )
    assert main([*command, "--pairs", str(strange), "--steps", "1", "--out", str(tmp_path / "no")]) == 2


def test_both_sounds_count_as_named_when_they_are_among_the_first_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = SoundClassifier(KINDS, several=True)
    logits = torch.tensor([[9.0, 1, 8, 7, 0, 0], [9, 8, 7, 0, 0, 1]])
    monkeypatch.setattr(judge, "judge", lambda waveforms: (logits, None))
    assert both_named(judge, torch.zeros(2, 10), [("a", "d"), ("a", "f")]) == 0.5


def test_augmentation_keeps_levels_and_is_seeded() -> None:
    pictures = torch.rand(4, 128, 320, generator=torch.Generator().manual_seed(0))
    for seed in range(20):
        changed = augment(pictures, torch.Generator().manual_seed(seed))
        assert changed.shape[:2] == (4, 128) and 64 <= changed.shape[2] <= 320
        assert changed.min() >= 0.0 and changed.max() <= 1.0
        assert torch.equal(changed, augment(pictures, torch.Generator().manual_seed(seed)))
        assert augment(pictures, torch.Generator().manual_seed(seed), whole=True).shape == pictures.shape


def test_captions_of_the_evaluation_are_not_in_the_corpus() -> None:
    said = set(foley_captions())
    assert not any(frame.format(text) in said for frame in FRAMES for text in said)


def test_an_evaluation_is_quoted_in_the_card(tmp_path: Path) -> None:
    row = {"top1": 0.4, "real_top1": 1.0, "frechet": 3.0, "floor": 1.0, "taken_for": "wind"}
    result = {
        "clips": 10, "kinds": 1, "sampler": "ddim", "steps": 20, "guidance_scale": 4.0, "seed": 1,
        "top1": 0.4, "real_top1": 1.0, "frechet": 3.0, "floor": 1.0, "order": 0.8, "both": 0.5,
        "real_order": 1.0, "real_both": 0.9,
        "table": {"ocean_waves": row},
    }  # fmt: skip
    table = as_markdown(result)
    assert "| two events: order right (chance 50 %) | **80.0%** | 100.0% |" in table
    assert (
        "| ocean waves | 40% | 100% | wind | 3.0 | 1.0 |" in table
        and "Kinds below 50 %: ocean waves" in table
    )
    card = tmp_path / "README.md"
    card.write_text(f"# Card\n{BEGIN}\nold\n{END}\nrest\n", encoding="utf-8")
    quote_evaluation(card, table)
    quote_evaluation(card, table)
    text = card.read_text(encoding="utf-8")
    assert text.count("ocean waves |") == 1 and "old" not in text and text.endswith("rest\n")


def test_parts_begin_at_once_at_full_scale_and_are_of_their_clip() -> None:
    levels = torch.zeros(40, 128, 320)
    levels[:, 40:60, 100:140] = 0.8  # an event
    levels[:, 40:60, 200:300] = 0.3  # a quiet one
    parts = parts_of(levels, torch.Generator().manual_seed(0))
    assert torch.equal(parts, parts_of(levels, torch.Generator().manual_seed(0)))
    assert torch.allclose(parts.amax((1, 2)), torch.ones(40))  # some of the event is in each
    lengths = (parts.amax(1) > 0).sum(1)
    assert lengths.min() < 80 and lengths.max() > 120
    loud = (parts > 0.9).sum(2).amax(1)
    assert int(loud.max()) <= 40 and (parts[:, :40].amax((1, 2)) == 0).all()


def test_a_judge_of_parts_lies_beside_the_classifier(
    tmp_path: Path, rough: None, capsys: pytest.CaptureFixture[str]
) -> None:
    singles = bands(tmp_path / "singles", "single", 90)
    command = ["base", "classifier", "--corpus", str(singles), "--round-trip", "0", "--held-out", "16"]
    command += ["--batch", "16", "--device", "cpu", "--warmup", "5", "--weights", str(tmp_path / "weights")]
    assert main([*command, "--parts", "--steps", "60", "--out", str(tmp_path / "parts")]) == 0
    judge, metrics = load_classifier(tmp_path / "weights" / "parts.safetensors")
    assert not judge.several and not (tmp_path / "weights" / "classifier.safetensors").exists()
    assert metrics["parts_first"] > 0.7 and metrics["parts_first_three"] >= metrics["parts_first"]
    both = ["--pairs", str(singles), "--parts", "--steps", "1", "--out", str(tmp_path / "no")]
    assert main([*command, *both]) == 2 and "choose one" in capsys.readouterr().err
