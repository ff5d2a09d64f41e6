"""The bench of subjects: what its figures mean, its prompts, that it goes on where it was stopped."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, write_clip
from sonotrain.cli import main
from sonotrain.data.foley import KINDS, SAMPLE_RATE
from sonotrain.data.foley.corpus import _put_in_place, synthesise
from sonotrain.data.foley.subjects import SUBJECTS, subject_clips
from sonotrain.evaluation.bench import measures
from sonotrain.evaluation.bench.nouns import Shot
from sonotrain.evaluation.bench.report import Cells, faults, write_reports
from sonotrain.evaluation.subject import painting
from sonotrain.evaluation.subject.contexts import agrees
from sonotrain.evaluation.subject.folders import find_subjects
from sonotrain.evaluation.subject.methods import find_weights, read_methods, training_cost
from sonotrain.evaluation.subject.prompts import DREAMBOOTH, LIVE, OBJECTS, SOUND, Template
from sonotrain.evaluation.subject.run import SubjectBenchOptions, run
from sonotrain.evaluation.subject.sounds import SoundJudge
from sonotrain.evaluation.traits import listen
from sonotrain.trainers.mini.sound_classifier import load_classifier

# -- prompts


def test_the_lists_have_exactly_25_prompts_and_dreambooths_are_dreambooths() -> None:
    for templates in (SOUND, LIVE, OBJECTS):
        assert len({template.text for template in templates}) == len(templates) == 25
        assert all("{0} {1}" in template.text for template in templates)
    assert len(DREAMBOOTH) == 30 and sum(noun in ("cat", "dog") for noun in DREAMBOOTH.values()) == 9
    assert [t.text for t in LIVE[:10]] == [t.text for t in OBJECTS[:10]]
    assert [t.text for t in LIVE[20:]] == [t.text for t in OBJECTS[20:]]
    assert LIVE[13].text == "a {0} {1} wearing a black top hat and a monocle"
    assert OBJECTS[14].text == "a {0} {1} floating in an ocean of milk"
    # a changed prompt makes new results incomparable with old ones
    texts = "\n".join(template.text for templates in (SOUND, LIVE, OBJECTS) for template in templates)
    assert hashlib.sha256(texts.encode()).hexdigest()[:16] == "d219ac315fcff7c9"


def test_without_a_token_a_prompt_is_plain_english() -> None:
    assert SOUND[4].prompt("prt", "owl") == "a prt owl in a large hall"
    assert SOUND[4].prompt("", "owl") == "an owl in a large hall"
    assert SOUND[0].prompt("", "dog bark") == "a distant dog bark"


# -- figures


def features(seed: int, rows: int) -> torch.Tensor:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.1, 50))
def test_identity_is_1_with_itself_alone_symmetric_and_without_scale(
    seed: int, rows: int, scale: float
) -> None:
    one, other = features(seed, rows), features(seed + 1, rows + 1)
    assert measures.identity(one[:1], one[:1]) == pytest.approx(1)
    assert measures.identity(one, other) == pytest.approx(measures.identity(other, one), abs=1e-5)
    assert measures.identity(scale * one, other) == pytest.approx(measures.identity(one, other), abs=1e-5)
    assert measures.identity(one, one) <= 1 + 1e-9
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    assert measures.identity(one[order], other) == pytest.approx(measures.identity(one, other), abs=1e-5)


def test_diversity_is_nothing_for_equal_clips_and_knows_seeds_from_prompts() -> None:
    same = torch.ones(6, 4)
    prompts = [1, 1, 2, 2, 3, 3]
    flat = measures.embedding_distances(same, same)
    assert measures.intra(flat, prompts) == pytest.approx([0, 0, 0])
    assert measures.inter(flat, prompts) == pytest.approx([0, 0, 0])
    # one and the same answer for each prompt: words change it, seeds don't
    deaf = torch.eye(3).repeat_interleave(2, 0)
    distances = measures.embedding_distances(deaf, deaf)
    assert measures.intra(distances, prompts) == pytest.approx([0, 0, 0])
    assert measures.inter(distances, prompts) == pytest.approx([1, 1, 1])
    assert measures.spread(measures.intra(distances, [1, 2, 3, 4, 5, 6])) is None, "one seed has no diversity"


def pictures_of(waveforms: torch.Tensor) -> torch.Tensor:
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import levels

    return levels(waveforms, get_format("sonopaint-mini"))


@pytest.mark.parametrize("name", SUBJECTS)
def test_copies_are_found_though_moved_and_noisy_and_new_clips_of_the_subject_are_none(name: str) -> None:
    clips = subject_clips(name, 20)
    references, fresh = pictures_of(clips[:5]), pictures_of(clips[5:])
    noise = 0.0005 * torch.randn(5, clips.shape[1], generator=torch.Generator().manual_seed(1))
    moved = pictures_of((0.5 * clips[:5]).roll(8000, 1) + noise)
    told = {"distances": measures.pattern_distances, "limit": measures.COPIED_SOUND}
    assert measures.copies(moved, references, **told).share > 0.5
    assert measures.copies(moved, references, **told).memorises
    new = measures.copies(fresh, references, **told)
    assert new.share <= 0.1 and not new.memorises and new.distance > 0.1
    assert measures.copies(fresh, references[:1], **told) is None


def test_alike_references_are_not_taken_for_copies_of_each_other() -> None:
    base = torch.rand(1, 16, 40, generator=torch.Generator().manual_seed(1))
    alike = base + 0.02 * torch.randn(9, 16, 40, generator=torch.Generator().manual_seed(2))
    found = measures.copies(alike[5:], alike[:5], measures.pattern_distances, measures.COPIED_SOUND)
    assert found.distance < measures.COPIED_SOUND and not found.memorises


# -- agreement with the words


@pytest.fixture(scope="module")
def classifier() -> Any:
    return load_classifier()[0]


@pytest.mark.parametrize("kind", ["dog_bark", "snare_drum", "owl"])
def test_reverberation_and_traits_of_the_corpus_are_measured(kind: str, classifier: Any) -> None:
    clips, named = synthesise(kind, 24, torch.Generator().manual_seed(4))
    dry = listen(clips[:6], classifier)
    hall = listen(_put_in_place(clips[:6], ["hall"] * 6, torch.Generator().manual_seed(3)), classifier)
    echoing = Template("an echoing {0} {1}", "fuller")
    gaps = [(wet, plain) for wet, plain in zip(hall, dry, strict=True) if plain.fullness < 0.9]
    assert gaps and all(agrees(echoing, wet, plain, []) for wet, plain in gaps)
    assert not any(agrees(echoing, plain, plain, []) for plain in dry), "no change is no agreement"
    traits = listen(clips, classifier)
    changes = {"pitch": "lower", "rate": "slower", "count": "fewer"}
    for trait, change in ((trait, changes[trait]) for trait in KINDS[kind].traits):
        low = [t for t, names in zip(traits, named, strict=True) if f"{trait}-low" in names]
        high = [t for t, names in zip(traits, named, strict=True) if f"{trait}-high" in names]
        answers = [agrees(Template("", change), a, b, []) for a in low for b in high]
        assert answers, trait
        assert sum(answers) / len(answers) > 0.75, trait


def test_a_second_sound_is_heard_where_the_prompt_says(classifier: Any) -> None:
    bark = synthesise("dog_bark", 4, torch.Generator().manual_seed(4))[0]
    bell = synthesise("church_bell", 4, torch.Generator().manual_seed(5))[0]
    half = bark.shape[1] // 2
    after = torch.cat([bark[:, :half], bell[:, : bark.shape[1] - half]], 1)
    plain, mixed, turned = (listen(x, classifier) for x in (bark, after, after.roll(half, 1)))
    template = Template("a {0} {1} and then a church bell", "after", "church_bell")
    hits = [agrees(template, m, p, classifier.kinds) for m, p in zip(mixed, plain, strict=True)]
    wrong = [
        m.late[classifier.kinds.index("church_bell")] < t.early[classifier.kinds.index("church_bell")] - 8
        for m, t in zip(mixed, turned, strict=True)
    ]
    assert all(hits) and not any(wrong)
    assert agrees(Template("a close {0} {1}"), mixed[0], plain[0], classifier.kinds) is None


# -- the whole bench, with a painter that paints what it is told


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    assert main(["bench", "subject-clips", "--out", str(folder), "--held-out", "3"]) == 0
    return folder


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every method paints fresh clips of the subject; "reciter" its references. Returns what was painted."""
    made: list[str] = []
    clips_of = functools.cache(subject_clips)

    def painter(
        weights: Any, sampling: Any, *, sounds: bool, device: Any
    ) -> tuple[Callable[[Shot, Path], None], int]:
        def paint(shot: Shot, file: Path) -> None:
            method, subject = file.parts[-3], file.parts[-2]
            seed = 0 if method == "reciter" else 100
            clips = clips_of(subject, 8, seed)
            waveform = clips[shot.seed if method == "reciter" else (shot.number + shot.seed) % 8]
            write_clip(Clip(waveform[None], SAMPLE_RATE), file)
            made.append(f"{method}/{subject}/{shot.stem}")

        return paint, 1

    monkeypatch.setattr(painting, "painter", painter)
    return made


def request(subjects: Path, tmp_path: Path, **changes: Any) -> SubjectBenchOptions:
    told: dict[str, Any] = {
        "methods": ("fresh=mini", "reciter=mini"),
        "only": ("giant-dog",),
        "prompts": (1, 22),
    }
    told |= {"seeds": 2, "out": str(tmp_path / "out"), "cache": str(tmp_path / "cache"), "device": "cpu"}
    return SubjectBenchOptions(str(subjects), **(told | changes))


def test_the_bench_tells_a_reciter_and_writes_every_report(
    subjects: Path, tmp_path: Path, stub: list[str]
) -> None:
    results = run(request(subjects, tmp_path))
    cells = results["subjects"]["giant-dog"]
    assert cells["reciter"]["memorises"] and not cells["fresh"]["memorises"]
    assert not cells["held-out clips"]["memorises"]
    assert cells["fresh"]["identity"] > 0.9 and cells["held-out clips"]["identity"] > 0.9
    assert cells["fresh"]["nfe"] == 1 and cells["fresh"]["seconds"] > 0
    assert len(stub) == 2 * (1 + 2) * 2
    markdown = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    assert "✗ reciter recites its references" in markdown and "| fresh | 1 |" in markdown
    written = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert written["templates"]["22"] == "a {0} {1} followed by a siren"
    for name in ("results.png", "sheet-giant-dog.png", "index.html"):
        assert (tmp_path / "out" / name).stat().st_size > 500


def test_a_stopped_bench_goes_on_and_never_mixes_two_models(
    subjects: Path, tmp_path: Path, stub: list[str]
) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(request(subjects, tmp_path, methods=("fresh=mini",)), stop)
    assert len(stub) == 3
    first = run(request(subjects, tmp_path, methods=("fresh=mini",)))
    assert len(stub) == len(set(stub)) == 6
    assert first == run(request(subjects, tmp_path, methods=("fresh=mini",))) and len(stub) == 6
    with pytest.raises(SonopaintError, match="painted with other plain; choose another out"):
        run(request(subjects, tmp_path, methods=("fresh=mini",), token="zorb"))


def test_living_things_and_objects_are_averaged_apart_too(subjects: Path, tmp_path: Path) -> None:
    dog, drum, owl = find_subjects(subjects)
    assert (dog.group, drum.group, owl.group) == ("living", "objects", "living")
    cells = Cells()
    for one, identity in ((dog, 0.9), (drum, 0.3), (owl, 0.7)):
        cells["a", one.name] = {"identity": identity, "intra": (0.1, 0.0), "diversity": None}
    results = write_reports(tmp_path, cells, {}, [dog, drum, owl], "Three", "Note.", {})
    assert results["average"]["a"]["identity"] == pytest.approx(1.9 / 3)
    apart = {group: rows["a"]["identity"] for group, rows in results["groups"].items()}
    assert apart == pytest.approx({"living": 0.8, "objects": 0.3})
    written = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "Averaged over living (2):" in written and "| a | 0.800 |" in written
    assert write_reports(tmp_path, cells, {}, [dog, owl], "Two", "", {})["groups"] == {}


def test_the_mean_of_both_diversities_needs_both() -> None:
    one = torch.nn.functional.normalize(features(3, 6), dim=1)
    distances = measures.embedding_distances(one, one)
    both = measures.cell(one, one, [1, 1, 1, 2, 2, 2], distances)
    assert both["diversity"] == pytest.approx((both["intra"][0] + both["inter"][0]) / 2)
    assert measures.cell(one, one, [1] * 6, distances)["diversity"] is None


def test_faults_are_named() -> None:
    real, base = {"intra": (0.2, 0.0)}, {"identity": 0.5, "agreement": 0.8}
    good = {"identity": 0.9, "intra": (0.15, 0.01), "agreement": 0.7, "memorises": False}
    assert faults(good, real, base) == {}
    bad = {"identity": 0.4, "intra": (0.01, 0.0), "agreement": 0.1, "memorises": True}
    assert set(faults(bad, real, base)) == {"identity", "intra", "agreement", "copies"}


# -- what people get wrong


def test_missing_and_wrong_things_are_said_in_one_sentence(subjects: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"methods": ()}, "Give at least one methods"),
        ({"methods": ("fresh",)}, "'fresh' is no method; write NAME=PATH"),
        ({"methods": ("a=mini", "a=mini")}, "there twice"),
        ({"methods": ("a=/no/where",)}, "There is no model /no/where"),
        ({"only": ("cat",)}, "has no subject 'cat'; it has giant-dog"),
        ({"prompts": (26,)}, "numbers from 1 to 25, not 26"),
        ({"seeds": 0}, "seeds must be from 1 to 1000"),
    ):
        with pytest.raises(SonopaintError, match=words):
            run(request(subjects, tmp_path, **changes))
    empty = tmp_path / "run"
    empty.mkdir()
    with pytest.raises(SonopaintError, match="holds no weights"):
        find_weights(read_methods([f"a={empty}"])[0], "x", "mini")
    nameless = tmp_path / "nameless"
    nameless.mkdir()
    write_clip(Clip(torch.zeros(1, 32000), SAMPLE_RATE), nameless / "a.wav")
    with pytest.raises(SonopaintError, match="Nothing says what nameless is; give its class, such as noun"):
        find_subjects(nameless)
    assert find_subjects(nameless, "gong")[0].noun == "gong"
    (nameless / "b.png").touch()
    with pytest.raises(SonopaintError, match="sounds and pictures"):
        find_subjects(nameless, "gong")


def test_training_time_and_memory_come_from_the_run_folder(tmp_path: Path) -> None:
    assert training_cost(tmp_path) == (None, None)
    (tmp_path / "log.jsonl").write_text(
        '{"step": 1, "seconds": 60.0, "memory_mb": 900}\n{"step": 2, "seconds": 120}\n'
    )
    assert training_cost(tmp_path) == (2.0, 900.0)


def test_one_reference_can_be_judged(tmp_path: Path, subjects: Path) -> None:
    shutil.copytree(subjects / "timbale", tmp_path / "timbale")
    for path in sorted((tmp_path / "timbale" / "clips").iterdir())[1:]:
        path.unlink()
    (subject,) = find_subjects(tmp_path / "timbale")
    figures = SoundJudge(cache=str(tmp_path / "cache")).real(subject)
    assert figures["identity"] > 0.8 and figures["copies"] is None
