"""Handlers of the pages: what goes in and out of Generate, Edit and Convert, without a browser."""

from __future__ import annotations

import base64
import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

KNOBS = (7, False, 2, 3.0, "euler")  # seed, new each time, steps, guidance, sampler


def marks(*boxes: dict[str, Any], brush: str = "") -> str:
    """What editor.js sends."""
    return json.dumps({"boxes": boxes, "brush": brush})


def bar(context: Any, *, model: str | None = None) -> tuple[Any, ...]:
    """What stands in the model bar: the first model, no LoRAs."""
    first = str(context.store.models()[0].path) if model is None else model
    return (first, "", "", "", 1.0, 1.0, 1.0)


def generate(context: Any, request: Any, **changed: Any) -> list[tuple[Any, ...]]:
    from sonopaint_studio.generate_tab import GenerateTab

    values = {
        "prompt": "a dog barking",
        "negative": "",
        "seconds": 1.0,
        "batch": 1,
        "level": "full",
        "lufs": -23,
    }
    values |= {"knobs": KNOBS} | changed
    page = GenerateTab(context)
    names = ("prompt", "negative", "seconds", "batch", "level", "lufs")
    fields = (*(values[name] for name in names), *values["knobs"], "", True)
    return list(page.generate(request, *values.get("bar", bar(context)), *fields))


def edit(context: Any, request: Any, action: str = "Repaint", **changed: Any) -> list[tuple[Any, ...]]:
    from sonopaint_studio.edit_tab import EditTab

    values = {
        "marks": marks({"start": 0.8, "end": 1.4, "low": 500, "high": 4000}),
        "feather": 50, "side": "The marks", "left": 0.0, "right": 0.0, "strength": 0.5,
        "surroundings": "match", "how": "As it suits", "takes": 1, "prompt": "a horn", "negative": "",
    } | changed  # fmt: skip
    knobs = values.pop("knobs", KNOBS)
    return list(EditTab(context).run(request, *bar(context), action, *values.values(), *knobs, "", True))


def open_in_editor(context: Any, request: Any, event: Any) -> list[tuple[Any, ...]]:
    from sonopaint_studio.edit_tab import EditTab

    return list(EditTab(context).opened(bar(context)[0], request, event))


def cards(outputs: tuple[Any, ...]) -> list[dict[str, Any]]:
    """The result cards among a handler's last outputs."""
    found: list[dict[str, Any]] = next(o["cards"] for o in outputs if isinstance(o, dict) and "cards" in o)
    return found


def test_generate_makes_sounds_that_carry_their_settings(context: Any, tab: Any, tmp_path: Path) -> None:
    from sonopaint_studio.generate_tab import GenerateTab

    outputs = generate(context, tab(), batch=2)
    made = cards(outputs[-1])
    assert len(made) == 2
    assert any("sp-progress" in out[0] for out in outputs[:-1])
    samples, rate = soundfile.read(made[0]["downloads"]["WAV"])
    assert rate == 32_000 and len(samples) == 32_000 and np.abs(samples).max() > 0.5
    for kind in ("WAV", "FLAC", "PNG"):  # each of the files brings the controls back
        path = Path(made[0]["downloads"][kind])
        dropped = context.sessions.uploads / kind / path.name
        dropped.parent.mkdir()
        dropped.write_bytes(path.read_bytes())
        event = SimpleNamespace(path=str(dropped), name=path.name)
        note, prompt, negative, model, seed, new_seed, steps, guidance, sampler = GenerateTab(
            context
        ).use_file(tab(), event)
        assert "sp-error" not in note
        assert (prompt, negative, new_seed, steps, guidance, sampler) == (
            "a dog barking",
            "",
            False,
            2,
            3.0,
            "euler",
        )
        assert seed == 7 and model == bar(context)[0]


def test_what_the_model_does_not_know_is_said(
    context: Any, tab: Any, upload: Any, chirp: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.knowledge import knowledge_of

    known = knowledge_of(repository / "weights/mini")
    monkeypatch.setattr("sonopaint.painters.diffusers_painter.knowledge_of", lambda *_: known)
    sentence = "tiny does not know a didgeridoo; nearest: flute, train horn."
    assert cards(generate(context, tab(), prompt="a didgeridoo in a cave")[-1])[0]["warning"] == sentence
    assert cards(generate(context, tab(), prompt="rain")[-1])[0]["warning"] == ""
    open_in_editor(context, tab(), upload("chirp.wav", chirp))
    assert cards(edit(context, tab(), prompt="a didgeridoo")[-1])[0]["warning"] == sentence


def test_what_the_model_does_not_know_is_said_while_it_is_typed(context: Any, repository: Path) -> None:
    from sonopaint_studio.context import Chosen
    from sonopaint_studio.knowing import unknown_words

    mini = Chosen(str(repository / "weights/mini"), ())
    sentence = "Mini does not know a didgeridoo; nearest: flute, train horn."
    assert unknown_words("a didgeridoo in a cave", mini) == sentence
    assert unknown_words("a dog barking", mini) == unknown_words("", mini) == ""
    assert unknown_words("a didgeridoo", Chosen(mini.model, (("/loras/didgeridoo.safetensors", 1.0),))) == ""
    assert unknown_words("a didgeridoo", Chosen("/gone", ())) == ""


def test_takes_have_seeds_of_their_own_and_are_compared_with_their_source(
    context: Any, tab: Any, upload: Any, chirp: Path
) -> None:
    open_in_editor(context, tab(), upload("chirp.wav", chirp))
    last = edit(context, tab(), "Extend", takes=2, left=0.5)[-1]
    made, after = cards(last), next(o for o in last if isinstance(o, dict) and "cards" in o)
    assert [Path(one["audio"]).stem for one in made] == ["chirp-extend-7", "chirp-extend-8"]
    assert after["compare"]["before"]["title"] == "chirp.wav" and after["compare"]["offset"] == 0.5
    sounds = [soundfile.read(one["audio"], dtype="int16")[0] for one in made]
    assert not np.array_equal(*sounds) and len(base64.b64decode(made[0]["wave"])) == 2 * 4096


def test_levels_of_results(context: Any, tab: Any) -> None:
    from sonoconvert.edits.loudness import lufs
    from sonoconvert.files.clip import read_clip

    def made(**changed: Any) -> Any:
        return read_clip(cards(generate(context, tab(), **changed)[-1])[0]["audio"])

    full, painted = made(), made(level="painted")
    gain_db = full.settings["gain_db"]
    ratio = float(painted.waveform.abs().max() / full.waveform.abs().max())
    assert 20 * np.log10(ratio) == pytest.approx(min(-gain_db, 0), abs=0.05)
    soft = made(level="loudness", lufs=-30)
    assert lufs(soft.waveform, soft.sample_rate) == pytest.approx(-30, abs=0.1)


def test_a_sound_to_begin_with_is_edited(context: Any, tab: Any) -> None:
    from sonopaint_studio.edit_tab import EditTab
    from sonopaint_studio.palette import palette

    one = palette()["demos"][0]
    status, _, canvas, *_ = EditTab(context).demo(bar(context)[0], tab(), SimpleNamespace(key=one["key"]))
    assert "sp-error" not in status and canvas["source"]["title"] == one["prompt"]
    assert Path(one["audio"]).is_file()
    missing, *_ = EditTab(context).demo(bar(context)[0], tab(), SimpleNamespace(key="../../etc/passwd"))
    assert "sp-error" in missing


def test_same_seed_gives_the_same_sound(context: Any, tab: Any) -> None:
    first, second = (cards(generate(context, tab())[-1])[0]["downloads"]["WAV"] for _ in range(2))
    assert first != second
    assert np.array_equal(soundfile.read(first)[0], soundfile.read(second)[0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prompt": "   "}, "prompt is empty"),
        ({"prompt": "x" * 10_001}, "10,001 characters"),
        ({"seconds": 0.0}, "0.1 to 60"),
        ({"seconds": 1e9}, "0.1 to 60"),
        ({"knobs": (-1, False, 2, 3.0, "euler")}, "Seed"),
        ({"knobs": (1.5, False, 2, 3.0, "euler")}, "Seed"),
        ({"knobs": (1, False, 2, float("nan"), "euler")}, "Guidance"),
        ({"bar": ("/etc/passwd", "", "", "", 1, 1, 1)}, "no longer there"),
        ({"bar": (None, "", "", "", 1, 1, 1)}, "no model yet"),
    ],
)
def test_generate_says_what_is_wrong(context: Any, tab: Any, changed: dict[str, Any], words: str) -> None:
    last = generate(context, tab(), **changed)[-1]
    assert "sp-error" in last[0] and words in last[0]
    assert not context.queue.busy(context.sessions.of(tab()), "generate")  # the page goes on


def test_a_lora_that_is_not_listed_is_refused(context: Any, tab: Any) -> None:
    chosen = (bar(context)[0], "/etc/shadow", "", "", 1.0, 1.0, 1.0)
    assert "no longer there" in generate(context, tab(), bar=chosen)[-1][0]


def test_repaint_keeps_every_other_sample(context: Any, tab: Any, upload: Any, chirp: Path) -> None:
    open_in_editor(context, tab(), upload("chirp.wav", chirp))
    last = edit(context, tab())[-1]
    assert "sp-error" not in last[0]
    before, rate = soundfile.read(chirp, dtype="int16")
    after, _ = soundfile.read(cards(last)[0]["downloads"]["WAV"], dtype="int16")
    assert after.shape == before.shape
    start, end = int((0.8 - 0.05) * rate), int((1.4 + 0.05) * rate) + 1
    assert np.array_equal(after[:start], before[:start]) and np.array_equal(after[end:], before[end:])
    assert not np.array_equal(after[start:end], before[start:end])


def test_extend_loop_vary_undo_redo(context: Any, tab: Any, upload: Any, chirp: Path) -> None:
    from sonopaint_studio.edit_tab import EditTab

    page, request = EditTab(context), tab()
    open_in_editor(context, request, upload("chirp.wav", chirp))
    extended = cards(edit(context, request, "Extend", right=0.5)[-1])[0]
    assert soundfile.info(extended["downloads"]["WAV"]).frames == soundfile.info(chirp).frames + 11_025
    looped = edit(context, request, "Loop")[-1]
    assert cards(looped)[0]["loop"]
    varied = edit(context, request, "Vary", strength=0.3)[-1]
    # Each step is another value of the editor: it hears that Ctrl+Z takes that back now, not a mark.
    first, second = (
        next(v for v in made if isinstance(v, dict) and "redo" in v) for made in (looped, varied)
    )
    assert first != second
    key = cards(varied)[0]["key"]
    taken = page.take(request, SimpleNamespace(key=key))
    assert taken[0]["selected"] == "edit" and taken[2]["source"]["key"] == key
    status, canvas, after, *_ = page.undo(request)
    assert canvas["source"]["title"] == "chirp.wav" and after["cards"][0]["key"] == key and canvas["redo"]
    for _ in range(10):
        _, canvas, after, *_ = page.undo(request)
    assert after["cards"] == [] and not canvas["undo"]
    for _ in range(10):
        _, canvas, after, *_ = page.redo(request)
    assert canvas["source"]["key"] == key and not canvas["redo"]


@pytest.mark.parametrize(
    ("action", "changed", "words"),
    [
        ("Repaint", {"marks": marks()}, "Nothing is marked"),
        ("Repaint", {"marks": "not json"}, "could not be read"),
        ("Repaint", {"marks": marks({"start": 0})}, "could not be read"),
        ("Repaint", {"marks": marks(brush="data:image/png;base64,AAAA")}, "could not be read"),
        ("Repaint", {"marks": marks({"start": 9, "end": 12, "low": None, "high": None})}, "outside"),
        ("Extend", {}, "how many seconds"),
        ("Extend", {"left": -1.0}, "must be from 0"),
        ("Extend", {"right": 1e9}, "must be from 0"),
        ("Explode", {}, "no action"),
    ],
)  # fmt: skip
def test_edit_says_what_is_wrong(
    context: Any, tab: Any, upload: Any, chirp: Path, action: str, changed: dict[str, Any], words: str
) -> None:
    open_in_editor(context, tab(), upload("chirp.wav", chirp))
    last = edit(context, tab(), action, **changed)[-1]
    assert "sp-error" in last[0] and words in last[0]
    assert context.sessions.of(tab()).history.position == 0


def test_edit_without_a_sound(context: Any, tab: Any) -> None:
    assert "no sound yet" in edit(context, tab())[-1][0]


def test_a_brush_is_read_from_the_canvas() -> None:
    import base64
    import io

    from PIL import Image

    from sonoconvert.pictures.drawing import DATA_URL
    from sonopaint_studio.edit_part import read_region

    pixels = np.zeros((128, 100, 4), np.uint8)
    pixels[:64, 20:40] = 255  # the upper half of the picture: high frequencies
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    url = DATA_URL + base64.b64encode(buffer.getvalue()).decode()
    region = read_region(marks(brush=url))
    assert region.brush is not None and region.brush.shape == (128, 100)
    assert region.spans(10.0) == [pytest.approx((2.0, 4.0))]


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.wav", b""), ("text.wav", b"not a sound at all" * 20), ("cut.png", b"\x89PNG\r\n\x1a\n1234")],
)
def test_files_that_cannot_be_read(context: Any, tab: Any, upload: Any, name: str, content: bytes) -> None:
    last = open_in_editor(context, tab(), upload(name, content))[-1]
    assert "sp-error" in last[0] and name in last[0]
    assert str(context.sessions.root) not in last[0]
    assert context.sessions.of(tab()).history.now is None


def test_only_uploads_are_opened(context: Any, tab: Any, chirp: Path) -> None:
    event = SimpleNamespace(path=str(chirp), name="chirp.wav")
    assert "not uploaded" in open_in_editor(context, tab(), event)[-1][0]
    link = context.sessions.uploads / "link.wav"
    link.symlink_to(chirp)
    event = SimpleNamespace(path=str(link), name="link.wav")
    assert "not uploaded" in open_in_editor(context, tab(), event)[-1][0]


def test_a_picture_without_format_asks_for_one(context: Any, tab: Any, upload: Any, tmp_path: Path) -> None:
    from PIL import Image

    from sonopaint_studio.edit_tab import EditTab

    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (128, 96, 3), np.uint8)).save(tmp_path / "bare.png")
    last = open_in_editor(context, tab(), upload("bare.png", tmp_path / "bare.png"))[-1]
    assert "choose one below" in last[0] and last[1]["visible"]
    _, row, canvas, *_ = EditTab(context).open_as("sonopaint-mini", tab())
    assert not row["visible"] and canvas["source"]["duration"] == pytest.approx(96 * 512 / 32_000, abs=0.02)


def test_convert_both_ways_and_goes_on_after_a_bad_file(
    context: Any, tab: Any, upload: Any, chirp: Path
) -> None:
    from sonopaint_studio.convert_tab import ConvertTab, convert_all

    def files(*events: Any) -> Any:
        return SimpleNamespace(files=[{"path": e.path, "name": e.name} for e in events])

    page, request = ConvertTab(context), tab()
    dropped = files(upload("a/chirp.wav", chirp), upload("b/chirp.wav", chirp), upload("c/bad.wav", b"?"))
    last = list(page.convert("riffusion-v1", "FLAC", "", request, dropped))[-1]
    assert last[1].count("download=") == 3 and "sp-bad" in last[1] and "ZIP" in last[1]
    session = context.sessions.of(request)
    pictures = sorted(session.folder.rglob("chirp*.png"))
    assert [path.name for path in pictures] == ["chirp-2.png", "chirp.png"]
    with zipfile.ZipFile(next(session.folder.rglob("*.zip"))) as archive:
        assert sorted(archive.namelist()) == ["chirp-2.png", "chirp.png"]

    back = upload("chirp.png", pictures[1])
    converted, archive_path = convert_all(
        session, [(Path(back.path), "chirp.png")], "riffusion-v1", "FLAC", "", lambda *_: None
    )
    assert archive_path is None and converted[0].made is not None
    assert soundfile.info(converted[0].made).duration == pytest.approx(2.5, abs=0.02)


def test_stop_ends_a_job_and_the_tab_goes_on(context: Any, tab: Any) -> None:
    from sonopaint_studio.generate_tab import GenerateTab

    page, request = GenerateTab(context), tab()
    fields = ("a dog", "", 1.0, 8, "full", -23, 7, False, 100, 3.0, "euler", "", True)
    running = page.generate(request, *bar(context), *fields)
    seen = []
    for outputs in running:
        seen.append(outputs[0])
        if "Painting" in outputs[0] or len(seen) == 3:
            page.stop(request)
    assert "Stopped" in seen[-1]
    assert len(cards(generate(context, request)[-1])) == 1


def test_two_tabs_share_nothing(context: Any, tab: Any, upload: Any, chirp: Path) -> None:
    open_in_editor(context, tab("a"), upload("chirp.wav", chirp))
    results: dict[str, Any] = {}

    def work(name: str) -> None:
        results[name] = cards(generate(context, tab(name), prompt=f"sound {name}")[-1])

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("a", "b"):
        assert [card["title"] for card in results[name]] == [f"sound {name}"]
        assert Path(results[name][0]["audio"]).is_relative_to(context.library.root)
    assert context.sessions.of(tab("b")).history.now is None
    from sonopaint_studio.edit_tab import EditTab

    recording = context.sessions.of(tab("a")).history.now.source
    stranger = EditTab(context).take(tab("b"), SimpleNamespace(key=recording.key))
    assert "no longer there" in stranger[1]  # results are everybody's, in the library; recordings are not


def test_folders_go_when_the_tab_is_gone(context: Any, tab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sonopaint_studio.session.KEPT_AFTER_LEAVING_S", 0.0)
    session = context.sessions.of(tab("a"))
    session.new_folder()
    context.sessions.leave_tab(tab("a"))
    assert session.folder.exists()
    context.sessions.of(tab("b"))
    assert not session.folder.exists()
    context.sessions.close_all()
    assert not context.sessions.root.exists()


def test_old_results_stay_in_the_library(context: Any, tab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sonopaint_studio.generate_tab.KEPT_RESULTS", 1)
    first = cards(generate(context, tab())[-1])[0]
    second = cards(generate(context, tab())[-1])
    assert len(second) == 1 and second[0]["key"] != first["key"] and Path(first["audio"]).exists()
    assert context.library.search("dog").keys == [second[0]["key"], first["key"]]


def test_settings_written_by_anybody(context: Any) -> None:
    from sonoconvert.errors import SonopaintError
    from sonopaint_studio.recall import recall

    found = recall(
        {"prompt": "rain", "steps": 999, "sampler": "rm -rf", "model": "../../etc", "seed": 3}, context.store
    )
    assert (found.steps, found.sampler, found.model, found.seed) == (100, None, None, 3)
    assert "not here" in found.note
    for damaged in ({"prompt": 3}, {"seed": "x"}, {"steps": -1}, {"guidance_scale": float("inf")}):
        with pytest.raises(SonopaintError):
            recall(damaged, context.store)


def test_longest_sound_is_bounded(context: Any, tab: Any, upload: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(601 * 1000, np.int16), 1000)
    last = open_in_editor(context, tab(), upload("long.flac", tmp_path / "long.flac"))[-1]
    assert "longer than 10 minutes" in last[0]


def test_view_is_never_wider_than_browsers_draw(tmp_path: Path) -> None:
    import torch
    from PIL import Image

    from sonoconvert.files.clip import Clip
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.picture import Picture
    from sonoconvert.pictures.view import WIDEST
    from sonopaint_studio.sounds import keep

    levels = torch.zeros(1, 128, 20_000)
    levels[:, 5, 12_345] = 1.0  # one click: it must not fall between the columns that are shown
    picture = Picture.from_levels(levels, get_format("sonopaint-mini"), 1.0)
    sound = keep(
        tmp_path, Clip(torch.zeros(1, 100), 32_000), title="Rain & <b>wind</b>/../..", picture=picture
    )
    view = np.asarray(Image.open(sound.view_path))
    assert view.shape[1] <= WIDEST and view[-6].max() == 255
    assert sound.clip_path.name == "rain-b-wind-b.wav"
    assert sound.view()["edges"] == sorted(sound.view()["edges"])


def test_before_and_after_are_equally_bright(tmp_path: Path) -> None:
    """What did not change looks the same although the repainted part is louder than anything before."""
    import torch
    from PIL import Image

    from sonoconvert.files.clip import Clip
    from sonopaint_studio.sounds import keep

    noise = 0.1 * torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0))
    louder = noise.clone()
    louder[:, 40_000:48_000] *= 8
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    before = keep(tmp_path / "before", Clip(noise, 32_000, subtype="FLOAT"), title="before")
    after = keep(tmp_path / "after", Clip(louder, 32_000, subtype="FLOAT"), title="after", like=before)
    views = [np.asarray(Image.open(sound.view_path), dtype=int)[:, :60] for sound in (before, after)]
    assert np.abs(views[0] - views[1]).max() <= 3  # two roundings to 8 bits


def test_heal_marks_what_clicks_and_repairs_it_in_takes(
    context: Any, tab: Any, upload: Any, tmp_path: Path
) -> None:
    from sonopaint_studio.edit_tab import EditTab

    rate = 16_000
    t = np.arange(2 * rate) / rate
    sound = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.002 * np.random.default_rng(0).standard_normal(len(t))
    sound[12_000:12_008] += 0.5
    path = tmp_path / "clicks.wav"
    soundfile.write(path, sound, rate, subtype="FLOAT")
    page, request = EditTab(context), tab()
    assert "no sound yet" in page.find_marks(request)[0]
    open_in_editor(context, request, upload("clicks.wav", path))
    told, found = page.find_marks(request)
    (box,) = json.loads(found)
    assert "1 clicks" in told and abs(box["start"] - 0.75) < 0.001
    whole = {**box, "low": None, "high": None}
    outputs = edit(context, request, "Heal", marks=marks(whole, {**whole, "start": 1.2, "end": 1.4}), takes=2)
    made = cards(outputs[-1])
    assert len(made) == 2 and "sp-error" not in outputs[-1][0]
    assert sorted(context.library.search(kind="heal").keys) == sorted(one["key"] for one in made)
    first, second = (soundfile.read(one["downloads"]["WAV"])[0] for one in made)
    assert np.abs(first[11_990:12_020] - 0.3 * np.sin(2 * np.pi * 440 * t[11_990:12_020])).max() < 0.02
    same = first == sound.astype(np.float32)
    assert same[:11_990].all() and same[12_020:19_200].all() and same[22_400:].all()
    assert not np.array_equal(first, second) or "interpolate" in outputs[-1][0]
    assert "Nothing is marked" in edit(context, request, "Heal", marks=marks())[-1][0]
