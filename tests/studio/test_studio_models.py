"""Adding models: hostile names, wrong files, folders; and what the list says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sonoconvert.checkpoints.lora import LoraModule, save_lora
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{key}.lora_down.weight": torch.zeros(2, 32), f"{key}.lora_up.weight": torch.zeros(32, 2)}
    save_file(tensors, tmp_path / "lora.safetensors", {"modelspec.author": "<script>alert(1)</script>"})
    return tmp_path / "lora.safetensors"


@given(st.text(max_size=300))
def test_names_are_always_one_harmless_component(name: str) -> None:
    from sonoconvert.files.atomic import safe_name

    safe = safe_name(name)
    assert safe and len(safe) <= 101 and Path(safe).name == safe
    assert not set(safe) & set('/\\:*?"<>|\0') and safe[0] not in ". " and safe[-1] not in ". "


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../evil.safetensors", "evil.safetensors"),
        ("..\\..\\evil.safetensors", "evil.safetensors"),
        ("C:\\Windows\\x.safetensors", "x.safetensors"),
        ("/etc/cron.d/job.safetensors", "job.safetensors"),
        (".hidden.safetensors", "hidden.safetensors"),
        ("CON.safetensors", "_CON.safetensors"),
        ("a\x00b\n.safetensors", "a_b_.safetensors"),
        ("..", "model"),
        ("Büche 1.5 (v2).safetensors", "Büche 1.5 (v2).safetensors"),
    ],
)
def test_hostile_names(name: str, expected: str) -> None:
    from sonoconvert.files.atomic import safe_name

    assert safe_name(name) == expected


@pytest.mark.parametrize("name", ["x.safetensors", "../../../x.safetensors", "a/../../x.safetensors"])
def test_a_lora_lands_inside_the_folder(models_folder: Path, lora: Path, name: str) -> None:
    from sonopaint_studio.model_files import add_files

    before = set(models_folder.parent.rglob("*"))
    added = add_files([(lora, name)], models_folder)
    assert [info.kind for info in added] == ["lora"]
    new = set(models_folder.parent.rglob("*")) - before
    assert new == {models_folder / "x.safetensors"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.ckpt", b"\x80\x02", "pickle"),
        ("model.pt", b"\x80\x02", "pickle"),
        ("run.sh", b"#!/bin/sh", "safetensors"),
        ("short.safetensors", b"\x10\0\0\0\0\0\0\0{}", "truncated"),
        ("empty.safetensors", b"", "truncated"),
    ],
)
def test_wrong_files_leave_nothing_behind(
    models_folder: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    from sonopaint_studio.model_files import add_files

    (tmp_path / "upload").write_bytes(content)
    before = set(models_folder.rglob("*"))
    with pytest.raises(SonopaintError, match=words):
        add_files([(tmp_path / "upload", name)], models_folder)
    assert set(models_folder.rglob("*")) == before


def test_nothing_is_replaced(models_folder: Path, lora: Path) -> None:
    from sonopaint_studio.model_files import add_files

    add_files([(lora, "x.safetensors")], models_folder)
    with pytest.raises(SonopaintError, match="already"):
        add_files([(lora, "x.safetensors")], models_folder)


def test_a_folder_is_one_model_and_brings_no_scripts(
    models_folder: Path, tiny_models: Path, tmp_path: Path
) -> None:
    from sonopaint_studio.model_files import add_files

    script = tmp_path / "pipeline.py"
    script.write_text("raise SystemExit")
    files = [
        (p, f"my mini/{p.relative_to(tiny_models / 'tiny')}") for p in (tiny_models / "tiny").rglob("*.*")
    ]
    files += [(script, "my mini/pipeline.py"), (script, "my mini/../../../outside.json")]
    added = add_files(files, models_folder)
    assert [(info.name, info.kind) for info in added] == [("my mini", "mini")]
    assert not list(models_folder.rglob("*.py"))
    assert not (models_folder.parent / "outside.json").exists()
    with pytest.raises(SonopaintError, match="already"):
        add_files(files, models_folder)


def test_the_page_lists_and_adds(context: Any, tab: Any, upload: Any, lora: Path) -> None:
    from sonopaint_studio.models_tab import ModelsTab

    page = ModelsTab(context)
    current = str(context.store.models()[0].path)
    event = upload("../nice lora.safetensors", lora)
    status, listed, model, *loras = page.add(
        current, tab(), SimpleNamespace(files=[{"path": event.path, "name": event.name}])
    )
    assert "Added nice lora (LoRA)" in status and model["value"] == current
    assert [label for label, _ in loras[0]["choices"]] == ["None", "nice lora"]
    assert "sonopaint-mini · 5.12 s · 32 kHz" in listed and "&lt;script&gt;" in listed
    assert not Path(event.path).exists()
    bad = SimpleNamespace(files=[{"path": "/etc/passwd", "name": "x.safetensors"}])
    assert "not uploaded" in page.add(current, tab(), bad)[0]


def test_one_model_is_loaded_and_loaded_again_only_when_it_changes(context: Any) -> None:
    path = str(context.store.models()[0].path)
    told: list[str] = []
    for _ in range(2):
        with context.store.use(path, (), lambda step, total, message: told.append(message)) as model:
            assert model.format.name == "sonopaint-mini"
    assert told == ["Loading tiny"]


def test_a_loras_format_is_painted_and_two_that_differ_are_refused(context: Any, models_folder: Path) -> None:
    """The model paints sonopaint-mini."""
    path = str(context.store.models()[0].path)
    made = []
    for name in ("full-48k", "perkins-10s"):
        weight = torch.zeros(2, 32), torch.zeros(32, 2)
        module = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
        told = {"sonopaint.format": json.dumps(get_format(name).to_dict())}
        save_lora(models_folder / f"{name}.safetensors", {module: LoraModule(*weight, 2.0)}, metadata=told)
        made.append((str(models_folder / f"{name}.safetensors"), 1.0))
    with context.store.use(path, made[:1], lambda *_: None) as model:
        assert model.format == get_format("full-48k")
    with (
        pytest.raises(SonopaintError, match="use LoRAs of one format"),
        context.store.use(path, made, lambda *_: None),
    ):
        pass
    with context.store.use(path, (), lambda *_: None) as model:
        assert model.format == get_format("sonopaint-mini")
