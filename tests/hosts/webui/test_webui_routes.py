"""Every route of /sonopaint/v1 on real hosts' models, queues and lists; details are in tests/webui."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

QUICK = {"prompt": "train horn", "seed": 3, "steps": 1, "cfg_scale": 1, "iterations": 2}
BOX = {"start": 2.0, "end": 3.0, "low": 500, "high": 5000}


@pytest.fixture(scope="session")
def sound(clip: Path) -> str:
    return base64.b64encode(clip.read_bytes()).decode()


def ask(host: Any, route: str, **body: Any) -> list[dict[str, Any]]:
    return host.post(f"/sonopaint/v1/{route}", **QUICK, **body)["sounds"]


def test_about_names_what_is_there(host: Any) -> None:
    about = host.get("/sonopaint/v1/about")
    assert "Sonopaint one-step" in about["samplers"] and about["one_step"] == ["student"]
    described = host.get("/openapi.json")["paths"]
    routes = {path for path in described if path.startswith("/sonopaint/v1/")}
    assert {f"/sonopaint/v1/{action}" for action in about["actions"]} < routes


def test_there_and_back(host: Any, sound: str, read: Any) -> None:
    drawn = host.post("/sonopaint/v1/audio-to-image", audio=sound, format="sonopaint-mini")
    assert read.image(drawn["image"]).height == 128 and drawn["seconds"] == 5
    heard = host.post("/sonopaint/v1/image-to-audio", image=drawn["image"], iterations=4)
    wave, rate = read.sound(heard["audio"])
    assert np.argmax(np.abs(np.fft.rfft(wave[:, 0]))) * rate / len(wave) == pytest.approx(300, abs=10)


def test_inpaint_changes_only_the_box(host: Any, sound: str, clip: Path, read: Any) -> None:
    made = ask(host, "inpaint", audio=sound, region={"boxes": [BOX]})[0]
    (before, rate), (after, same_rate) = read.sound(clip), read.sound(made["audio"])
    assert rate == same_rate and before.shape == after.shape
    changed = np.flatnonzero((before != after).any(axis=1)) / rate
    assert len(changed) > rate / 2, "the box was painted"
    # One frame of the transform and the soft edge reach out of the box.
    assert changed.min() > BOX["start"] - 0.3 and changed.max() < BOX["end"] + 0.3


def test_outpaint_keeps_what_was_there(host: Any, sound: str, clip: Path, read: Any) -> None:
    made = ask(host, "outpaint", audio=sound, left=0.5, right=1.0, right_prompt="dog bark", output="file")[0]
    (before, rate), (after, _) = read.sound(clip), read.sound(Path(made["audio_file"]))
    assert len(after) == len(before) + 1.5 * rate
    inside = after[rate // 2 :][: len(before)]
    changed = np.flatnonzero((before != inside).any(axis=1))
    middle = (changed > 0.3 * rate) & (changed < len(before) - 0.3 * rate)
    assert not middle.any()
    again = ask(host, "vary", file=made["audio_file"], strength=0.3)[0]
    assert again["seconds"] == pytest.approx(made["seconds"])


def test_loop_and_variations(host: Any, sound: str, read: Any) -> None:
    assert ask(host, "loop", audio=sound, seam=0.5)[0]["sample_rate"] == 32_000
    varied = ask(host, "vary", audio=sound, strength=0.5, count=2)
    assert [one["settings"]["seed"] for one in varied] == [3, 4]
    assert varied[0]["audio"] != varied[1]["audio"] and "Steps: " in varied[0]["infotext"]
    again = ask(host, "vary", audio=sound, strength=0.5)
    one, same = (read.sound(made["audio"])[0] for made in (varied[0], again[0]))
    assert (one == same).all(), "the same seed, the same sound"


def test_new_sounds(host: Any, read: Any) -> None:
    made = ask(host, "interpolate", to_prompt="dog", to_seed=9, clips=2, seconds=1.0)
    assert len(made) == 3
    made = ask(host, "loop", seconds=1.024)
    assert read.sound(made[0]["audio"])[0].any()
    body = {"prompt": "horn", "student": "student", "count": 2, "seconds": 1.0, "seed": 3, "iterations": 2}
    made = host.post("/sonopaint/v1/one-step", **body)["sounds"]
    assert [one["settings"]["steps"] for one in made] == [1, 1]
    assert "Sampler: Sonopaint one-step" in made[0]["infotext"]


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("audio-to-image", {}, "Give either"),
        ("image-to-audio", {"image": "aGVsbG8="}, "not a picture"),
        ("inpaint", {"audio": "SOUND"}, "Nothing is marked"),
        ("inpaint", {"audio": "SOUND", "region": {"boxes": [{"start": 7, "end": 8}]}}, "outside the clip"),
        ("outpaint", {"audio": "SOUND", "left": 0.0}, "give seconds"),
        ("outpaint", {"right": 1.0}, "There is no sound"),
        ("loop", {"audio": "SOUND", "seam": -1}, "seam must be"),
        ("vary", {"audio": "not base64!"}, "can't be decoded"),
        ("vary", {"file": "/etc/passwd"}, "output folders"),
        ("vary", {"audio": "SOUND", "sampler": "Euler the second"}, "no sampler"),
        ("interpolate", {"clips": 10**6}, "clips must be"),
        ("one-step", {"prompt": "horn"}, "needs many steps"),
        ("one-step", {"student": "../x"}, "no one-step file"),
        ("generate", {"prompt": "(horn:1.1.1)"}, "can't read the prompt"),
        ("generate", {"prompt": "horn", "styles": ["nobody's"]}, "no style"),
    ],
)
def test_bad_requests_get_a_sentence(host: Any, sound: str, route: str, body: Any, says: str) -> None:
    body = {name: sound if value == "SOUND" else value for name, value in body.items()}
    status, answer = host.send(f"/sonopaint/v1/{route}", body)
    assert status == 400 and says in answer["detail"], answer
    assert "\n" not in answer["detail"]


@pytest.mark.parametrize("lora", ["<lora:nobody:1>", "<lora:student:loud>"])
def test_what_the_host_says_of_a_lora_comes_with_the_sound(host: Any, lora: str) -> None:
    """One that is missing, and one with a weight that is no number: it paints all the same."""
    answer = host.post("/sonopaint/v1/generate", **{**QUICK, "prompt": f"horn {lora}"}, seconds=1.0)
    assert len(answer["sounds"]) == 1
    assert ("nobody" if "nobody" in lora else "loud") in answer["detail"]
    assert answer["sounds"][0]["settings"]["notes"]


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"steps": NaN}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(host: Any, body: bytes) -> None:
    assert host.send("/sonopaint/v1/vary", body)[0] == 400
