"""The nodes on a stand-in for ComfyUI."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """pack.nodes: {node id: class}; pack.base: ComfyUI's folders; pack.state: progress and interruption."""
    spec = importlib.util.spec_from_file_location("comfyui_stand_in", HERE / "stand_in.py")
    assert spec and spec.loader
    stand_in = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = stand_in
    spec.loader.exec_module(stand_in)
    base = tmp_path_factory.mktemp("comfyui")
    modules = stand_in.install(base)
    source = str(ROOT / "extensions/comfyui")
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(source)
    extension = import_module("sonopaint_comfyui.extension")
    nodes = {}
    for family in extension.FAMILIES:
        for node in import_module(f"sonopaint_comfyui.{family}").NODES:
            nodes[node.define_schema().node_id] = node
    yield SimpleNamespace(
        nodes=nodes, base=base, state=modules["comfy"].state, Interrupted=stand_in.Interrupted
    )
    patch.undo()
    for name in [*modules, spec.name, *(n for n in sys.modules if n.startswith("sonopaint_comfyui"))]:
        sys.modules.pop(name, None)


@pytest.fixture
def run(pack: Any) -> Any:
    """run(node id, **inputs): execute with defaults where an input is not given."""

    def execute(node_id: str, **inputs: Any) -> Any:
        node = pack.nodes[node_id]
        values = {}
        for one in node.define_schema().inputs:
            if one.id in inputs:
                values[one.id] = inputs.pop(one.id)
            elif one.default is not None:
                values[one.id] = one.default
            elif one.options.get("options"):
                values[one.id] = one.options["options"][0]
        assert not inputs, f"{node_id} has no input {', '.join(inputs)}"
        return node.execute(**values)

    return execute


@pytest.fixture
def mini(run: Any) -> Any:
    """Mini's format as it comes out of Spectrogram Format."""
    return run("SonopaintFormat", preset="sonopaint-mini")[0]


def tone(seconds: float = 1.0, rate: int = 32_000, channels: int = 1, batch: int = 1) -> dict[str, Any]:
    """An AUDIO value: chords with a little noise, another one for each item of the batch."""
    time = torch.arange(round(seconds * rate)) / rate
    generator = torch.Generator().manual_seed(0)
    items = []
    for index in range(batch):
        partials = [torch.sin(6.2832 * hz * (1 + index / 3) * time) for hz in (220, 554, 1320)]
        noise = 0.02 * torch.randn(channels, len(time), generator=generator)
        items.append(0.2 * sum(partials) + noise)
    return {"waveform": torch.stack(items).float(), "sample_rate": rate}


@pytest.fixture
def audio() -> Any:
    return tone
