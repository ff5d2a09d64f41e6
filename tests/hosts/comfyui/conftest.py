"""A real ComfyUI with this pack in it: COMFYUI_DIR names its checkout, COMFYUI_PYTHON its Python."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
START_S, RUN_S = 600, 600
FOLDED = "COMFY_DYNAMICCOMBO_V3"  # its option's widgets come after it
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "SONOPAINT_DRAWING", "SONOPAINT_LANES", FOLDED}


class ComfyUI:
    """A running server, spoken to over HTTP."""

    def __init__(self, url: str, base: Path) -> None:
        self.url, self.base = url, base
        self.info: dict[str, Any] = self.get("/object_info")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def send(self, prompt: dict[str, Any], extra: dict[str, Any] | None = None) -> str:
        """Queue an API prompt: its id. Raises HTTPError where it is refused."""
        body: dict[str, Any] = {"prompt": prompt}
        if extra is not None:
            body["extra_data"] = {"extra_pnginfo": extra}
        request = urllib.request.Request(
            f"{self.url}/prompt", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["prompt_id"])

    def queue(self, prompt: dict[str, Any], extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run an API prompt to its end: its history entry, or {"node_errors": …} where it was refused."""
        try:
            number = self.send(prompt, extra)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())
        end = time.monotonic() + RUN_S
        while time.monotonic() < end:
            history = self.get(f"/history/{number}")
            if number in history:
                return history[number]
            time.sleep(0.2)
        raise TimeoutError(f"the prompt did not end in {RUN_S} s")

    def fetch(self, place: dict[str, str]) -> bytes:
        """A file that a node's output names."""
        with urllib.request.urlopen(f"{self.url}/view?{urllib.parse.urlencode(place)}", timeout=60) as answer:
            return answer.read()

    def files(self, entry: dict[str, Any], kind: str = "audio") -> list[Path]:
        """The files that a history entry saved to the output folder."""
        assert entry.get("status", {}).get("status_str") == "success", explain(entry)
        saved = [item for output in entry["outputs"].values() for item in output.get(kind, [])]
        return [
            self.base / "output" / item["subfolder"] / item["filename"]
            for item in saved
            if item["type"] == "output"
        ]

    def prompt_of(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """A workflow as the page saves it, as the prompt that the page would queue."""
        return to_prompt(workflow, self.info)


def explain(entry: dict[str, Any]) -> str:
    messages = entry.get("status", {}).get("messages", [])
    errors = [detail for name, detail in messages if name == "execution_error"]
    return json.dumps(errors or entry, indent=1)[:4000]


def to_prompt(workflow: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: (link[1], link[2]) for link in workflow["links"]}

    def source(link: int) -> list[Any]:
        node, slot = links[link]
        if nodes[node]["mode"] != 4:
            return [str(node), slot]
        kind = nodes[node]["outputs"][slot]["type"]  # bypassed: what comes in by the same type
        inner = next(i["link"] for i in nodes[node]["inputs"] if i["type"] == kind and i["link"])
        return source(inner)

    prompt = {}
    for number, node in nodes.items():
        if node["mode"] == 4 or node["type"] not in info:
            continue
        definition = info[node["type"]]["input"]
        values, inputs = list(node["widgets_values"]), {}
        for name, spec in {**definition.get("required", {}), **definition.get("optional", {})}.items():
            kind = "COMBO" if isinstance(spec[0], list) else spec[0]
            if kind not in WIDGETS:
                continue
            inputs[name] = values.pop(0)
            options = spec[1] if len(spec) > 1 else {}
            seeded = name in ("seed", "noise_seed")
            if kind == "INT" and options.get("control_after_generate", seeded):
                values.pop(0)
            if kind == FOLDED:
                inner = next(one["inputs"] for one in options["options"] if one["key"] == inputs[name])
                for one in {**inner.get("required", {}), **inner.get("optional", {})}:
                    inputs[f"{name}.{one}"] = values.pop(0)
        assert not values, f"{node['type']} has {len(values)} widget values too many"
        for slot in node["inputs"]:
            if slot["link"] is not None:
                inputs[slot["name"]] = source(slot["link"])
        prompt[str(number)] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def adapted_mini(folder: Path) -> None:
    """The shipped Mini with an adapter for painting parts whose weights are random."""
    import torch
    from safetensors.torch import save_file

    from sonopaint.models.inpaint import DOWN, INPAINT_FILE, UP

    folder.mkdir(parents=True)
    for one in (ROOT / "weights/mini").iterdir():
        if one.name != INPAINT_FILE:
            (folder / one.name).symlink_to(one, target_is_directory=one.is_dir())
    generator = torch.Generator().manual_seed(3)
    tensors = {"kept": 0.2 * torch.randn(64, 5, 3, 3, generator=generator)}
    layers = {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q": (128, 128)}
    layers |= {
        "mid_block.resnets.0.conv1": (256, 256, 3, 3),
        "down_blocks.1.attentions.0.proj_in": (128, 128, 1, 1),
    }
    for name, (rows, columns, *kernel) in layers.items():
        tensors[name + DOWN] = torch.randn(4, columns, *kernel, generator=generator) / columns**0.5
        tensors[name + UP] = 0.1 * torch.randn(rows, 4, *(1 for _ in kernel), generator=generator)
    save_file(tensors, folder / INPAINT_FILE)


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    """ComfyUI with folders of its own, in which this repository is the only node pack."""
    checkout = os.environ.get("COMFYUI_DIR")
    if not checkout:
        pytest.skip("COMFYUI_DIR names no ComfyUI")
    base = tmp_path_factory.mktemp("comfyui")
    for folder in ("custom_nodes", "input", "output", "models/loras", "models/checkpoints"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes/sonopaint").symlink_to(ROOT, target_is_directory=True)
    random_models = Path(__file__).with_name("random_models")
    (base / "custom_nodes/random_models").symlink_to(random_models, target_is_directory=True)
    adapted_mini(base / "sonopaint/adapted")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, "main.py", "--cpu", "--disable-api-nodes", "--base-directory", str(base)]
    command += ["--listen", "127.0.0.1", "--port", str(port), "--preview-method", "auto"]
    # Its own Python finds the pack by itself, as for everybody.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["SONOPAINT_MODELS"] = str(base / "sonopaint")
    log = (base / "log.txt").open("w")
    process = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=log, env=environment)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/system_stats", timeout=5)
                break
            except OSError:
                gone = process.poll() is not None or time.monotonic() > end
                assert not gone, (base / "log.txt").read_text()[-3000:]
                time.sleep(0.5)
        yield ComfyUI(url, base)
    finally:
        process.terminate()
        process.wait(30)
        log.close()
