"""/sonopaint/v1/… on the stand-in: what it answers, and what hostile requests get."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.pictures.format import get_format

RATE = 32_000
MINI = "sonopaint-mini"


@pytest.fixture
def client(webui: Any, host: Any) -> TestClient:
    return TestClient(started(webui))


def started(webui: Any) -> FastAPI:
    app = FastAPI()
    for function in webui.script_callbacks.called["app_started"]:
        function(None, app)
        function(None, app)  # hosts call it again when their page is reloaded
    return app


def sound(seconds: float = 1.0, kind: str = "WAV", channels: int = 1) -> str:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.repeat(0.4 * np.sin(2 * np.pi * 440 * time)[:, None], channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=kind)
    return base64.b64encode(file.getvalue()).decode()


def post(client: TestClient, route: str, **body: Any) -> Any:
    return client.post(f"/sonopaint/v1/{route}", json=body)


QUICK = {"format": MINI, "iterations": 2, "seed": 3}


def test_there_and_back(client: TestClient) -> None:
    drawn = post(client, "audio-to-image", audio=sound(), format=MINI).json()
    image = Image.open(io.BytesIO(base64.b64decode(drawn["image"])))
    assert image.height == 128 and drawn["format"]["name"] == MINI
    heard = post(client, "image-to-audio", image=drawn["image"], audio_format="flac", iterations=4).json()
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(heard["audio"])))
    assert rate == RATE and len(wave) == RATE
    assert np.argmax(np.abs(np.fft.rfft(wave))) == pytest.approx(440, abs=8), "one second: bins of 1 Hz"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("inpaint", {"region": {"boxes": [{"start": 0.2, "end": 0.5}]}}),
        ("outpaint", {"right": 0.5, "right_prompt": "dog bark"}),
        ("loop", {"seam": 0.3}),
        ("vary", {"strength": 0.5, "count": 2}),
    ],
)
def test_edits(client: TestClient, route: str, body: dict[str, Any]) -> None:
    answer = post(client, route, audio=sound(), prompt="train horn", **QUICK, **body)
    assert answer.status_code == 200, answer.text
    sounds = answer.json()["sounds"]
    assert len(sounds) == body.get("count", 1)
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0]["audio"])))
    assert len(wave) / rate == pytest.approx(1.5 if route == "outpaint" else 1.0)
    assert sounds[0]["settings"]["seed"] == 3 and "Steps" in sounds[0]["infotext"]
    text = Image.open(io.BytesIO(base64.b64decode(sounds[0]["image"]))).text  # type: ignore[attr-defined]
    assert text["parameters"] == sounds[0]["infotext"] and "sonopaint.format" in text


def test_new_sounds(client: TestClient) -> None:
    answer = post(client, "interpolate", prompt="a", to_prompt="b", clips=2, seconds=0.6, **QUICK)
    assert len(answer.json()["sounds"]) == 3, answer.text
    answer = post(client, "one-step", prompt="rex barks", count=2, seconds=0.6, **QUICK)
    assert [one["settings"]["seed"] for one in answer.json()["sounds"]] == [3, 4]


def test_what_the_checkpoint_does_not_know_is_said(
    client: TestClient, webui: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.knowledge import knowledge_of
    from sonopaint_webui.tab.panel import Panel

    known = knowledge_of(repository / "weights/mini")
    monkeypatch.setattr("sonopaint_webui.host_painter.knowledge_of", lambda path: known)
    body = {"audio": sound(), **QUICK}
    [made] = post(client, "vary", prompt="a didgeridoo in a cave", **body).json()["sounds"]
    assert made["settings"]["unknown"].endswith("does not know a didgeridoo; nearest: flute, train horn.")
    [made] = post(client, "vary", prompt="a dog barking", **body).json()["sounds"]
    assert "unknown" not in made["settings"]
    [made] = post(client, "vary", prompt="a didgeridoo <lora:rex:1>", **body).json()["sounds"]
    assert "unknown" not in made["settings"], "a LoRA may have taught it"
    panel = Panel("interpolate")
    values = {
        "prompt": "rain",
        "to_prompt": "a didgeridoo",
        "clips": 2,
        "seconds": 0.6,
        "styles": [],
        **QUICK,
    }
    given = [values.get(name) for name in panel.names]
    status, _ = panel.run("", None, "", *given)
    assert "sonopaint-warning" in status and "does not know a didgeridoo" in status


def test_a_loras_format_is_painted_and_two_are_refused(client: TestClient, tmp_path: Path) -> None:
    for name in ("perkins-10s", MINI):
        metadata = {"sonopaint.format": json.dumps(get_format(name).to_dict())}
        write_tensors(tmp_path / f"Lora/{name}.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, metadata)
    values = {"clips": 2, "seconds": 0.6, "iterations": 2, "seed": 3}
    prompts = {"prompt": f"a <lora:{MINI}:1> dog", "to_prompt": "an owl"}
    made = post(client, "interpolate", **prompts, **values).json()["sounds"]
    assert [one["sample_rate"] for one in made] == [RATE] * 3  # the checkpoint's would be 44,100
    prompts["to_prompt"] = "a <lora:perkins-10s:1> horn"
    answer = post(client, "interpolate", **prompts, **values)
    assert answer.status_code == 400 and "use LoRAs of one format" in answer.text
    made = post(client, "interpolate", format=MINI, **prompts, **values).json()["sounds"]
    assert made[0]["sample_rate"] == RATE


def test_files_stay_in_the_output_folders(client: TestClient, webui: Any, tmp_path: Path) -> None:
    answer = post(client, "vary", audio=sound(), output="file", strength=0.5, **QUICK).json()
    path = Path(answer["sounds"][0]["audio_file"])
    assert path.is_file() and path.is_relative_to(webui.shared.opts.outdir_samples)
    assert post(client, "vary", file=str(path), strength=0.5, **QUICK).status_code == 200
    soundfile.write(tmp_path / "secret.wav", np.zeros(RATE), RATE)
    (path.parent / "link.wav").symlink_to(tmp_path / "secret.wav")
    for hostile in (
        str(tmp_path / "secret.wav"), f"{path.parent}/../../../secret.wav", str(path.parent / "link.wav"),
        "/etc/passwd", str(path.parent), "\0", "a" * 5000, "file:///etc/passwd",
    ):  # fmt: skip
        answer = post(client, "vary", file=hostile, **QUICK)
        assert answer.status_code == 400 and "output folders" in answer.json()["detail"], hostile


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("inpaint", {}, "Nothing is marked"),
        ("inpaint", {"region": {"boxes": [{"start": 0.2, "end": 0.5}]}}, "There is no sound"),
        ("inpaint", {"audio": "SOUND", "region": {"boxes": [{"start": "x"}]}}, "start of a box"),
        ("inpaint", {"audio": "SOUND", "region": {"boxes": [{"begin": 1}]}}, "A box of the region"),
        ("inpaint", {"audio": "SOUND", "region": {"brush": "!!"}}, "brush must be a file in base64"),
        ("inpaint", {"audio": "SOUND", "region": {"brush": "aGVsbG8="}}, "not an image"),
        ("inpaint", {"audio": "SOUND", "region": {"boxes": [{}] * 2000}}, "2000 boxes"),
        ("inpaint", {"audio": "SOUND", "region": {"boxes": [{"start": 5, "end": 6}]}}, "outside the clip"),
        ("vary", {"audio": "not base64!"}, "can't be decoded"),
        ("vary", {"audio": "aGVsbG8="}, "The audio that was sent"),
        ("vary", {"audio": 7}, "audio must be text"),
        ("vary", {"audio": "SOUND", "file": "x.wav"}, "Give either"),
        ("vary", {"audio": "SOUND", "steps": 10**9}, "steps must be"),
        ("vary", {"audio": "SOUND", "script_args": []}, "script_args is not known"),
        ("vary", {"audio": "SOUND", "output": "ftp"}, "output must be one of"),
        ("vary", {"audio": "SHORT"}, "too short"),
        ("one-step", {"student": "../../x"}, "no one-step file"),
        ("image-to-audio", {"image": "aGVsbG8="}, "not a picture"),
        ("image-to-audio", {"image": "aGVsbG8=", "iterations": -1}, "iterations must be"),
        ("audio-to-image", {"audio": "SOUND", "format": "mp3"}, "no spectrogram format"),
    ],
)
def test_bad_requests_get_a_sentence(client: TestClient, route: str, body: dict[str, Any], says: str) -> None:
    sounds = {"SOUND": sound(), "SHORT": sound(0.001)}
    body = {
        name: sounds.get(value, value) if isinstance(value, str) else value for name, value in body.items()
    }
    answer = post(client, route, **body)
    assert answer.status_code == 400, answer.text
    detail = answer.json()["detail"]
    assert says in detail and "\n" not in detail and len(detail) < 700, detail
    assert "/tmp" not in detail, "a path of the server's"


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff\xfe", b'{"steps": NaN}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/sonopaint/v1/vary", content=body)
    assert answer.status_code == 400 and answer.json()["detail"].endswith(".")


def test_bombs_are_refused_before_they_are_unpacked(client: TestClient, monkeypatch: Any) -> None:
    from sonopaint_webui import api

    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, format="PNG")
    picture = base64.b64encode(bomb.getvalue()).decode()
    answer = post(client, "image-to-audio", image=picture, format=MINI)
    assert answer.status_code == 400 and "pixels" in answer.json()["detail"]
    large = io.BytesIO()
    Image.new("1", (6000, 6000)).save(large, format="PNG")
    brush = base64.b64encode(large.getvalue()).decode()
    answer = post(client, "inpaint", audio=sound(), region={"brush": brush})
    assert answer.status_code == 400 and "pixels" in answer.json()["detail"]
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * 700, dtype=np.float32), 8000, format="FLAC")
    answer = post(client, "vary", audio=base64.b64encode(file.getvalue()).decode())
    assert answer.status_code == 400 and "minutes" in answer.json()["detail"]
    monkeypatch.setattr(api, "MAX_BODY", 1000)
    answer = post(client, "vary", audio="A" * 2000)
    assert answer.status_code == 413 and "MB" in answer.json()["detail"]


def test_the_hosts_api_switches_are_honoured(webui: Any, host: Any) -> None:
    webui.shared.cmd_opts.api = False
    without = TestClient(started(webui))
    assert without.get("/sonopaint/v1/about").status_code == 404
    assert without.get("/sonopaint/script/dom.js").status_code == 200, (
        "the page needs its scripts all the same"
    )
    webui.shared.cmd_opts.api, webui.shared.cmd_opts.api_auth = True, "ann:secret,bob:word"
    client = TestClient(started(webui))
    assert client.get("/sonopaint/v1/about").status_code == 401
    assert post(client, "vary", audio=sound()).status_code == 401
    assert client.get("/sonopaint/v1/about", auth=("ann", "word")).status_code == 401
    assert client.get("/sonopaint/v1/about", auth=("bob", "word")).status_code == 200


def test_about_and_openapi_tell_the_fields(client: TestClient) -> None:
    told = client.get("/sonopaint/v1/about").json()
    assert MINI in told["formats"] and told["samplers"][0] == "Euler"
    described = client.get("/openapi.json").json()["paths"]["/sonopaint/v1/inpaint"]["post"]
    fields = described["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(told["actions"]["inpaint"]) | {"audio", "file", "output", "audio_format"} == set(fields)
    assert json.dumps(fields)


def test_pages_can_not_ask_for_other_files(client: TestClient, tmp_path: Path) -> None:
    from sonopaint_webui import results

    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert client.get("/" + results.address_of(tmp_path / "a.wav")).content == b"RIFF"
    address = "/" + results.address_of(tmp_path / "a.wav")
    for asked, part, code in (("1-2", b"IF", 206), ("1-", b"IFF", 206), ("0-999", b"RIFF", 206)):
        answer = client.get(address, headers={"Range": f"bytes={asked}"})
        assert (answer.content, answer.status_code) == (part, code), asked
        assert answer.headers["content-range"].endswith("/4") and "audio" in answer.headers["content-type"]
    for odd in ("bytes=3-1", "bytes=x", "bytes=" + "9" * 400 + "-"):
        assert client.get(address, headers={"Range": odd}).status_code in (200, 206, 400, 416)
    for bad in ("sonopaint/file/guess/a.wav", "sonopaint/script/canvas.py", "sonopaint/script/..%2fclip.py"):
        assert client.get("/" + bad).status_code == 404


def test_an_interrupted_request_says_so(client: TestClient, host: Any) -> None:
    host.interrupt_at = 0
    answer = post(client, "vary", audio=sound(), **QUICK)
    assert answer.status_code == 409 and "Stopped" in answer.json()["detail"]
    assert post(client, "vary", audio=sound(), **QUICK).status_code == 200
    assert isinstance(host.shared.state, SimpleNamespace)
