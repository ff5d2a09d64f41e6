"""The bench of variations: its references, its figures, failures, going on, and the requirements it fills."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip
from sonopaint.variations.protocol import Ask, Candidate
from sonotrain.cli import main
from sonotrain.data.foley.subjects import takes
from sonotrain.evaluation.bench.nouns import REAL
from sonotrain.evaluation.bench.report import table
from sonotrain.evaluation.variation import measures, requirements
from sonotrain.evaluation.variation import run as bench
from sonotrain.evaluation.variation.judge import COLUMNS
from sonotrain.evaluation.variation.methods import open_method
from sonotrain.evaluation.variation.references import Protocol, find_references
from sonotrain.evaluation.variation.simple import PitchAndGain

RATE = 16_000


def burst(hertz: float, at: float, *, loud: float = 0.5, seconds: float = 0.6, seed: int = 0) -> np.ndarray:
    """A decaying tone in soft noise that begins `at` seconds."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = loud * np.sin(6.283 * hertz * time) * np.exp(-8 * np.maximum(time - at, 0)) * (time >= at)
    return sound + 1e-4 * np.random.default_rng(seed).standard_normal(len(time))


def clip(samples: np.ndarray) -> Clip:
    return Clip(torch.from_numpy(samples[None].astype(np.float32)), RATE)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three sounds."""
    root = tmp_path_factory.mktemp("classes")
    for kind, hertz in (("dog_bark", 400), ("bell", 1500)):
        (root / kind).mkdir()
        for number in range(3):
            wave = burst(hertz * (1 + 0.1 * number), 0.1, seed=number)
            soundfile.write(root / kind / f"{number}.wav", np.stack([wave, wave], 1), RATE)
    return root


# -- figures


def test_energy_curves_are_decibels_over_seconds_and_their_error_is_a_gain() -> None:
    loud = clip(burst(400, 0.1))
    curve = measures.energy_db(loud)
    assert len(curve) == 60 and curve.max() == pytest.approx(20 * math.log10(0.5 / 2**0.5), abs=0.5)
    assert measures.energy_db(clip(np.zeros(RATE))).tolist() == [-80.0] * 100
    rain = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    assert measures.energy_error(clip(rain), clip(0.5 * rain)) == pytest.approx(6.02, abs=0.01)
    assert measures.energy_error(loud, loud) == 0
    longer = clip(np.concatenate([burst(400, 0.1), burst(400, 0.1)]))
    assert measures.energy_error(loud, longer) > 10, "what is too long counts"


def test_time_warping_forgives_when_but_not_how() -> None:
    early, late = clip(burst(400, 0.05)), clip(burst(400, 0.25))
    twice = clip(burst(400, 0.05) + burst(400, 0.35))
    assert measures.warped(early, early) == 0
    assert measures.energy_error(early, late) > 10
    assert measures.warped(early, late) < 0.3 * measures.energy_error(early, late)
    assert measures.warped(early, clip(0.3 * burst(400, 0.05))) < 2, "loudness is no shape"
    assert measures.warped(early, twice) > 2 * measures.warped(early, late), "two events are not one"


def test_a_change_is_measured_inside_and_outside_of_the_mask() -> None:
    before = burst(400, 0.1, seconds=2.0)
    after = before.copy()
    after[RATE : RATE + 4000] += burst(2000, 0, seconds=0.25)
    inside, outside = measures.change_db(clip(after), clip(before), [(1.0, 1.25)])
    assert inside > 5 and outside is not None and outside < 0.2
    everywhere, none = measures.change_db(clip(after), clip(before), None)
    assert outside < everywhere < inside and none is None
    assert measures.change_db(clip(before), clip(before), [(0.5, 0.7)]) == (0, 0)


# -- references


def test_takes_of_one_thing_are_alike_and_never_the_same() -> None:
    from sonopaint.variations.judge import COPY, Judge, distances

    one, other = takes("bicycle_bell", 3, 1), takes("bicycle_bell", 3, 2)
    assert one.equal(takes("bicycle_bell", 3, 1)) and one.shape == (3, 163_840)
    heard = Judge().hear([Clip(wave[None], 32_000) for wave in [*one, *other]]).features
    apart = distances(heard, heard)
    same = torch.tensor([apart[i, j] for i, j in ((0, 1), (0, 2), (1, 2))])
    assert same.min() > COPY and same.mean() < apart[:3, 3:].mean()


def test_the_protocol_is_16_khz_mono_and_5_seconds_of_esc_50s_test_fold(tmp_path: Path) -> None:
    root = tmp_path / "ESC-50"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    lines = ["filename,fold,target,category"]
    for fold in range(1, 6):
        for target, kind in enumerate(("dog", "crying_baby")):
            for take in range(3):
                name = f"{fold}-{take}-A-{target}.wav"
                soundfile.write(root / "audio" / name, np.full((44_100 * 6, 2), 0.1), 44_100)
                lines.append(f"{name},{fold},{target},{kind}")
    (root / "meta" / "esc50.csv").write_text("\n".join(lines))
    found = find_references(str(root), Protocol(references=2, retakes=2), tmp_path / "out")
    assert [one.name for one in found] == ["crying_baby-1", "crying_baby-2", "dog-1", "dog-2"]
    assert all(one.source.name.startswith("5-") and len(one.held_out) == 2 for one in found)
    assert found[0].noun == "crying baby"
    heard = read_clip(found[0].files[0])
    assert (heard.sample_rate, heard.num_channels, heard.num_samples) == (16_000, 1, 80_000)
    only = find_references(str(root), Protocol(only=("dog",), references=1), tmp_path / "other")
    assert [one.name for one in only] == ["dog-1"]
    with pytest.raises(SonopaintError, match="no class 'cat'"):
        find_references(str(root), Protocol(only=("cat",)), tmp_path / "x")
    with pytest.raises(SonopaintError, match="has no classes"):
        find_references(str(tmp_path / "nowhere"), Protocol(), tmp_path / "x")
    with pytest.raises(SonopaintError, match="references must be at least 1"):
        find_references("", Protocol(references=0), tmp_path / "x")


# -- the whole


class Odd:
    """Silence, what is no number, a piece that changes, a failure: by the seed."""

    name = "odd"
    asked = 0

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Any = None
    ) -> Iterator[Candidate]:
        for seed in seeds:
            Odd.asked += 1
            wave = reference.waveform.clone()
            if seed % 4 == 0:
                wave[:] = 0
            elif seed % 4 == 1:
                wave[:] = math.nan
            elif seed % 4 == 3:
                raise SonopaintError("The model has no more ideas.")
            else:
                first = wave.shape[1] // 2
                wave[:, first:] = wave[:, first:].flip(1)
            span = None if seed % 4 < 2 else ((0.3, 0.6),)
            yield Candidate(Clip(wave, reference.sample_rate), seed, span)

    def describe(self) -> dict[str, Any]:
        return {"variator": self.name}


class Hopeless(Odd):
    name = "hopeless"

    def candidates(self, *_: Any, **__: Any) -> Iterator[Candidate]:
        raise SonopaintError("Its weights are missing; put them into models/hopeless.")
        yield


def opened(what: str, model: str, *, device: str) -> Any:
    return {"simple": PitchAndGain(), "odd": Odd(), "hopeless": Hopeless()}[what]


@pytest.fixture(scope="module")
def done(
    sounds: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bench.VariationBenchOptions, dict[str, Any], int]:
    """(request, results, how often Odd was asked)."""
    out = tmp_path_factory.mktemp("bench")
    request = bench.VariationBenchOptions(
        str(sounds), ("plain=simple", "odd", "hopeless"), variations=3, sweep=(0.2, 0.9), unchosen=True,
        out=str(out), cache=str(out / "cache"), protocol=Protocol(references=1, retakes=2),
    )  # fmt: skip
    Odd.asked = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "open_method", opened)
        return request, bench.run(request), Odd.asked


def test_every_measure_that_the_document_names_is_in_the_report(done: Any) -> None:
    request, results, _ = done
    plain = results["average"]["plain"]
    wanted = (
        "fd identity intra inception copies failed onset_ms envelope dtw_db energy_db inside_db seeds made_s"
    )
    assert set(wanted.split()) <= plain.keys()
    assert plain["failed"] == 0 and 0.5 < plain["identity"] < 1 and plain["intra"][0] > 0
    assert plain["loudness_lu"] < 0.1, "loudness was kept"
    real = results["average"]["held-out clips"]
    assert real["identity"] > 0.5
    page = (Path(request.out) / "index.html").read_text(encoding="utf-8")
    assert "panel-bell-1.png" in page and "sweep.png" in page and "<title>Variations" in page
    text = (Path(request.out) / "results.md").read_text(encoding="utf-8")
    assert "corpus classifier" in text and "| plain at 0.9 |" in text and "| plain (not chosen) |" in text


def test_strength_goes_away_from_the_reference(done: Any) -> None:
    average = done[1]["average"]
    near, far = average["plain at 0.2 (not chosen)"], average["plain at 0.9 (not chosen)"]
    assert near["identity"] > far["identity"] and near["intra"][0] < far["intra"][0]


def test_silence_no_numbers_and_failures_are_counted_and_lose_nothing(done: Any) -> None:
    request, results, _ = done
    odd = results["average"]["odd (not chosen)"]
    assert odd["failed"] == pytest.approx(2 / 3), "silence and what is no number"
    assert odd["inside_db"] > 0 and odd["outside_db"] is not None
    assert results["average"]["hopeless"]["failed"] == 1
    cell = json.loads((Path(request.out) / "made" / "hopeless" / "bell-1" / "painted.json").read_text())
    assert "models/hopeless" in cell["said"]


def test_a_bench_that_is_called_again_makes_nothing_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request, results, asked = done
    # 2 references × 3 strengths × at most 4 candidates for each of 3; chosen or not, they share them
    assert asked <= 2 * 3 * 3 * 4
    monkeypatch.setattr(bench, "open_method", opened)
    monkeypatch.setattr(bench, "save_panel", lambda one, shown, path: path)  # they are there
    Odd.asked = 0
    again = bench.run(request)
    assert Odd.asked == 0
    assert again["average"]["plain"]["fd"] == pytest.approx(results["average"]["plain"]["fd"])


def test_a_method_is_named_once_and_known(sounds: Path, tmp_path: Path) -> None:
    def asked(**told: Any) -> bench.VariationBenchOptions:
        return bench.VariationBenchOptions(str(sounds), out=str(tmp_path), **told)

    for told, said in (
        ({"methods": ("a=pitch-and-gain", "a=pitch-and-gain")}, "there twice"),
        ({"methods": ("magic",)}, "There is no backend"),
        ({"keep": ("soul",)}, "not 'soul'"),
        ({"methods": ("pitch-and-gain",), "variations": 0}, "count must be"),
        ({"methods": ("pitch-and-gain",), "strength": 0.0}, "strength must be above 0"),
    ):
        with pytest.raises(SonopaintError, match=said):
            bench.run(asked(**told))
    assert not any(tmp_path.iterdir()), "refused before anything is made"


# -- requirements


def test_the_shipped_matrix_knows_the_documents_eleven_and_only_figures_that_are_measured() -> None:
    matrix = requirements.read_matrix()
    assert list(matrix["requirements"]) == [f"R{number}" for number in range(1, 12)]
    known = {column.key for column in COLUMNS} | {"swept", "smos"}
    for one in matrix["requirements"].values():
        assert one["name"] and one["wanted"]
        assert {figure[1:] for figure in one["figures"]} <= known
        assert all(figure[0] in "+-" for figure in one["figures"])
    for one in matrix["stated"].values():
        assert all(value in (0, 0.5, 1) for name, value in one.items() if name != "about")


def test_a_bench_fills_the_matrix_and_needs_are_ranked_by_it(done: Any) -> None:
    request, results, _ = done
    matrix = requirements.read_matrix(Path(request.out) / "requirements.toml")
    assert list(matrix["measured"]) == ["plain", "odd", "hopeless"]
    plain = matrix["measured"]["plain"]
    assert plain["kind"] == "simple" and plain["swept"] > 0.9
    assert plain["fd"] == pytest.approx(results["average"]["plain"]["fd"], rel=1e-4)
    names = [name for name, *_ in requirements.rank(matrix, ["R10"], list(matrix["measured"]))]
    assert names[0] == "plain" and names[-1] == "hopeless"


def test_what_listeners_said_is_filled_in_and_stays(done: Any, tmp_path: Path) -> None:
    matrix = tmp_path / "requirements.toml"
    requirements.write_matrix(matrix, done[1])
    assert requirements.fill_smos(matrix, {"plain": 3.5, "odd": 2.0, "somebody": 5.0}) == ["plain", "odd"]
    assert requirements.fill_smos(matrix, {"plain": 4.25}) == ["plain"]
    requirements.write_matrix(matrix, done[1])  # the bench goes on
    measured = requirements.read_matrix(matrix)["measured"]
    assert (measured["plain"]["smos"], measured["odd"]["smos"]) == (4.25, 2.0)
    assert "smos" not in measured["hopeless"] and measured["plain"]["kind"] == "simple"
    ranked = requirements.rank(requirements.read_matrix(matrix), ["R4"], ["plain", "odd"])
    assert ranked[0][0] == "plain" and "smos 4.25" in ranked[0][2]["R4"]
    with pytest.raises(SonopaintError, match="measured none of somebody"):
        requirements.fill_smos(matrix, {"somebody": 5.0})


def test_a_need_ranks_the_measured_and_then_what_is_stated() -> None:
    matrix = requirements.read_matrix()
    matrix["measured"] = {
        "a": {"kind": "vary", "onset_ms": 1.0, "envelope": 0.9, "energy_db": 2.0},
        "b": {"kind": "masked", "onset_ms": 9.0, "envelope": 0.1, "energy_db": 1.0},
    }
    ranked = requirements.rank(matrix, ["R6", "R7"], ["a", "b", "t-foley"])
    assert [(name, round(score, 3)) for name, score, _ in ranked] == [
        ("t-foley", 0.9),
        ("a", 0.5),
        ("b", 0.5),
    ]
    assert ranked[1][2]["R6"] == "onset_ms 1, envelope 0.9" and ranked[0][2]["R7"] == "stated: yes"
    (row,) = requirements.rank(matrix, ["R9"], ["b"])
    assert row[1] == 0.9 and row[2]["R9"] == "stated: yes", "what was not measured counts as its kind states"
    assert requirements.rank(matrix, ["R10"], ["a"])[0][2]["R10"] == "not known"
    for needs in ([], ["R12"]):
        with pytest.raises(SonopaintError, match="R1, R2"):
            requirements.rank(matrix, needs)


def test_the_commands(done: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    matrix = str(Path(done[0].out) / "requirements.toml")
    assert main(["bench", "requirements", matrix, "--need", "r6,R7"]) == 0
    said = capsys.readouterr().out
    assert "| back-end | score | R6 timing | R7 energy |" in said and "| plain |" in said
    assert "t-foley" not in said
    assert main(["bench", "requirements", "--need", "R6", "--all"]) == 0
    assert "| t-foley | 0.90 | stated: yes |" in capsys.readouterr().out
    assert main(["bench", "requirements"]) == 2 and "--need" in capsys.readouterr().err
    assert main(["bench", "requirements", str(tmp_path / "no.toml"), "--need", "R6"]) == 2
    told = [
        "bench",
        "variation",
        "--methods",
        "pitch-and-gain",
        "--variations",
        "999",
        "--out",
        str(tmp_path),
    ]
    assert main(told) == 2 and "--count" in capsys.readouterr().err


def test_mini_varies_as_the_engine_opens_it(tiny_base: Path, student: Path) -> None:
    reference = clip(burst(400, 0.1))
    ask = Ask("dog", count=1, strength=0.5)
    for what, lora in (("vary", ""), ("vary", f"+{student}"), ("flow", "")):
        variator = open_method(f"{what}{lora}", str(tiny_base), device="cpu")
        (one,) = variator.candidates(reference, ask, [3])
        assert one.clip.waveform.isfinite().all() and variator.name
        assert (one.settings["sampler"] == "flow") == (what == "flow")


def test_where_most_are_missing_that_is_said_and_not_that_all_are_alike() -> None:
    rows = {
        REAL: {"identity": 0.95, "intra": (0.3, 0.0), "failed": 0.0},
        "vary": {"identity": 0.7, "failed": 0.75},  # one was left: no diversity can be told
        "one-step": {"failed": 1.0},
        "flat": {"identity": 0.9, "intra": (0.01, 0.0), "failed": 0.25},
    }
    told = table(rows, COLUMNS)
    assert "| vary | 0.700 | – | 75% ✗ |" in told and "| one-step | – | – | 100% ✗ |" in told
    assert told.count("hands over less than half") == 2
    assert "flat every seed gives nearly the same" in told and told.count("nearly the same") == 1
