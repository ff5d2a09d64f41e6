"""A hostile website in a real browser: what it can do to a Studio on the same computer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

pytestmark = pytest.mark.browser
TRIES = """async (studio) => {
  const tried = {};
  const form = new FormData();
  form.append("files", new File(["RIFF"], "planted.wav"));
  const attempt = async (name, path, options) => {
    try {
      const answer = await fetch(studio + path, options);
      tried[name] = answer.type === "opaque" ? "opaque" : `${answer.status}`;
    } catch (error) { tried[name] = "blocked"; }
  };
  await attempt("read", "config", {});
  await attempt("upload", "gradio_api/upload", { method: "POST", body: form, mode: "no-cors" });
  await attempt("start", "gradio_api/queue/join", { method: "POST", body: "{}", mode: "no-cors" });
  await attempt("json", "gradio_api/queue/join",
    { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
  return tried;
}"""


@pytest.fixture
def website() -> Iterator[int]:
    """The port of a web server with one empty page, which stands for somebody else's."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title>")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def evil_page(browser: Any, chromium: str) -> Iterator[Any]:
    """A page of a browser in which evil.example is this computer (what DNS rebinding comes to)."""
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    running = browser.browser_type.launch(executable_path=chromium, args=["--no-sandbox", rules])
    yield running.new_page()
    running.close()


def test_other_websites_can_neither_read_nor_drive_studio(studio: str, website: int, evil_page: Any) -> None:
    import os
    from pathlib import Path

    port = studio.rstrip("/").rpartition(":")[2]
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    before = sorted(uploads.rglob("*"))

    rebound = f"http://evil.example:{port}/"
    answer = evil_page.goto(rebound)
    assert answer.status == 403 and "Studio refuses this" in evil_page.inner_text("body")
    assert set(evil_page.evaluate(TRIES, rebound).values()) == {"403"}

    for name in ("evil.example", "127.0.0.1"):  # another website, and another program's page on this computer
        evil_page.goto(f"http://{name}:{website}/")
        tried = evil_page.evaluate(TRIES, studio)
        assert (tried["read"], tried["json"]) == ("blocked", "blocked"), tried
        frame = evil_page.evaluate(
            """async (studio) => { const frame = document.createElement("iframe"); frame.src = studio;
            document.body.append(frame); await new Promise((done) => frame.onload = done);
            return frame.src; }""",
            studio,
        )
        assert "Studio refuses this" in evil_page.frame(url=frame).inner_text("body")
    assert sorted(uploads.rglob("*")) == before  # nothing was planted

    evil_page.goto(studio)  # the same browser at the right address
    evil_page.wait_for_selector("#generate-go", timeout=120_000)
