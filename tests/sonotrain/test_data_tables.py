"""Tables that name sounds: anybody's CSV and JSON Lines, Clotho, ESC-50, AudioCaps, AudioSet."""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonotrain.data.build import build_dataset
from sonotrain.data.clips import plan
from sonotrain.data.dataset import load_dataset
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Found
from sonotrain.data.sources import find_recordings
from sonotrain.data.tables import stays_inside
from sonotrain.data.texts import read_table
from sonotrain.trainers.lora.data import repeated


def noise(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(zlib.crc32(path.name.encode())).standard_normal(int(seconds * 8000))
    soundfile.write(path, 0.2 * samples.clip(-3, 3), 8000)
    return path


def find(source: Path, **options: object) -> Found:
    return find_recordings(source, DatasetOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_table_names_sounds_and_parts_of_them(tmp_path: Path, delimiter: str, encoding: str) -> None:
    noise(tmp_path / "clips" / "a.wav", 3)
    noise(tmp_path / "b.flac")
    rows = [
        ["File", "Caption", "Class", "start", "end", "Split"],
        ["clips/a.wav", '"ein Käfer, laut"', "beetle", "0.5", "1.25", "train"],
        ["clips\\a.wav", "later", "beetle", "2", "", "val"],
        ["b", "", "bee", "", "", "test"],
        [],
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    found = find(tmp_path / "list.csv")
    said = [(r.source, r.texts, r.label, r.start_s, r.duration_s, r.split) for r in found.recordings]
    assert said == [
        ("clips/a.wav", ("ein Käfer, laut",), "beetle", 0.5, 0.75, "train"),
        ("clips/a.wav", ("later",), "beetle", 2.0, None, "validation"),
        ("b.flac", (), "bee", 0.0, None, "test"),
    ]
    assert bool(found.notes) == (encoding in ("utf-16", "latin-1"))


def test_json_lines_and_clothos_five_captions(tmp_path: Path) -> None:
    noise(tmp_path / "a.wav")
    noise(tmp_path / "b.wav")
    lines = [
        {"file_name": "a.wav", "text": "one"},
        {"file_name": "b.wav", "captions": ["two", "three", "two"]},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n\n".join(map(json.dumps, lines)), "utf-8")
    assert [r.texts for r in find(tmp_path).recordings] == [("one",), ("two", "three")]
    (tmp_path / "all.json").write_text(json.dumps(lines), "utf-8")
    assert [r.texts for r in find(tmp_path / "all.json").recordings] == [("one",), ("two", "three")]
    (tmp_path / "c.csv").write_text("file_name,caption_1,caption_2\na.wav,x,y\n", "utf-8")
    assert [r.texts for r in find(tmp_path / "c.csv").recordings] == [("x", "y")]


HOSTILE = [
    "../secret.wav", "/etc/passwd", "C:\\Windows\\x.wav", "a/../../b.wav", "\\\\server\\x.wav", "..\\x.wav",
    "a\0b.wav", "//x/y.wav", "C:x.wav", "..",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    noise(inside / "good.wav")
    noise(tmp_path / "secret.wav")
    lines = [{"file": name, "text": "x"}, {"file": "good.wav", "text": "y"}]
    (inside / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    found = find(inside)
    assert [r.source for r in found.recordings] == ["good.wav"]
    assert [s.kind for s in found.skipped] == ["refused"]
    with pytest.raises(SonopaintError, match="1 of 2 sounds .* can't be read"):
        build_dataset(inside, tmp_path / "out")


@given(name=st.text(max_size=30))
def test_what_stays_inside_really_does(name: str) -> None:
    if stays_inside(name):
        assert (Path("/a/b") / name).resolve().is_relative_to("/a/b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("file_name\n", "has no rows"),
        ("sound,words\na.wav,b\n", "no column with the names of the files.*sound, words"),
        ('file_name,text\n"' + "x" * 200_000 + '",y\n', "damaged in line"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text, "utf-8")
    with pytest.raises(SonopaintError, match=words) as refused:
        find(tmp_path / "bad.csv")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ['{"file": ', '["a", 1]', "3", '{"file": "a.wav"}\n[1]', "[" * 5000])
def test_damaged_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.jsonl").write_text(text, "utf-8")
    with pytest.raises(SonopaintError, match="bad.jsonl"):
        find(tmp_path / "bad.jsonl")


@given(data=st.binary(max_size=300))
def test_any_file_is_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(data)
    try:
        rows, _ = read_table(path)
    except SonopaintError:
        return
    assert all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_odd_times_are_refused_by_row(tmp_path: Path, value: str) -> None:
    noise(tmp_path / "a.wav")
    noise(tmp_path / "b.wav")
    (tmp_path / "t.csv").write_text(f"file,start\na.wav,{value}\nb.wav,0\n", "utf-8")
    found = find(tmp_path / "t.csv")
    assert [r.source for r in found.recordings] == ["b.wav"] and found.skipped[0].kind == "refused"


def test_esc50_as_it_is_unpacked(tmp_path: Path) -> None:
    for name in ("1-100-A-0.wav", "1-100-B-0.wav", "2-200-A-4.wav"):
        noise(tmp_path / "audio" / name)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100-A-0.wav,1,0,dog,True,100,A\n1-100-B-0.wav,1,0,dog,True,100,B\n"
        "2-200-A-4.wav,2,4,crying_baby,False,200,A\n3-300-A-4.wav,2,4,crying_baby,False,300,A\n",
        "utf-8",
    )
    found = find(tmp_path)
    assert found.layout == "esc50" and [r.label for r in found.recordings] == ["dog", "dog", "crying baby"]
    groups = [r.group for r in found.recordings]
    assert groups[0] == groups[1] != groups[2]  # two takes of one recording
    assert [s.kind for s in found.skipped] == ["missing"]


def test_audiocaps_with_whatever_clips_there_are(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    noise(clips / "YAAAAAAAAAAA.wav", 10)
    noise(clips / "BBBBBBBBBBB_30000_40000.flac", 10)
    noise(clips / "-CC_CCCCC-C.wav", 60)  # the whole video
    noise(clips / "YDDDDDDDDDDD_30.000_40.000.wav", 10)
    noise(clips / "4242.wav", 10)  # by AudioCaps' own number
    rows = [
        "91139,AAAAAAAAAAA,130,a dog barks", "1,AAAAAAAAAAA,130,barking", "2,BBBBBBBBBBB,30,rain",
        "3,-CC_CCCCC-C,20,wind", "4,DDDDDDDDDDD,30,bells", "4242,EEEEEEEEEEE,0,a horn",
        "5,FFFFFFFFFFF,0,gone",
    ]  # fmt: skip
    (tmp_path / "train.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n" + "\n".join(rows), "utf-8"
    )
    found = find(tmp_path / "train.csv", audio=str(clips))
    said = {r.path.name: (r.texts, r.start_s, r.group) for r in found.recordings}
    assert said == {
        "YAAAAAAAAAAA.wav": (("a dog barks", "barking"), 130.0, "youtube-AAAAAAAAAAA"),
        "BBBBBBBBBBB_30000_40000.flac": (("rain",), 0.0, "youtube-BBBBBBBBBBB"),
        "-CC_CCCCC-C.wav": (("wind",), 20.0, "youtube--CC_CCCCC-C"),
        "YDDDDDDDDDDD_30.000_40.000.wav": (("bells",), 0.0, "youtube-DDDDDDDDDDD"),
        "4242.wav": (("a horn",), 0.0, "youtube-EEEEEEEEEEE"),
    }
    assert [s.source for s in found.skipped] == ["FFFFFFFFFFF"]
    # A file of ten seconds is the clip itself, a longer one the video that it was cut from.
    from sonoconvert.pictures.format import get_format

    fmt = get_format("perkins-10s")
    starts = {}
    for recording in found.recordings:
        jobs, seconds = plan(recording, fmt, DatasetOptions(), tmp_path)
        starts[recording.path.name] = (jobs[0].starts[0][1], seconds)
    assert starts["YAAAAAAAAAAA.wav"] == (0.0, 10.0) and starts["-CC_CCCCC-C.wav"] == (20.0, 10.0)


def test_audiosets_codes_become_names(tmp_path: Path) -> None:
    noise(tmp_path / "clips" / "YAAAAAAAAAAA.wav")
    noise(tmp_path / "clips" / "BBBBBBBBBBB.wav")
    (tmp_path / "eval_segments.csv").write_text(
        "# Segments csv created Sun Mar  5 10:54:25 2017\n# num_ytids=2, num_segs=2\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        'AAAAAAAAAAA, 30.000, 40.000, "/m/09x0r,/m/05tny_"\nBBBBBBBBBBB, 0.000, 10.000, "/m/09x0r"\n'
        'CCCCCCCCCCC, 0.000, 10.000, "/m/09x0r"\n',
        "utf-8",
    )
    table = tmp_path / "eval_segments.csv"
    with pytest.raises(SonopaintError, match="class_labels_indices.csv"):
        find(table, audio=str(tmp_path / "clips"))
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech, spoken"\n1,/m/05tny_,Bark\n', "utf-8"
    )
    found = find(table, audio=str(tmp_path / "clips"))
    assert [(r.label, r.texts) for r in found.recordings] == [
        ("Speech, spoken", ("speech, spoken, bark",)),
        ("Speech, spoken", ("speech, spoken",)),
    ]
    only = find(table, audio=str(tmp_path / "clips"), only="bark")
    assert [(r.path.name, r.label, r.texts) for r in only.recordings] == [
        ("YAAAAAAAAAAA.wav", "Bark", ("bark",))
    ]
    with pytest.raises(SonopaintError, match="No recording has one of the labels cat"):
        find(table, audio=str(tmp_path / "clips"), only="cat;meow, soft")


def test_tables_called_as_splits_are_splits(tmp_path: Path) -> None:
    for name in "abc":
        noise(tmp_path / f"{name}.wav")
    for split, name in {"train": "a", "val": "b", "test": "c"}.items():
        (tmp_path / f"{split}.csv").write_text(f"file_name,text\n{name}.wav,hello {name}\n", "utf-8")
    assert {r.source: r.split for r in find(tmp_path).recordings} == {
        "a.wav": "train",
        "b.wav": "validation",
        "c.wav": "test",
    }


def test_folders_called_as_splits_are_splits_only_alone(tmp_path: Path) -> None:
    noise(tmp_path / "train" / "dog" / "a.wav")
    noise(tmp_path / "Val" / "b.wav")
    found = find(tmp_path)
    assert [(r.split, r.label) for r in found.recordings] == [("validation", None), ("train", "dog")]
    noise(tmp_path / "train_horn" / "c.wav")  # now they are classes
    assert {(r.split, r.label) for r in find(tmp_path).recordings} == {
        (None, "dog"),
        (None, "Val"),
        (None, "train_horn"),
    }


def test_a_pattern_keeps_takes_together(tmp_path: Path) -> None:
    for index in range(30):
        noise(tmp_path / f"rain {index // 10} part {index % 10}.wav", 0.2 + index / 100)
    found = find(tmp_path, group=r"^(rain \d)")
    assert {r.group for r in found.recordings} == {"rain 0", "rain 1", "rain 2"}
    data = build_dataset(tmp_path, tmp_path / "out", DatasetOptions(group=r"^(rain \d)", test=0.3))
    for examples in data.splits.values():
        assert len(examples) % 10 == 0


def captions(root: Path, **options: object) -> dict[str, tuple[str, ...]]:
    found = find_recordings(root, DatasetOptions(**options))  # type: ignore[arg-type]
    return {recording.source: recording.texts for recording in found.recordings}


@pytest.mark.parametrize("name", ["REC0001.TXT", "rec0001.txt", "Rec0001.WAV.Txt", "REC0001.Caption"])
def test_captions_in_capitals_are_found(tmp_path: Path, name: str) -> None:
    noise(tmp_path / "REC0001.WAV")
    (tmp_path / name).write_text("a small dog barking")
    assert captions(tmp_path) == {"REC0001.WAV": ("a small dog barking",)}


@pytest.mark.parametrize(("sound", "text"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_captions_in_another_unicode_form_are_found(tmp_path: Path, sound: str, text: str) -> None:
    noise(tmp_path / (unicodedata.normalize(sound, "café") + ".wav"))
    (tmp_path / (unicodedata.normalize(text, "café") + ".txt")).write_text("cups")
    assert list(captions(tmp_path).values()) == [("cups",)]
    (tmp_path / (unicodedata.normalize(sound, "café") + ".txt")).write_text("the very name comes first")
    assert list(captions(tmp_path).values()) == [("the very name comes first",)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file_name,text\na.wav,a small dog, barking loudly, outdoors\n",
            r"metadata.csv, line 2: 4 cells for 2",
        ),
        ("sep=;\n\nfile_name;text\na.wav;ok\nb.wav;a dog; barking\n", "line 5: 3 cells for 2 columns"),
        (
            'file_name,text\na.wav,"a dog\nb.wav,a cat\nc.wav,"a cow"\n',
            "line 4: a cell holds whole other rows",
        ),
    ],
)
def test_rows_that_would_lose_words_are_refused_by_line(tmp_path: Path, text: str, words: str) -> None:
    for name in "abc":
        noise(tmp_path / f"{name}.wav")
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(SonopaintError, match=words):
        captions(tmp_path)


def test_cells_with_commas_lines_and_nothing_behind_them_are_read(tmp_path: Path) -> None:
    for name in "ab":
        noise(tmp_path / f"{name}.wav")
    rows = 'file_name,text\r\na.wav,"a dog, then\r\na cat, far away",,\r\nb.wav,"said ""woof"""\r\n'
    (tmp_path / "metadata.csv").write_bytes(rows.encode())
    assert captions(tmp_path) == {"a.wav": ("a dog, then a cat, far away",), "b.wav": ('said "woof"',)}


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n", "\ufeffsep=;\n", "\n\nsep=;\n\n"])
def test_excels_own_first_line_is_read(tmp_path: Path, first: str) -> None:
    noise(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_text(first + "file_name;text\na.wav;a dog, barking\n", encoding="utf-8")
    assert captions(tmp_path) == {"a.wav": ("a dog, barking",)}


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c"])
def test_other_line_separators_inside_json_are_part_of_it(tmp_path: Path, mark: str) -> None:
    noise(tmp_path / "a.wav")
    text = json.dumps({"file_name": "a.wav", "text": f"a dog{mark}barking"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(text.replace("\\u001c", mark) + "\n", encoding="utf-8")
    if mark not in "\v\f\x1c":  # these must be escaped in JSON, and json.dumps does
        assert mark in (tmp_path / "metadata.jsonl").read_text(encoding="utf-8")
        assert captions(tmp_path) == {"a.wav": ("a dog barking",)}


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "null", '""', "[]", "[NaN]", "[null, NaN]"]
)
def test_a_missing_value_is_no_caption(tmp_path: Path, value: str) -> None:
    noise(tmp_path / "a.wav")
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "a.wav", "text": {value}, "label": NaN}}')
    found = find_recordings(tmp_path, DatasetOptions())
    assert [(r.texts, r.label, r.start_s) for r in found.recordings] == [((), None, 0.0)]


def test_kohyas_folders_are_labels_with_repeats(tmp_path: Path) -> None:
    for name in ("10_zorblax dog/a.wav", "10_zorblax dog/b.wav", "5_cat/c.wav", "plain/d.wav"):
        noise(tmp_path / name)
    dataset = build_dataset(tmp_path, tmp_path / "out", DatasetOptions(validation=0, test=0))
    made = {e.source: (e.text, e.label, e.repeats) for e in dataset.train}
    assert made == {
        "10_zorblax dog/a.wav": ("zorblax dog", "zorblax dog", 10),
        "10_zorblax dog/b.wav": ("zorblax dog", "zorblax dog", 10),
        "5_cat/c.wav": ("cat", "cat", 5),
        "plain/d.wav": ("plain", "plain", 1),
    }
    counts = Counter(e.source for e in repeated(dataset.train))
    assert counts == {
        "10_zorblax dog/a.wav": 10,
        "10_zorblax dog/b.wav": 10,
        "5_cat/c.wav": 5,
        "plain/d.wav": 1,
    }
    assert "repeated 10 times" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    alike = [e for e in dataset.train if e.repeats == 10]
    assert repeated(alike) == alike  # repeats only count beside others


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["1_rain", "2_wind", "3_fire"], ["rain", "wind", "fire"]),  # numbered, not repeated
        (["01_rain", "07_wind"], ["rain", "wind"]),
        (["2023_field", "8bit"], ["2023_field", "8bit"]),
    ],
)
def test_numbered_folders_repeat_nothing(tmp_path: Path, folders: list[str], labels: list[str]) -> None:
    for folder in folders:
        noise(tmp_path / folder / "a.wav")
    found = find_recordings(tmp_path, DatasetOptions())
    assert [(r.label, r.repeats) for r in found.recordings] == [(label, 1) for label in labels]


WINDOWS = {
    "utf-8-sig": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "cp1252": lambda text: text.encode("cp1252"),
}


@pytest.mark.parametrize("way", WINDOWS)
def test_our_own_texts_that_a_windows_editor_saved_are_read(tmp_path: Path, way: str) -> None:
    for name in ("dog/a.wav", "dog/b.wav"):
        noise(tmp_path / "in" / name)
    options = DatasetOptions(validation=0, test=0)
    build_dataset(tmp_path / "in", tmp_path / "out", options)
    lines = (tmp_path / "out/train/metadata.jsonl").read_text(encoding="utf-8").replace('"dog"', '"café dog"')
    (tmp_path / "out/train/metadata.jsonl").write_bytes(WINDOWS[way](lines))
    about = (tmp_path / "out/dataset.json").read_text(encoding="utf-8")
    (tmp_path / "out/dataset.json").write_bytes(WINDOWS[way](about))
    assert [e.text for e in load_dataset(tmp_path / "out").train] == ["café dog"] * 2
    again = build_dataset(tmp_path / "in", tmp_path / "out", options)
    assert [e.text for e in again.train] == ["café dog"] * 2  # edited captions stay


@pytest.mark.parametrize(
    "odd",
    [
        {"start_s": [1] * 50}, {"start_s": "x"}, {"start_s": float("nan")}, {"peak": {"a": 1}},
        {"peak": 1e300}, {"peak": 10**400}, {"more_texts": 5}, {"label": []}, {"repeats": 0},
        {"repeats": 10**9}, {"repeats": "2"}, {"columns": 1.5}, {"audio": 3}, {"audio": "../a.flac"},
        {"audio": "9" * 5000},
        {"text": None},
    ],
)  # fmt: skip
def test_odd_lines_of_a_dataset_are_one_sentence(tmp_path: Path, odd: dict[str, object]) -> None:
    noise(tmp_path / "in/dog/a.wav")
    dataset = build_dataset(tmp_path / "in", tmp_path / "out", DatasetOptions(validation=0, test=0))
    metadata = tmp_path / "out/train/metadata.jsonl"
    line = json.loads(metadata.read_text(encoding="utf-8")) | odd
    metadata.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(SonopaintError) as caught:
        load_dataset(dataset.folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
