"""Tables that name sounds: anybody's CSV and JSON Lines, Clotho, ESC-50, AudioCaps, AudioSet."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonotrain.data.build import build_dataset
from sonotrain.data.clips import plan
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Found
from sonotrain.data.sources import find_recordings
from sonotrain.data.tables import stays_inside
from sonotrain.data.texts import read_table


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
