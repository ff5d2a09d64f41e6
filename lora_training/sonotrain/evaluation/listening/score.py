"""`sonotrain listen score`: listeners' CSVs and the key become S-MOS with confidence intervals.

Per listener the mean of each method, then the mean over listeners (Desbos 2026, section 3.8); ± is the 95 %
interval of Student's t over listeners. Whoever does not hear that the reference is the reference, or takes
another thing for it, is flagged and left out.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import write_text
from sonotrain.data.texts import read_table
from sonotrain.evaluation.listening.build import ANCHOR, KEY, PRACTICE, REFERENCE, VARIATION
from sonotrain.evaluation.tables import write_json
from sonotrain.files.json_files import read_json

LEAST_REFERENCE, MOST_ANCHOR = 4.0, 2.0  # means of a listener who hears what there is to hear
NEEDED = ("test", "listener", "trial", "rating")


@dataclass
class Listener:
    """One person's ratings {trial: (rating, words)}, and why they are not counted ("" where they are)."""

    id: str
    name: str = ""
    ratings: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Score:
    """S-MOS of one method. half: half of the 95 % interval over listeners, None of fewer than two; deviation:
    standard deviation over listeners (what the document's ± is presumed to be)."""

    mean: float
    half: float | None
    deviation: float | None
    listeners: int
    votes: int
    words: dict[str, int]


def score_files(paths: Sequence[str | Path], key: str | Path, everybody: bool = False) -> dict[str, Any]:
    """What the answers say, JSON-able; `everybody` counts flagged listeners, too. See `as_markdown`.

    Files that can't be read, are of another test or hold the same votes again cost nothing but a sentence in
    "said". Raises SonopaintError where no vote is left.
    """
    known = read_json(key)
    if not isinstance(known.get("trials"), dict) or "test" not in known:
        raise SonopaintError(f"{key} is no key of a listening test; give the {KEY} that was built with it.")
    trials: dict[str, dict[str, str]] = known["trials"]
    listeners, said = read_votes(paths, str(known["test"]), trials)
    for one in listeners.values():
        one.fault = fault_of(one, trials)
    flagged = [one for one in listeners.values() if one.fault]
    counted = [one for one in listeners.values() if everybody or not one.fault]
    said += [f"{_called(one)} is {'flagged' if everybody else 'left out'}: {one.fault}." for one in flagged]
    said += _namesakes(listeners.values())
    if not any(_of(one, trials, kind=VARIATION) for one in counted):
        raise SonopaintError(
            "No vote is left to score: " + (" ".join(said) or "the files hold no ratings of variations.")
        )
    asked = sum(trial["kind"] != PRACTICE for trial in trials.values())
    for one in counted:
        if (done := sum(trials[id]["kind"] != PRACTICE for id in one.ratings)) < asked:
            said.append(f"{_called(one)} rated {done} of {asked} pairs; those are counted.")
    methods = sorted({trial["method"] for trial in trials.values() if trial["kind"] == VARIATION})
    references = sorted({trial["reference"] for trial in trials.values()})
    scores = {method: _score(counted, trials, kind=VARIATION, method=method) for method in methods}
    scores |= {kind: _score(counted, trials, kind=kind) for kind in (REFERENCE, ANCHOR)}
    return {
        "test": known["test"],
        "title": known.get("title", ""),
        "listeners": [
            {"id": one.id, "name": one.name, "ratings": len(one.ratings), "fault": one.fault}
            for one in listeners.values()
        ],
        "counted": len(counted),
        "methods": {name: asdict(own) for name in methods if (own := scores[name])},
        "hidden": {kind: asdict(own) for kind in (REFERENCE, ANCHOR) if (own := scores[kind])},
        "references": {
            name: {
                method: found.mean
                for method in methods
                if (found := _score(counted, trials, kind=VARIATION, method=method, reference=name))
            }
            for name in references
        },
        "said": said,
    }


def read_votes(
    paths: Sequence[str | Path], test: str, trials: Collection[str]
) -> tuple[dict[str, Listener], list[str]]:
    """({id: listener}, what has to be said). Of two votes of one listener for one trial the first counts."""
    listeners: dict[str, Listener] = {}
    said: list[str] = []
    for path in map(Path, paths):
        try:
            rows, _ = read_table(path)
        except SonopaintError as error:
            said.append(f"{path.name} is passed over: {error}")
            continue
        if missing := [name for name in NEEDED if all(name not in row for row in rows)]:
            said.append(f"{path.name} is passed over: it has no column {', '.join(missing)}.")
            continue
        wrong: Counter[str] = Counter()
        for row in rows:
            what = _vote(row, test, trials, listeners)
            wrong[what] += 1
        said += [
            f"{path.name}: {count} row{'s' * (count > 1)} {what}." for what, count in wrong.items() if what
        ]
    return listeners, said


def _vote(row: Mapping[str, Any], test: str, trials: Collection[str], listeners: dict[str, Listener]) -> str:
    """Takes a vote; why not, where it can't be taken."""
    if str(row.get("test", "")) != test:
        return "of another test, not counted"
    trial, id = str(row.get("trial", "")), str(row.get("listener", ""))
    if trial not in trials or not id:
        return "without a trial or listener of this test, not counted"
    try:
        rating = float(str(row.get("rating", "")).replace(",", "."))
    except ValueError:
        rating = math.nan
    if rating not in (1, 2, 3, 4, 5):
        return "with a rating that is none of 1 to 5, not counted"
    words = tuple(word for word in str(row.get("words", "")).split("|") if word)
    one = listeners.setdefault(id, Listener(id))
    one.name = one.name or str(row.get("name", ""))
    before = one.ratings.setdefault(trial, vote := (int(rating), words))
    if before is vote:
        return ""
    return "seen before, counted once" if before == vote else "that vote differently again; the first counts"


def fault_of(listener: Listener, trials: Mapping[str, Mapping[str, str]]) -> str:
    """Why a listener is not to be believed, from hidden references and anchors; "" where nothing is wrong."""
    hidden = _of(listener, trials, kind=REFERENCE)
    anchors = _of(listener, trials, kind=ANCHOR)
    if hidden and statistics.fmean(hidden) < LEAST_REFERENCE:
        got = statistics.fmean(hidden)
        return f"the reference itself got {got:.1f} (at least {LEAST_REFERENCE:g} is needed)"
    if anchors and statistics.fmean(anchors) > MOST_ANCHOR:
        return f"another thing got {statistics.fmean(anchors):.1f} (at most {MOST_ANCHOR:g} is allowed)"
    return ""


def interval(values: Sequence[float]) -> float | None:
    """Half of the 95 % confidence interval of the mean (Student's t); None of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def _of(listener: Listener, trials: Mapping[str, Mapping[str, str]], **wanted: str) -> list[int]:
    return [
        rating
        for id, (rating, _) in listener.ratings.items()
        if all(trials[id].get(name) == value for name, value in wanted.items())
    ]


def _score(
    listeners: Sequence[Listener], trials: Mapping[str, Mapping[str, str]], **wanted: str
) -> Score | None:
    means, votes = [], 0
    words: Counter[str] = Counter()
    for one in listeners:
        ratings = _of(one, trials, **wanted)
        if ratings:
            means.append(statistics.fmean(ratings))
            votes += len(ratings)
        for id, (_, said) in one.ratings.items():
            if all(trials[id].get(name) == value for name, value in wanted.items()):
                words.update(said)
    if not means:
        return None
    deviation = statistics.stdev(means) if len(means) > 1 else None
    mean = statistics.fmean(means)
    return Score(mean, interval(means), deviation, len(means), votes, dict(words.most_common()))


def _called(listener: Listener) -> str:
    return f"{listener.name} ({listener.id})" if listener.name else f"Listener {listener.id}"


def _namesakes(listeners: Iterable[Listener]) -> list[str]:
    found = defaultdict(list)
    for one in listeners:
        if one.name:
            found[one.name.casefold()].append(one)
    return [
        f"{len(several)} listeners are called {several[0].name}; if it is one person, leave a file out."
        for several in found.values()
        if len(several) > 1
    ]


def as_markdown(result: Mapping[str, Any]) -> str:
    """Tables of methods and of references, and what has to be said."""
    rows = {**result["methods"], **{f"({kind})": one for kind, one in result["hidden"].items()}}
    lines = [
        f"# {result['title']}",
        "",
        f"S-MOS, 1 to 5: mean over {result['counted']} listeners of their own means, ± 95 % interval.",
        "",
        "| method | S-MOS ↑ | votes | most often said |",
        "|---|---|---|---|",
    ]
    for name, one in sorted(rows.items(), key=lambda row: -row[1]["mean"]):
        half = "" if one["half"] is None else f" ± {one['half']:.2f}"
        words = ", ".join(f"{word} ({count})" for word, count in list(one["words"].items())[:3])
        lines.append(f"| {name} | {one['mean']:.2f}{half} | {one['votes']} | {words} |")
    methods = list(result["methods"])
    lines += ["", f"| reference | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for name, means in result["references"].items():
        cells = [f"{means[method]:.2f}" if method in means else "–" for method in methods]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"- {text}" for text in result["said"])] if result["said"] else []
    return "\n".join(lines) + "\n"


def write_scores(result: Mapping[str, Any], folder: Path) -> None:
    """scores.json and scores.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", result)
    write_text(folder / "scores.md", as_markdown(result), force=True)
