"""`sonotrain evaluate` from folders to figures: what is compared, how it is named, what is refused."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError, flag, named
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonotrain import cli
from sonotrain.data import foley
from sonotrain.evaluation import generation, hearing, run
from sonotrain.evaluation.compare import Measures, compare
from sonotrain.evaluation.embeddings import load_embedding, panns
from sonotrain.evaluation.embeddings.base import Embedded, Embedding
from sonotrain.evaluation.generation import Plan, choose, generate_all
from sonotrain.evaluation.hearing import hear
from sonotrain.evaluation.run import EvaluateOptions
from sonotrain.evaluation.sets import Caption, Sound, pairs, read_captions, read_set, with_captions
from sonotrain.evaluation.tables import as_text

KINDS = ("rain", "siren", "gunshot")
WORDS = ("file_name", "audio", "key", "text", "captions", "label", "../x", "a.wav")


class Ear:
    """An embedding that is quick and plain: the mean, spread and peak of a clip, in windows of 0.5 s."""

    name, title, file, hash, details, version = "ear", "Ear", "ear.safetensors", "0123456789", "levels", 1
    sample_rate, least_samples = 16_000, 8000
    window_s: float | None = 0.5
    longest_s: float | None = None
    kinds = ["quiet", "loud"]

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, waveforms: torch.Tensor) -> Embedded:
        self.heard += len(waveforms)
        parts = waveforms[:, : waveforms.shape[1] // 8000 * 8000].unflatten(1, (-1, 8000))
        level = waveforms.abs().mean(1)
        return Embedded(self.levels(waveforms), self.levels(parts), torch.stack([0.1 - level, level], 1))

    def levels(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean(-1), x.std(-1), x.abs().amax(-1)], dim=-1)


def noise(path: Path, seed: int, *, level: float = 0.1, rate: int = 16_000, seconds: float = 1.0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    waveform = level * torch.randn(1, round(rate * seconds), generator=generator).clamp(-3, 3) / 3
    write_clip(Clip(waveform, rate), path, subtype="FLOAT", force=True)
    return path


def folder_of(path: Path, count: int, seed: int, level: float = 0.1, **more: Any) -> Path:
    for index in range(count):
        noise(path / f"{index:03d}.wav", seed + index, level=level * (1 + index / count), **more)
    return path


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    made = Ear()
    monkeypatch.setattr(run, "load_embedding", lambda name, weights, device: made)
    return made


def request(tmp_path: Path, **more: Any) -> EvaluateOptions:
    places = {"out": str(tmp_path / "out"), "cache": str(tmp_path / "cache"), "device": "cpu"}
    return EvaluateOptions(**(places | {"embeddings": ("ear",)} | more))


def figures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {figure["name"]: figure for part in report["parts"] for figure in part["figures"]}


# --- distances of partners ---------------------------------------------------------------------------------


def test_distances_of_partners_are_measured_where_asked(tmp_path: Path, ear: Ear) -> None:
    """None from itself; more from something else than from itself with a little noise; a level counts."""
    real = folder_of(tmp_path / "real", 2, 10)
    ask = partial(request, tmp_path, reference=str(real), measures=Measures(resamples=0))
    made = {name: tmp_path / name for name in ("same", "noisy", "other", "louder")}
    for index, path in enumerate(sorted(real.iterdir())):
        clip = read_clip(path)
        hiss = torch.randn(clip.waveform.shape, generator=torch.Generator().manual_seed(index))
        tone = 0.1 * torch.sin(0.17 * torch.arange(clip.num_samples // 2))[None]
        for name, wave in (
            ("same", clip.waveform),
            ("noisy", clip.waveform + 0.02 * clip.waveform.std() * hiss),
            ("other", tone),
            ("louder", 2 * clip.waveform),
        ):
            write_clip(Clip(wave, clip.sample_rate), made[name] / path.name, subtype="FLOAT")
    found = {}
    for name, folder in made.items():
        found[name] = figures(run.run(ask(generated=str(folder), distances=("jtfs", "mss"))))
        assert "2 of 2 clips paired by file name" in found[name]["JTFS"]["recipe"]
    for kind in ("JTFS", "MSS"):
        assert found["same"][kind]["value"] == pytest.approx(0, abs=1e-4)
        assert 0 < found["noisy"][kind]["value"] < 0.3 * found["other"][kind]["value"]
        assert found["louder"][kind]["value"] > found["noisy"][kind]["value"]
    assert not {"JTFS", "MSS"} & set(figures(run.run(ask(generated=str(made["same"])))))
    noise(tmp_path / "strangers" / "a.wav", 1)
    noise(tmp_path / "strangers" / "b.wav", 2)
    told = run.run(ask(generated=str(tmp_path / "strangers"), distances=("mss",)))
    assert any("has a partner" in line for line in told["warnings"])
    with pytest.raises(SonopaintError, match="loudness"):
        run.run(ask(generated=str(made["same"]), distances=("loudness",)))
    with pytest.raises(SonopaintError, match="partners"):
        run.run(ask(generated=str(made["same"]), reference="", captions="c.jsonl", distances=("mss",)))


# --- sets --------------------------------------------------------------------------------------------------


def test_a_folder_its_labels_and_captions_are_read(tmp_path: Path) -> None:
    noise(tmp_path / "rain" / "a.wav", 0)
    noise(tmp_path / "b.wav", 1)
    (tmp_path / "rain" / "a.txt").write_text("\ufeffheavy  rain\n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no sound")
    (tmp_path / "rain" / "loop").symlink_to(tmp_path)
    sounds = read_set(tmp_path)
    assert [(s.key, s.label, s.text) for s in sounds] == [("b", None, None), ("rain/a", "rain", "heavy rain")]
    with pytest.raises(SonopaintError, match="is not a dataset"):
        read_set(tmp_path, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SonopaintError, match="has no sounds"):
        read_set(tmp_path / "empty")
    with pytest.raises(SonopaintError, match="no folder"):
        read_set(tmp_path / "nowhere")


def test_captions_are_read_from_what_people_have(tmp_path: Path) -> None:
    lines = [{"file_name": "a.wav", "text": "one"}, {"file_name": "a.wav", "captions": ["two", "one"]}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"key": "b", "caption": "three"}])))
    expected = [Caption("a", ("one", "two")), Caption("b", ("three",))]
    assert read_captions(tmp_path / "c.jsonl") == expected
    (tmp_path / "c.json").write_text(json.dumps({"a.wav": ["one", "two"], "b": "three"}))
    assert read_captions(tmp_path / "c.json") == expected
    audiocaps = "audiocap_id,youtube_id,start_time,caption\n1,-ab,30,one\n2,-ab,30,two\n3,cd,0,three\n"
    (tmp_path / "c.csv").write_text(audiocaps)
    assert [(c.key, c.texts) for c in read_captions(tmp_path / "c.csv")] == [
        ("-ab", ("one", "two")),
        ("cd", ("three",)),
    ]
    sounds = [Sound(tmp_path / "Y-ab.wav", "Y-ab"), Sound(tmp_path / "cd.wav", "x/cd", label="bell")]
    named = with_captions(sounds, read_captions(tmp_path / "c.csv"), "c.csv")
    assert [(s.key, s.text, s.label) for s in named] == [("-ab", "one", None), ("cd", "three", "bell")]
    with pytest.raises(SonopaintError, match="no caption for 2 of 2 sounds"):
        with_captions(sounds, expected, "c.jsonl")


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.jsonl", "{broken", "can't be read"),
        ("a.jsonl", "[1]", "no records"),
        ("a.jsonl", '{"file_name": "a.wav"}', "no captions"),
        ("a.jsonl", '{"file_name": "../../etc/a.wav", "text": "x"}', "leads out of the folder"),
        ("a.csv", "x,y\n1,2\n", "no captions"),
    ],
)
def test_captions_that_are_none_are_refused(tmp_path: Path, name: str, text: str, match: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SonopaintError, match=match):
        read_captions(tmp_path / name)


def test_audiosets_clips_go_by_their_ids(tmp_path: Path) -> None:
    captions = [Caption("-0uLsxm8cAo", ("a dog",)), Caption("a/b", ("left",)), Caption("c/b", ("right",))]
    names = ("x/Y-0uLsxm8cAo_30.000_40.000", "-0uLsxm8cAo", "c/b", "b")
    named = with_captions([Sound(Path(n), n) for n in names], captions, "c.csv", strict=False)
    assert [s.text for s in named] == ["a dog", "a dog", "right", None]  # "b" could be either


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=8,
)


@given(JSON, st.sampled_from([".jsonl", ".json", ".csv"]))
def test_whatever_a_caption_file_holds_is_read_or_refused(value: Any, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"captions{suffix}")
        path.write_text(json.dumps(value), encoding="utf-8")
        try:
            found = read_captions(path)
        except SonopaintError as error:
            assert "\n" not in str(error)
        else:
            assert found and all(isinstance(text, str) and text for c in found for text in c.texts)
            assert not any(".." in Path(c.key).parts or Path(c.key).is_absolute() for c in found)


def test_utf16_captions_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,text\na,ü\n", encoding="utf-16")
    assert read_captions(tmp_path / "a.csv") == [Caption("a", ("ü",))]


def test_clips_are_paired_by_name_else_by_caption() -> None:
    def side(*pairs: tuple[str, str]) -> list[Sound]:
        return [Sound(Path(key), key, (text,)) for key, text in pairs]

    reference = side(("x/a", "rain"), ("x/b", "rain"), ("y/b", "bell"))
    assert pairs(side(("x/b", ""), ("x/a", "")), reference) == ([(0, 1), (1, 0)], "file name")
    assert pairs(side(("a", ""), ("b", "")), reference) == ([(0, 0)], "file name")  # "b" is there twice
    assert pairs(side(("1", "bell"), ("2", "rain")), reference) == ([(0, 2)], "caption")
    assert pairs(side(("1", ""), ("2", "")), reference) == ([], "")


# --- hearing -----------------------------------------------------------------------------------------------


def test_what_was_heard_is_kept_by_content(tmp_path: Path) -> None:
    ear: Any = Ear()
    sounds = read_set(folder_of(tmp_path / "a", 5, 0))
    first = hear(sounds, ear, cache=tmp_path / "cache")
    assert (
        ear.heard == 5 and first.windows is not None and first.owners == [i for i in range(5) for _ in (0, 1)]
    )
    sounds[0].path.rename(tmp_path / "a" / "renamed.wav")
    again = hear(read_set(tmp_path / "a"), ear, cache=tmp_path / "cache")
    assert ear.heard == 5 and torch.equal(again.clips.sort(0).values, first.clips.sort(0).values)
    noise(tmp_path / "a" / "001.wav", 99)  # other content
    damaged = next((tmp_path / "cache").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:50])
    hear(read_set(tmp_path / "a"), ear, cache=tmp_path / "cache")
    assert ear.heard in (6, 7)  # the changed one, and the damaged one unless that was the changed one's
    ear.hash = "other weigh"
    hear(read_set(tmp_path / "a"), ear, cache=tmp_path / "cache")
    assert ear.heard in (11, 12)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    ear: Any = Ear()
    sounds = read_set(folder_of(tmp_path / "a", 20, 0))

    def stop(done: int, total: int, message: str) -> None:
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hear(sounds, ear, cache=tmp_path / "cache", progress=stop)
    assert ear.heard == 16  # two batches of eight
    hear(sounds, ear, cache=tmp_path / "cache")
    assert ear.heard == 20


def test_what_can_not_be_heard_is_listed(tmp_path: Path) -> None:
    ear: Any = Ear()
    folder = folder_of(tmp_path / "a", 3, 0)
    write_clip(Clip(torch.zeros(2, 44_100), 44_100), folder / "silent.wav")
    (folder / "text.wav").write_text("no sound")
    (folder / "void.wav").write_bytes(b"")
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan, 0.1]), 16_000, subtype="FLOAT")
    heard = hear(read_set(folder), ear)
    assert len(heard) == 4 and heard.silent == [3] and heard.rates == {16_000: 3, 44_100: 1}
    assert [Path(path).name for path, _ in heard.skipped] == ["nan.wav", "text.wav", "void.wav"]
    told = compare(heard, None, ear, seconds=10.0)["warnings"]
    assert any("1 of 4 generated clips are silent" in text for text in told)
    assert any("3 generated files could not be read" in text for text in told)
    assert any("several sample rates (3 at 16000 Hz, 1 at 44100 Hz)" in text for text in told)
    with pytest.raises(SonopaintError, match="Only 0 of 1 sounds could be heard .*text"):
        hear([Sound(folder / "text.wav", "text")], ear)


def test_long_clips_are_heard_in_part_and_short_ones_padded(tmp_path: Path) -> None:
    ear: Any = Ear()
    noise(tmp_path / "long.wav", 0, seconds=4.0)
    noise(tmp_path / "short.wav", 1, seconds=0.05)
    heard = hear(read_set(tmp_path), ear, seconds=2.0)
    assert heard.owners == [0, 0, 0, 0, 1] and heard.seconds == pytest.approx([2.0, 0.05])
    assert hearing.heard_seconds(load_embedding("classifier"), 10.0) == pytest.approx(5.12)


# --- figures -----------------------------------------------------------------------------------------------


def test_every_figure_carries_its_recipe(tmp_path: Path, ear: Ear) -> None:
    made, real = folder_of(tmp_path / "made", 60, 100), folder_of(tmp_path / "real", 70, 300)
    report = run.run(request(tmp_path, generated=str(made), reference=str(real)))
    found = figures(report)
    assert list(found) == [
        "FID", "FID∞", "FAD", "FAD∞", "IS", "KL", "KL sigmoid", "alignment", "nearest", "close", "diversity",
    ]  # fmt: skip
    for figure in found.values():
        assert "Ear 0123456789, 16 kHz mono by soxr HQ, first 10 s" in figure["recipe"]
        assert math.isfinite(figure["value"])
    assert "N 60 vs 70" in found["FID"]["recipe"] and "100 bootstraps" in found["FID"]["recipe"]
    assert "windows [3], N 120 vs 140" in found["FAD"]["recipe"] and found["FID"]["error"] > 0
    assert "sizes 20–60 drawn without replacement" in found["FID∞"]["recipe"]
    assert "60 of 60 clips paired by file name" in found["KL"]["recipe"]
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert figures(saved)["FID"] == found["FID"] and saved["options"]["generated"] == str(made)
    card = (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")
    assert card.count("Ear 0123456789") == len(found) and "ear.safetensors (SHA-256 0123456789…)" in card
    again = run.run(request(tmp_path, generated=str(made), reference=str(real)))
    assert figures(again) == found and ear.heard == 130


def test_the_same_sounds_have_no_distance_and_others_have(tmp_path: Path, ear: Ear) -> None:
    made, real = folder_of(tmp_path / "made", 20, 0), folder_of(tmp_path / "real", 20, 0)
    other = folder_of(tmp_path / "other", 20, 50, level=0.9)
    same = figures(run.run(request(tmp_path, generated=str(made), reference=str(real))))
    far = figures(run.run(request(tmp_path, generated=str(other), reference=str(real))))
    assert same["FID"]["value"] == pytest.approx(0.0, abs=1e-6) and same["KL"]["value"] < 1e-5
    assert same["alignment"]["value"] == pytest.approx(1.0) and same["close"]["value"] == 1.0
    assert far["FID"]["value"] > 0.1 and far["KL"]["value"] > same["KL"]["value"]
    assert "FID∞" not in same  # twenty clips are too few for a line


def test_labels_have_rows_of_their_own(tmp_path: Path, ear: Ear) -> None:
    for name, seed in (("made", 0), ("real", 100)):
        folder_of(tmp_path / name / "quiet", 6, seed, level=0.02)
        folder_of(tmp_path / name / "loud", 6, seed + 50, level=0.9)
        folder_of(tmp_path / name / "other", 6, seed + 80)
    report = run.run(request(tmp_path, generated=str(tmp_path / "made"), reference=str(tmp_path / "real")))
    rows, found = report["labels"], figures(report)
    assert list(rows) == ["loud", "other", "quiet"] and rows["quiet"]["found"] == rows["loud"]["found"] == 1.0
    assert "found" not in rows["other"] and rows["other"]["frechet"] >= 0
    assert found["top-1"]["value"] == 1.0 and "12 clips" in found["top-1"]["recipe"]
    mean = sum(row["frechet"] for row in rows.values()) / 3
    assert found["FID by label"]["value"] == pytest.approx(mean)
    windows = sum(row["frechet_windows"] for row in rows.values()) / 3
    assert found["FAD by label"]["value"] == pytest.approx(windows) and windows != mean


def test_different_lengths_and_rates_are_said(tmp_path: Path) -> None:
    ear: Any = Ear()
    made = hear(read_set(folder_of(tmp_path / "a", 4, 0, seconds=0.6)), ear)
    real = hear(read_set(folder_of(tmp_path / "b", 4, 9, seconds=1.0, rate=44_100)), ear)
    told = " ".join(compare(made, real, ear, seconds=10.0, measures=Measures(resamples=0))["warnings"])
    assert "last 0.6 s and the reference 1.0 s" in told and "16000 Hz and the reference 44100 Hz" in told
    assert named(told, flag).endswith("compare equal lengths, for instance with --seconds.")


def test_the_corpus_classifier_is_named_in_every_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("made", 1), ("real", 2)):
        for kind in KINDS:
            clips = foley.batch(3, seed, [kind], relations=[("single", 1.0)])
            for index, waveform in enumerate(clips.waveforms):
                write_clip(Clip(waveform[None], 32_000), tmp_path / name / kind / f"{seed}{index}.flac")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", "made", "--reference", "real", "--resamples", "5", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if " ↓ " in line or " ↑ " in line]
    assert len(lines) >= 6 and all("corpus classifier" in line for line in lines)
    assert "never with published figures" in printed and "gunshot" in printed
    for name in ("evaluation.json", "evaluation.md", "confusion.png"):
        assert (tmp_path / "runs" / "evaluate" / name).stat().st_size > 500
    assert cli.main(["evaluate", "made", "--reference", "real", "--resamples", "0", "--print", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert figures(report)["top-1"]["value"] > 0.6 and report["parts"][0]["confusion"]["rain"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["evaluate"], "Give either a folder"),
        (["evaluate", "a"], "Give --reference"),
        (["evaluate", "a", "--reference", "a"], "the same folder"),
        (["evaluate", "a", "--reference", "b"], "has no sounds"),
        (["evaluate", "a", "--reference", "c"], "no folder c"),
        (["evaluate", "a", "--reference", "b", "--seconds", "0"], "--seconds must be"),
        (["evaluate", "a", "--reference", "b", "--embedding", "panns"], "Cnn14_mAP=0.431.pth"),
        (["evaluate", "a", "--reference", "b", "--embedding", "fad"], "is no embedding"),
        (["evaluate", "a", "--reference", "b", "--weights", "x.pth"], "--embedding panns"),
        (["evaluate", "--model", "mini"], "needs --captions"),
        (["evaluate", "a", "--model", "mini", "--captions", "x"], "Give either"),
        (["evaluate", "--model", "mini", "--captions", "one.json"], "One caption is too few"),
    ],
)
def test_bad_requests_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], match: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "a", 2, 0)
    (tmp_path / "b").mkdir()
    (tmp_path / "one.json").write_text('{"a": "rain"}')
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert match in said and "\n" not in said and "Traceback" not in said


# --- painting first ----------------------------------------------------------------------------------------


def test_one_of_several_captions_is_chosen_by_seed_and_key() -> None:
    captions = [Caption(f"clip{i}", ("a", "b", "c")) for i in range(40)]
    first = choose(captions, 0)
    assert set(first) == {"a", "b", "c"} and first == choose(captions, 0) and first != choose(captions, 1)
    assert choose(captions[10:], 0) == first[10:]  # more clips don't change the choice of others


def test_a_model_paints_one_clip_per_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sonopaint.models import loading
    from sonopaint.tasks import PaintSettings, generate

    mini = loading.load_model("mini", device="cpu")
    monkeypatch.setattr(loading, "load_model", lambda *arguments, **more: mini)  # once is enough
    lines = [{"file_name": f"{kind}/1.wav", "text": f"a {kind}", "label": kind} for kind in ("siren", "rain")]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plan = Plan(steps=1, seed=7, guidance_scale=1.0, seconds=1.0)
    wanted = request(
        tmp_path, captions=str(tmp_path / "c.jsonl"), embeddings=("classifier",), plan=plan,
        measures=Measures(resamples=0),
    )  # fmt: skip
    report = run.run(wanted)
    sounds = read_set(tmp_path / "out" / "sounds")
    assert [(s.key, s.text, s.label) for s in sounds] == [
        ("siren/1", "a siren", "siren"),
        ("rain/1", "a rain", "rain"),
    ]
    assert report["generation"]["steps"] == 1 and report["generation"]["model"]
    assert report["reference"] is None
    said = as_text(report).splitlines()[0]
    assert "Painted by mini" in said and "1 steps, guidance 1, seeds from 7" in said
    assert set(report["labels"]) == {"rain", "siren"} and "FID" not in figures(report)

    alone = generate(mini, PaintSettings("a rain", steps=1, guidance_scale=1.0, seed=8), seconds=1.0)
    assert hear([sounds[1], sounds[1]], load_embedding("classifier")).seconds[0] == pytest.approx(1.0)
    assert torch.allclose(read(sounds[1].path), alone[0].clip.waveform, atol=1e-4)

    # what is there stays; other settings or captions are another folder's
    before = sounds[0].path.stat().st_mtime_ns
    sounds[1].path.unlink()
    run.run(wanted)
    assert sounds[0].path.stat().st_mtime_ns == before and sounds[1].path.is_file()
    other = [Caption("x", ("y",))]
    with pytest.raises(SonopaintError, match="other steps, captions"):
        generate_all(other, tmp_path / "out" / "sounds", replace(plan, steps=2))
    with pytest.raises(SonopaintError, match="no file"):
        generate_all(other, tmp_path / "new", Plan(loras=("bark.safetensors:0.5",)))
    assert generation._lora("a:0.5") == ("a", 0.5)
    assert generation._lora("C:\\x.safetensors") == ("C:\\x.safetensors", 1.0)


def test_what_is_painted_for_captions_has_the_loras_format(tmp_path: Path, tiny_base: Path) -> None:
    """A LoRA of ten seconds gives ten seconds at 44.1 kHz, and not what the base would paint."""
    from sonoconvert.checkpoints.lora import LoraModule, save_lora
    from sonoconvert.files.clip import read_clip
    from sonoconvert.pictures.format import get_format
    from sonopaint.models.loading import load_model

    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    size = len(load_model(tiny_base, device="cpu").unet.get_submodule(module.removeprefix("unet.")).weight)
    lora = LoraModule(torch.zeros(2, size), torch.zeros(size, 2), 2.0)
    told = {"sonopaint.format": json.dumps(get_format("perkins-10s").to_dict())}
    save_lora(tmp_path / "horn.safetensors", {module: lora}, metadata=told)
    plan = Plan(model=str(tiny_base), loras=(f"{tmp_path / 'horn.safetensors'}:0.8",), steps=1)
    generate_all([Caption("x", ("a horn",))], tmp_path / "made", plan, device="cpu")
    clip = read_clip(tmp_path / "made" / "x.flac")
    assert clip.sample_rate == 44_100 and clip.duration_s == pytest.approx(10, abs=0.01)


def read(path: Path) -> torch.Tensor:
    from sonoconvert.files.clip import read_clip

    return read_clip(path).waveform


def test_clap_and_panns_are_measured_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way with a small CNN14 from a published-like file and a stand-in for CLAP."""
    monkeypatch.setattr(panns, "CHANNELS", (4, 4, 8, 8, 16, 16))
    torch.manual_seed(0)
    torch.save({"model": panns.Cnn14().state_dict()}, tmp_path / "Cnn14_16k_mAP=0.438.pth")

    class Reader(Ear, run.Clap):  # type: ignore[misc]
        title, window_s = "CLAP", None

        def texts(self, captions: Any, batch: int = 32) -> torch.Tensor:
            return torch.ones(len(captions), 3)

    monkeypatch.setattr(run, "load_clap", lambda weights, device: Reader())
    made, real = folder_of(tmp_path / "made", 6, 0), folder_of(tmp_path / "real", 6, 40)
    (tmp_path / "c.json").write_text(json.dumps({f"{i:03d}.wav": "noise" for i in range(6)}))
    report = run.run(
        request(
            tmp_path, generated=str(made), reference=str(real), captions=str(tmp_path / "c.json"), clap="x",
            embeddings=("panns",), weights=str(tmp_path / "Cnn14_16k_mAP=0.438.pth"),
        )
    )  # fmt: skip
    found = figures(report)
    assert "PANNs CNN14 16k" in found["FID"]["recipe"] and "softmax over 527 classes" in found["IS"]["recipe"]
    assert (
        found["CLAP score"]["recipe"].startswith("CLAP 0123456789") and "N 6" in found["CLAP score"]["recipe"]
    )
    assert -1.0 <= found["CLAP score"]["value"] <= 1.0


def test_the_protocol_is_met_by_the_test_itself() -> None:
    embedding: Embedding = Ear()
    assert embedding.sample_rate == 16_000


# --- the format that a LoRA says ----------------------------------------------------------------------------


def test_a_named_format_overrides_a_loras_and_the_bench_paints_in_the_loras(
    tiny_base: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from sonoconvert.files.clip import read_clip
    from sonoconvert.pictures.format import get_format
    from sonotrain.evaluation.bench.nouns import Shot
    from sonotrain.evaluation.subject.methods import Weights
    from sonotrain.evaluation.subject.painting import Sampling, painter

    mine = replace(get_format("sonopaint-mini"), name="mine", hop_length=256)
    module = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {"up": (32, 1), "down": (1, 32)}
    tensors = {f"{module}.lora_{side}.weight": torch.zeros(shape) for side, shape in shapes.items()}
    lora = tmp_path / "mine.safetensors"
    save_file(tensors, lora, metadata={"sonopaint.format": json.dumps(mine.to_dict())})
    plan = Plan(model=str(tiny_base), loras=(str(lora),), steps=1, guidance_scale=1.0)
    for name, chosen in (("own", plan), ("told", replace(plan, format="sonopaint-mini"))):
        generate_all([Caption("a", ("a train horn",))], tmp_path / name, chosen, device="cpu")
    assert read_clip(tmp_path / "own" / "a.flac").duration_s == pytest.approx(2.56)
    assert read_clip(tmp_path / "told" / "a.flac").duration_s == pytest.approx(5.12)
    paint, _ = painter(Weights(tiny_base, lora), Sampling(steps=1, guidance=1.0), sounds=True)
    paint(Shot(0, 0, "a train horn"), tmp_path / "bench.flac")
    assert read_clip(tmp_path / "bench.flac").duration_s == pytest.approx(2.56)
