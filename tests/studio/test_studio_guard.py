"""Studio answers its own pages only, asks no address, and says a full disk as what it is."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sonoconvert.errors import SonopaintError

Answer = tuple[int, str, dict[str, str]]


@pytest.fixture
def studio(context: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Answer]]:
    """`studio(path, method, headers, body)` asks a running Studio; Host is its own where none is given."""
    from sonopaint_studio.app import build_app, free_port, launch

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # launch sets it; restored at the end
    from gradio import processing_utils

    monkeypatch.setattr(
        processing_utils, "async_ssrf_protected_get", processing_utils.async_ssrf_protected_get
    )
    app, port = build_app(context), free_port("127.0.0.1", 8950)
    launch(app, port=port, block=False)

    def ask(path: str, method: str = "GET", headers: Any = None, body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        given = {"Host": f"127.0.0.1:{port}"} | {
            name: value.replace("PORT", str(port)) for name, value in (headers or {}).items()
        }
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}

    yield ask
    app.close()


def upload_body(content: bytes = b"RIFF") -> tuple[dict[str, str], bytes]:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n' + content
    return {"Content-Type": "multipart/form-data; boundary=x"}, body + b"\r\n--x--\r\n"


OWN = [
    {"Host": "127.0.0.1:PORT"},
    {"Host": "localhost:PORT"},
    {"Host": "[::1]:PORT"},
    {"Host": "LocalHost:PORT"},
]
FOREIGN: list[dict[str, str]] = [
    {"Host": "evil.example:PORT"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example:PORT"},
    {"Host": "127.0.0.1:1"},
    {"Host": "127.0.0.1"},
    {"Host": "192.168.1.7:PORT"},
    {"Host": "user@127.0.0.1:PORT"},
    {"Host": ""},
    {"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"},  # DNS rebinding
    {"Origin": "http://evil.example"},
    {"Origin": "http://evil.example:PORT"},
    {"Origin": "http://127.0.0.1:1"},  # another program's page on this computer
    {"Origin": "http://localhost"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "audio"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]


def test_foreign_names_and_origins_are_refused_everywhere(studio: Any, context: Any) -> None:
    for headers in OWN:
        assert studio("/", headers=headers)[0] == 200
        own = headers | {"Origin": f"http://{headers['Host']}", "Sec-Fetch-Site": "same-origin"}
        assert studio("/config", headers=own)[0] == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert studio("/", headers=link)[0] == 200
    form, body = upload_body()
    for headers in FOREIGN:
        for path, method, sent in (
            ("/", "GET", None),
            ("/config", "GET", None),
            ("/config", "OPTIONS", None),
            ("/gradio_api/queue/join", "POST", b"{}"),
            ("/gradio_api/upload", "POST", body),
        ):
            status, text, given = studio(path, method, form | headers, sent)
            assert status == 403 and text.startswith("Studio refuses this"), (headers, path)
            assert not any(name.startswith("access-control-") for name in given)
    assert not list(context.sessions.uploads.iterdir())
    assert studio("/gradio_api/upload", "POST", form, body)[0] == 200
    assert [path.name for path in context.sessions.uploads.rglob("*.wav")] == ["a.wav"]


@pytest.mark.parametrize(
    ("host", "names", "others"),
    [
        ("0.0.0.0", ["192.168.1.7:7865", "127.0.0.1:7865", "[fe80::1]:7865"], ["evil.example:7865"]),
        ("studio.lan", ["studio.lan:7865", "localhost:7865"], ["192.168.1.7:7865", "other.lan:7865"]),
        ("::1", ["[::1]:7865"], ["[::2]:7865"]),
    ],
)
def test_other_computers_are_let_in_by_the_address_that_is_listened_on(
    host: str, names: list[str], others: list[str], tmp_path: Path
) -> None:
    """A foreign name is refused even where all addresses are open: an address can't be made to point here."""
    from starlette.requests import Request

    from sonopaint_studio.guard import Guard

    guard = Guard(None, host, 7865, tmp_path)  # type: ignore[arg-type]
    for name in names + others:
        request = Request(
            {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", name.encode())]}
        )
        assert (guard.refusal(request) is None) == (name in names), name


def test_no_address_is_ever_looked_up(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: (asked.append(a[0]), look_up(*a, **k))[1])
    monkeypatch.setattr(socket.socket, "connect", lambda s, a: (asked.append(a), connect(s, a))[1])
    for address in (
        "https://example.com/a.wav",
        "http://169.254.169.254/x",
        "//example.com/a",
        "ftp://e.com/a",
    ):
        for path in (
            f"/gradio_api/file={address}",
            f"/gradio_api/file/{address}",
            f"/gradio_api/proxy={address}",
        ):
            assert studio(path.replace(" ", "%20"))[0] in (403, 404)
    assert studio("/gradio_api/file=%68ttps://example.com/a.wav")[0] == 403
    config = json.loads(studio("/config")[1])
    file = {
        "path": "https://example.com/a.wav",
        "url": "https://example.com/a.wav",
        "meta": {"_type": "gradio.FileData"},
    }
    sent = 0
    for number, dependency in enumerate(config["dependencies"]):
        if dependency["inputs"]:
            data = [file] * len(dependency["inputs"])
            call = {"data": data, "fn_index": number, "session_hash": "s", "event_data": file}
            status, text, _ = studio(
                "/gradio_api/queue/join",
                "POST",
                {"Content-Type": "application/json"},
                json.dumps(call).encode(),
            )
            sent += status == 200
    assert sent > 5
    told = studio("/gradio_api/queue/data?session_hash=s")[1]
    assert told.count("process_completed") == sent and "fetches nothing from addresses" in told
    ours = {"127.0.0.1", "localhost"}
    assert all((a if isinstance(a, str) else a[0]) in ours for a in asked), asked


def test_an_upload_onto_a_full_disk_is_said_and_removed(
    studio: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio.route_utils import GradioUploadFile

    real = GradioUploadFile.write

    async def full(self: Any, data: bytes) -> None:
        await real(self, data[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    form, body = upload_body(b"x" * 100_000)
    with monkeypatch.context() as patch:
        patch.setattr(GradioUploadFile, "write", full)
        status, text, _ = studio("/gradio_api/upload", "POST", form, body)
    assert (
        status == 507
        and text == "The disk of the computer that Studio runs on is full: make room there and try again."
    )
    waited = time.monotonic() + 30  # it is removed after the answer
    while list(context.sessions.uploads.iterdir()) and time.monotonic() < waited:
        time.sleep(0.05)
    assert not list(context.sessions.uploads.iterdir())
    assert studio("/gradio_api/upload", "POST", form, body)[0] == 200


def no_room(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_not_the_files_fault(
    context: Any, tab: Any, upload: Any, chirp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint_studio import sounds
    from sonopaint_studio.convert_tab import ConvertTab
    from sonopaint_studio.dataset_tab import DatasetTab
    from sonopaint_studio.edit_tab import EditTab
    from sonopaint_studio.models_tab import ModelsTab
    from sonopaint_studio.subject_tab import SubjectTab

    def said(happened: Any) -> str:
        text = str(happened)
        assert "is full: make room there" in text and "chirp" not in text.split("is full")[0], text
        return text

    event = upload("chirp.wav", chirp)
    dropped = SimpleNamespace(files=[{"path": event.path, "name": event.name}])
    with monkeypatch.context() as patch:
        patch.setattr(sounds, "save_view", no_room)  # the last of the files: the others are there by then
        last = list(EditTab(context).opened(None, tab(), event))[-1]
        said(last[0])
    assert not Path(event.path).exists()
    assert not [path for path in context.sessions.of(tab()).folder.rglob("*") if path.is_file()]

    event = upload("chirp.wav", chirp)
    dropped = SimpleNamespace(files=[{"path": event.path, "name": event.name}])
    with monkeypatch.context() as patch:
        patch.setattr("sonoconvert.pictures.picture.save_picture", no_room)
        happened = list(ConvertTab(context).convert("sonopaint-mini", "WAV", "", tab(), dropped))[-1]
        assert "is full: make room there" in happened[1]
    assert not Path(event.path).exists()
    for page, name in ((SubjectTab(context), "copyfile"), (DatasetTab(context), "move")):
        event = upload("chirp.wav", chirp)
        dropped = SimpleNamespace(files=[{"path": event.path, "name": event.name}])
        with monkeypatch.context() as patch:
            patch.setattr(f"shutil.{name}", no_room)
            said(page.dropped(tab(), dropped)[0])
    with monkeypatch.context() as patch:
        patch.setattr("sonopaint_studio.models_tab.add_files", no_room)
        said(ModelsTab(context).add(None, tab(), dropped)[0])


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    from sonopaint_studio.disk import is_full, room

    with pytest.raises(PermissionError), room():
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(SonopaintError, match="odd"), room():
        raise SonopaintError("odd")
    assert not is_full(None) and not is_full(ValueError())
