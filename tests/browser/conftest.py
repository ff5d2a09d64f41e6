"""A running Studio with a tiny random Mini, and pages that must not complain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

_ENDED = re.compile("AbortError|Connection errored out|ERR_INCOMPLETE_CHUNKED_ENCODING|network error")
WINDOW: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True}
SLOW_MACHINE_MS = 120_000  # a wait that ends a hopeless test; on a quiet laptop everything takes seconds


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, worker: int) -> Iterator[str]:
    """The address of a Studio that runs in this process."""
    pytest.importorskip("gradio")
    import torch

    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    words, folder = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("models")
    config = mini_config(train_tokenizer(["a dog barking in the rain"], words, 560))
    config["unet"]["block_out_channels"] = [32, 32, 32]
    config["vae"]["block_out_channels"] = [16, 16, 16, 16]
    config["text_encoder"]["num_hidden_layers"] = 1
    torch.manual_seed(0)
    save_mini(folder / "tiny", *build_mini(config), load_tokenizer(words), defaults={"steps": 2})

    patch = pytest.MonkeyPatch()
    patch.setenv("SONOPAINT_MODELS", str(folder))
    patch.setenv("SONOPAINT_LIBRARY", str(tmp_path_factory.mktemp("library")))
    with served(tmp_path_factory.mktemp("studio"), worker) as address:
        yield address
    patch.undo()


@contextmanager
def served(folder: Path, worker: int) -> Iterator[str]:
    """Start a Studio that keeps its temporary files in `folder`."""
    from sonopaint.models.folders import user_folder
    from sonopaint_studio.app import build_app, free_port, launch
    from sonopaint_studio.context import Context
    from sonopaint_studio.session import Sessions

    context = Context(sessions=Sessions(folder), model=str(user_folder() / "tiny"))
    app = build_app(context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # launch sets it; another Studio's is back at the end
        yield launch(app, port=free_port("127.0.0.1", 7950 + 100 * worker), block=False)
    app.close()
    context.close()


@pytest.fixture
def studio_again(studio: str, tmp_path: Path, worker: int) -> Iterator[Callable[[], str]]:
    """`studio_again()` starts another Studio with the same library, as after a restart, and is its address.

    From then on the first one takes no more files: both are in this process. A test names it before
    `open_studio`, so that its tabs are closed before it is.
    """
    with ExitStack() as stack:
        yield lambda: stack.enter_context(served(tmp_path / "studio", worker))


def listen(page: Any, address: str, complaints: list[str]) -> None:
    """Note what the page at `address` complains about, and requests to other machines.

    A document that is left while it works may say that its connection ended: the next one forgets it.
    """
    ended: list[str] = []

    def said(message: Any) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} {message.location['url']}")
            if _ENDED.search(message.text):
                ended.append(complaints[-1])

    def next_document(_: Any) -> None:
        complaints[:] = [complaint for complaint in complaints if complaint not in ended]

    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    page.on("console", said)
    page.on("domcontentloaded", next_document)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address.split("#")[0], "data:", "blob:", "about:"))
            else complaints.append(f"request: {request.url}")
        ),
    )


def opened(context: Any, address: str, complaints: list[str]) -> Any:
    """A new page of a browser's context at `address`, which is ready where that is Studio's first page."""
    page = context.new_page()
    page.set_default_timeout(SLOW_MACHINE_MS)
    listen(page, address, complaints)
    page.goto(address)
    if "#" not in address:
        page.wait_for_selector("#generate-go")
        page.wait_for_selector("#results .sp-chip")
    return page


@pytest.fixture
def open_studio(studio: str, browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_studio()` opens a tab; at the end no tab may have reported an error or asked another machine.

    address: of another Studio, or of a page.
    """
    complaints: list[str] = []
    contexts = []

    def open_page(address: str = studio, **options: Any) -> Any:
        contexts.append(browser.new_context(**WINDOW, **options))
        return opened(contexts[-1], address, complaints)

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def kept_tab(studio: str, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    complaints: list[str] = []
    context = browser.new_context(**WINDOW)
    yield opened(context, studio, complaints), complaints
    context.close()


@pytest.fixture
def used_page(kept_tab: tuple[Any, list[str]]) -> Iterator[Any]:
    """A tab that stays open from test to test, as people leave it: for tests that begin with a sound of their
    own and mind nothing that was done before (opening a tab costs seconds)."""
    page, complaints = kept_tab
    yield page
    told, complaints[:] = complaints[:], []
    assert told == []


@pytest.fixture
def open_sound() -> Callable[[Any, Path], None]:
    """`open_sound(page, path)` opens a file in Edit and takes the box to mark with."""

    def go(page: Any, path: Path) -> None:
        page.get_by_role("tab", name="Edit").click()
        before = page.evaluate("window.Sonopaint.editor?.data?.key ?? ''")
        page.set_input_files("#editor input[type=file]", path)
        page.wait_for_function(
            "(before) => { const key = window.Sonopaint.editor?.data?.key; return key && key !== before; }",
            arg=before,
        )
        page.wait_for_selector(".sp-editor.filled")
        page.locator("#editor .sp-tool[title^='Box:']").click()

    return go


@contextmanager
def slowed(page: Any, later_ms: int = 500) -> Iterator[None]:
    """Every answer comes so much later, as on a busy machine."""
    page.evaluate(
        """(later) => { const fetch = window.quickly = window.fetch; window.fetch = async (...asked) => {
        await new Promise((go) => setTimeout(go, later)); return fetch(...asked); }; }""",
        later_ms,
    )
    yield
    page.evaluate("() => { window.fetch = window.quickly; }")


@pytest.fixture
def slow_answers() -> Callable[..., Any]:
    """`with slow_answers(page):` what is done before the answers are there."""
    return slowed


@pytest.fixture
def chirp(tmp_path: Path) -> Path:
    """A 2 s stereo recording of 16 bits at 44.1 kHz: a rising tone in noise."""
    import numpy as np
    import soundfile

    rate = 44_100
    t = np.arange(2 * rate) / rate
    tone = 0.4 * np.sin(2 * np.pi * (300 * t + 700 * t**2))
    noise = 0.01 * np.random.default_rng(7).standard_normal((len(t), 2))
    soundfile.write(tmp_path / "chirp.wav", tone[:, None] * [1.0, 0.6] + noise, rate, subtype="PCM_16")
    return tmp_path / "chirp.wav"
