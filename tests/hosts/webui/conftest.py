"""A real AUTOMATIC1111 and a real Forge with this extension in them, on the CPU, offline.

WEBUI_DIR and FORGE_DIR name their checkouts, WEBUI_PYTHON and FORGE_PYTHON their Pythons.
"""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
START_S, RUN_S = 600, 600
PATIENCE_MS = 300_000
RATE = 32_000
# Without --server-name, with which they refuse to install extensions; they listen on 127.0.0.1 anyway.
SHARED = (
    "--api --skip-prepare-environment --skip-torch-cuda-test --skip-version-check --no-hashing "
    "--no-download-sd-model --do-not-download-clip"
).split()
OWN = {
    "WEBUI": "--no-half --precision full --use-cpu all".split(),
    "FORGE": ["--always-cpu", "--all-in-fp32"],
}
CLIP_L = {
    "model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
    "num_hidden_layers": 12, "projection_dim": 768, "vocab_size": 49408, "max_position_embeddings": 77,
    "hidden_act": "quick_gelu", "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Checkout:
    """A host that is there, not started. name: WEBUI or FORGE."""

    name: str
    folder: Path
    python: str


class Host:
    """A running host, spoken to over HTTP."""

    def __init__(self, checkout: Checkout, url: str, base: Path, checkpoint: Path | None) -> None:
        self.name, self.url, self.base, self.checkpoint = checkout.name, url, base, checkpoint

    @property
    def log(self) -> str:
        return (self.base / "log.txt").read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/{path.lstrip('/')}", timeout=60) as answer:
            data = answer.read()
        return json.loads(data) if answer.headers.get_content_type() == "application/json" else data

    def send(self, path: str, body: Any) -> tuple[int, Any]:
        """(status, what was answered) of a POST."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=RUN_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text

    def post(self, path: str, **body: Any) -> Any:
        """What a POST answers; it has to succeed."""
        status, answer = self.send(path, body)
        assert status == 200, (answer, self.log[-3000:])
        return answer

    def paint(self, **body: Any) -> dict[str, Any]:
        """One small picture of txt2img: the answer, with its info read."""
        return painted(self, "txt2img", **body)


def painted(host: Host, tab: str, **body: Any) -> dict[str, Any]:
    small = {"prompt": "train horn", "seed": 5, "steps": 1, "width": 320, "height": 128}
    small |= {"cfg_scale": 1, "sampler_name": "Euler", "scheduler": "Automatic"}
    answer = host.post(f"/sdapi/v1/{tab}", **{**small, **body})
    return {**answer, "info": json.loads(answer["info"])}


class Tab:
    """The host's page, at one of our sub-tabs."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url, self.id = page, url, ""

    def top(self, title: str) -> None:
        self.page.locator("#tabs > .tab-nav > button").filter(has_text=title).first.click()

    def open(self, title: str, id: str) -> Tab:
        self.top("Sonopaint")
        self.page.locator("#sonopaint_tabs > .tab-nav > button", has_text=title).first.click()
        self.id = f"#sonopaint_{id}"
        self.page.wait_for_selector(f"{self.id}_go", state="visible")
        return self

    def load(self, path: Path) -> None:
        self.page.set_input_files(f"{self.id}_source input[type=file]", path)
        self.page.wait_for_selector(f"{self.id}_view .sg-canvas")

    def quick(self) -> None:
        """One step, without guidance."""
        self.page.locator(f"{self.id}_more > .label-wrap").click()
        self.fill("steps", 1)
        self.fill("cfg_scale", 1)
        self.fill("iterations", 2)

    def fill(self, name: str, value: Any) -> None:
        field = self.page.locator(f"{self.id}_{name}")
        field.locator("textarea, input[type=number]").first.fill(str(value))
        field.locator("textarea, input[type=number]").first.press("Tab")

    def go(self) -> list[bytes]:
        """Press the button: the sounds of its cards."""
        self.page.click(f"{self.id}_go")
        self.page.wait_for_selector(
            f"{self.id}_made .sonopaint-result .sg-canvas, {self.id}_status .sonopaint-error"
        )
        wrong = self.page.locator(f"{self.id}_status .sonopaint-error")
        assert not wrong.count(), wrong.first.inner_text()
        return self.downloads("WAV")

    def downloads(self, kind: str) -> list[bytes]:
        links = self.page.locator(f"{self.id}_made .sonopaint-result a", has_text=kind)
        addresses = [link.get_attribute("href") for link in links.all()]
        return [self.page.request.get(address).body() for address in addresses]


@contextmanager
def running(checkout: Checkout, base: Path, checkpoint: Path | None) -> Iterator[Host]:
    """The host with this data folder until the end of the block; checkpoint None: with none at all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [checkout.python, "launch.py", *SHARED, *OWN[checkout.name], "--port", str(port)]
    command += ["--data-dir", str(base), *(["--ckpt", str(checkpoint)] if checkpoint else [])]
    # With a data folder elsewhere, Forge would not send its own scripts.
    command += ["--gradio-allowed-path", str(checkout.folder)]
    # Its own Python loads its own packages; CLIP's words lie where the hub would have put them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(base / "hub"),
        "NO_PROXY": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    with (base / "log.txt").open("w") as log:
        # From its own folder, because its page finds its scripts there only.
        process = subprocess.Popen(
            command, cwd=checkout.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            host = Host(checkout, f"http://127.0.0.1:{port}", base, checkpoint)
            end = time.monotonic() + START_S
            # Not by asking: AUTOMATIC1111 can't finish its start once it has answered anybody.
            while "Startup time" not in host.log:
                assert process.poll() is None and time.monotonic() < end, host.log[-3000:]
                time.sleep(0.2)
            yield host
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(base: Path) -> Path:
    """A data folder with the few files that a host needs offline."""
    from sonopaint.models.tokenizer import find_clip_tokenizer, save_tokenizer

    for name in ("extensions", "models/Lora"):
        (base / name).mkdir(parents=True)
    words = base / "hub/hub/models--openai--clip-vit-large-patch14"
    (words / "refs").mkdir(parents=True)
    (words / "refs/main").write_text("0" * 40)
    save_tokenizer(find_clip_tokenizer(base), words / "snapshots" / ("0" * 40))
    (words / "snapshots" / ("0" * 40) / "config.json").write_text(json.dumps(CLIP_L))
    return base


def link_in(base: Path) -> Path:
    """The data folder with this repository among its extensions."""
    extension = base / "extensions/sonopaint"
    extension.mkdir()
    for path in ROOT.iterdir():
        if path.name != ".git":  # hosts complain about a repository without a remote
            (extension / path.name).symlink_to(path)
    return base


def write_student(path: Path) -> None:
    """A LoRA on one layer that says it was distilled to one step."""
    from sonoconvert.checkpoints.files import write_tensors
    from sonoconvert.pictures.format import get_format

    generator = torch.Generator().manual_seed(1)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.lora_down.weight": torch.randn(4, 320, generator=generator),
        f"{name}.lora_up.weight": torch.randn(320, 4, generator=generator),
        f"{name}.alpha": torch.tensor(4.0),
    }
    header = {"sonopaint.format": json.dumps(get_format("sonopaint-mini").to_dict())}
    header |= {"sonopaint.one_step": '{"timestep": 399}', "ss_network_module": "networks.lora"}
    write_tensors(path, tensors, header)


@pytest.fixture(scope="session", params=["WEBUI", "FORGE"], ids=["AUTOMATIC1111", "Forge"])
def checkout(request: pytest.FixtureRequest) -> Checkout:
    """Each host for which there is a checkout."""
    name = request.param
    folder = os.environ.get(f"{name}_DIR")
    if not folder:
        pytest.skip(f"{name}_DIR names no checkout of {'AUTOMATIC1111' if name == 'WEBUI' else 'Forge'}")
    return Checkout(name, Path(folder), os.environ.get(f"{name}_PYTHON", sys.executable))


@pytest.fixture(scope="session")
def started(
    checkout: Checkout, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, str]]:
    """The host with this repository linked in, and what it had said when it was up."""
    base = link_in(prepare(tmp_path_factory.mktemp("host")))
    write_student(base / "models/Lora/student.safetensors")
    with running(checkout, base, checkpoint) as host:
        yield host, host.log


@pytest.fixture
def host(started: tuple[Host, str]) -> Host:
    return started[0]


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[[Host], Tab]]:
    """`open_tab(host)`: its page in the light; at the end neither it nor the server may have complained."""
    complaints: list[str] = []
    opened: list[tuple[Any, Host, int]] = []

    def open_page(host: Host) -> Tab:
        context = browser.new_context(viewport={"width": 1400, "height": 1300}, accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        opened.append((context, host, len(host.log)))
        page.goto(f"{host.url}/?__theme=light")
        page.wait_for_selector("#txt2img_prompt textarea")
        page.wait_for_selector("[data-furnished]", state="attached")
        return Tab(page, host.url)

    yield open_page
    for context, host, said in opened:
        context.close()
        wrong = host.log[said:].split("Traceback")[1:]
        # Forge prints traces of its own for a LoRA that is not there.
        wrong = [one for one in wrong if "sd_forge_lora" not in one]
        if host.checkpoint is None:  # of which it complains itself
            wrong = [one for one in wrong if "/sonopaint_webui/" in one]
        assert not wrong, wrong
    assert not [text for text in complaints if "onopaint" in text], complaints


@pytest.fixture(scope="session")
def start(checkpoint: Path) -> Callable[[Checkout, Path], Any]:
    """`with start(checkout, folder) as host`: one more host, on a data folder that `fresh` made."""
    return lambda checkout, base: running(checkout, base, checkpoint)


@pytest.fixture(scope="session")
def bare_start() -> Callable[[Checkout, Path], Any]:
    """`with bare_start(checkout, folder) as host`: with this extension and without a checkpoint."""
    return lambda checkout, base: running(checkout, link_in(base), None)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A data folder without extensions."""
    return lambda: prepare(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of a tone in noise, 16 bits."""
    time_s = np.arange(5 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    path = tmp_path_factory.mktemp("clip") / "forest.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 300 * time_s) + 0.05 * noise, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def read() -> Any:
    """Readers of what hosts send in base64."""

    class Read:
        @staticmethod
        def image(text: str) -> Any:
            return Image.open(io.BytesIO(base64.b64decode(text)))

        @staticmethod
        def sound(data: str | bytes | Path) -> tuple[np.ndarray, int]:
            if isinstance(data, str):
                data = base64.b64decode(data)
            return soundfile.read(io.BytesIO(data) if isinstance(data, bytes) else data, always_2d=True)

        @staticmethod
        def pixels(text: str) -> np.ndarray:
            return np.asarray(Read.image(text).convert("RGB"))

    return Read


@pytest.fixture(scope="session")
def pictures_without(checkout: Checkout, fresh: Any, start: Any, read: Any) -> np.ndarray:
    """What the host's txt2img paints where this extension was never installed."""
    with start(checkout, fresh()) as host:
        return read.pixels(host.paint()["images"][0])
