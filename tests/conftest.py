"""What every test shares: an offline process, a browser and a voice where there are any, seeded numbers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Before any library is imported: nothing is looked up or reported over the network.
for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("MPLBACKEND", "Agg")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # they share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))
    # What librosa compiles, each process keeps for itself: filled by two at once, numba's cache may hand one
    # of them a kernel that ends it (numba issue 10128).
    own = Path(__file__).parents[1] / ".pytest_cache" / "numba" / os.environ["PYTEST_XDIST_WORKER"]
    os.environ.setdefault("NUMBA_CACHE_DIR", str(own))

HOSTS = ("COMFYUI_DIR", "WEBUI_DIR", "FORGE_DIR")


def find_chromium() -> str | None:
    """A Chromium or Chrome on this machine; SONOPAINT_CHROMIUM names another."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return os.environ.get("SONOPAINT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def pytest_configure(config: pytest.Config) -> None:
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "sonopaint",
        deadline=None,
        derandomize="CI" in os.environ,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # of a busy machine it says nothing about the test
    )
    settings.load_profile("sonopaint")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_browser = pytest.mark.skip(reason="no Chromium was found (SONOPAINT_CHROMIUM can name one)")
    no_host = pytest.mark.skip(reason=f"none of {', '.join(HOSTS)} names a host's checkout")
    for item in items:
        if item.get_closest_marker("browser") and find_chromium() is None:
            item.add_marker(no_browser)
        if item.get_closest_marker("host") and not any(map(os.environ.get, HOSTS)):
            item.add_marker(no_host)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if "browser" in report.keywords]
    if skipped and find_chromium() is None:
        terminalreporter.write_line(f"No Chromium was found: {len(skipped)} browser tests were skipped.")


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """Connections leave this machine in no test: Sonopaint has to work without a network."""
    connect = socket.socket.connect

    def local_connect(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and not (str(host).startswith("127.") or host in ("localhost", "::1", "0.0.0.0")):
            raise OSError(f"a test tried to connect to {host}: tests are offline")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", local_connect)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def worker() -> int:
    """The number of this process among those that share the tests."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models and results of the person who runs the tests are neither read nor written."""
    patch = pytest.MonkeyPatch()
    for variable in ("SONOPAINT_MODELS", "SONOPAINT_OUTPUTS"):
        patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> Any:
    """A NumPy generator, the same in every run."""
    import numpy as np

    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; the test skips where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium was found (SONOPAINT_CHROMIUM can name one)")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page with a profile of its own, 1280 x 900 pixels."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`speech(text)` gives a 22 050 Hz mono WAV of a synthetic voice; skips where espeak-ng is missing."""
    folder = tmp_path_factory.mktemp("speech")

    def speak(text: str) -> Path:
        program = shutil.which("espeak-ng")
        if program is None:
            pytest.skip("espeak-ng is not installed")
        path = folder / f"{abs(hash(text))}.wav"
        if not path.exists():
            subprocess.run([program, "-w", str(path), text], check=True)
        return path

    return speak


@pytest.fixture(scope="session")
def coughs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Speech with three coughs put in: path of a WAV of 16 bits, its samples, what it was, and where (s)."""
    import numpy as np
    import soundfile
    import torch

    from sonotrain.data.foley import SAMPLE_RATE, synthesise
    from sonotrain.data.speech import speech

    rate, spans = SAMPLE_RATE, ((0.9, 1.25), (2.4, 2.75), (4.1, 4.45))
    clean = speech(6 * rate, rate, np.random.default_rng(5))
    clean = 0.2 * clean / np.abs(clean).max()
    sound = clean.copy()
    waves, _ = synthesise("cough", 3, torch.Generator().manual_seed(5))
    for (start, stop), wave in zip(spans, waves.numpy(), strict=True):
        count = round((stop - start) * rate)
        first = max(int(np.abs(wave).argmax()) - rate // 20, 0)
        cough = wave[first : first + count] * np.hanning(2 * count)[-count:] ** 0.5
        sound[round(start * rate) : round(start * rate) + len(cough)] += 0.8 * cough / np.abs(cough).max()
    path = tmp_path_factory.mktemp("coughs") / "interview.wav"
    sound = np.round(sound.clip(-1, 1) * 32767) / 32768
    soundfile.write(path, sound, rate, subtype="PCM_16")
    return SimpleNamespace(path=path, samples=sound.astype(np.float32), clean=clean, spans=spans, rate=rate)


@pytest.fixture
def phase_search_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pictures differ by a rounding: the learned decoder's phases go elsewhere for it."""
    from sonoconvert.phase.search import PhaseSearch

    monkeypatch.setattr(PhaseSearch, "decoder", lambda search, fmt: None)
