"""The top of the tab: Mini by one button, what the chosen checkpoint can do, and its own defaults."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio")


@pytest.fixture
def host(host: Any, tmp_path: Path) -> Any:
    (tmp_path / "Stable-diffusion").mkdir()
    sys.modules["modules.sd_samplers"].visible_sampler_names = lambda: ["Euler", "DPM++ 2M"]
    return host


def choose(host: Any, path: Path) -> None:
    host.shared.sd_model.sd_checkpoint_info.filename = str(path)


def test_mini_by_one_button(host: Any, tmp_path: Path) -> None:
    """Twice, because a newer Sonopaint has a newer Mini."""
    from sonopaint_webui.tab import start

    for _ in range(2):
        told, title, students = start.add()
        assert "sonopaint-error" not in told and title == "sonopaint-mini.safetensors [0123]"
    placed = tmp_path / "Stable-diffusion"
    for name in ("sonopaint-mini.safetensors", "sonopaint-mini.yaml", "sonopaint-mini/vocab.json"):
        assert (placed / name).is_file(), name
    loras = {path.stem for path in (tmp_path / "Lora").rglob("*.safetensors")}
    assert {"mini-one-step", "tiny-owl", "timbale", "giant-dog"} <= loras
    assert {"mini-one-step", "tiny-owl"} <= set(students["choices"])
    assert students["value"] == "mini-one-step", "what paints every sound, before subjects"

    choose(host, placed / "sonopaint-mini.safetensors")
    path = start.chosen()
    assert path is not None
    assert start.defaults(path, first=True) == {"steps": 20, "cfg_scale": 4.0, "sampler": "DPM++ 2M"}
    said = start.about(path)
    assert "5.12 s" in said and "kinds of sound" in said and "train horn" in said


def test_what_lies_there_is_not_written_over(host: Any, tmp_path: Path) -> None:
    from sonopaint_webui.tab import start

    other = tmp_path / "Stable-diffusion/sonopaint-mini.safetensors"
    other.write_bytes(b"somebody else's")
    assert "There is another sonopaint-mini.safetensors" in start.add()[0]
    assert other.read_bytes() == b"somebody else's"


def test_a_checkpoint_for_pictures_is_told(host: Any, tmp_path: Path) -> None:
    from sonopaint_webui.tab import start

    said = start.about(tmp_path / "v1-5-pruned.safetensors")
    assert "sonopaint-warning" in said and "paints pictures" in said and "Add Sonopaint Mini" in said
    assert "riffusion-v1" in start.about(tmp_path / "riffusion-model-v1.safetensors")
    host.shared.sd_model = None
    assert start.chosen() is None
    assert "no checkpoint yet" in start.about(None)
    # Nothing of its own: what stands on the page stays, and comes back after another one's.
    path = tmp_path / "riffusion-model-v1.safetensors"
    assert start.defaults(path, first=True) == {}
    assert start.defaults(path, first=False) == {"steps": 20, "cfg_scale": 7.0, "sampler": "Euler"}


def test_the_fields_follow_the_checkpoint(host: Any, webui: Any, tmp_path: Path) -> None:
    """The line is asked for again and again; fields change only with the checkpoint."""
    import gradio as gr

    from sonopaint_webui import shipped
    from sonopaint_webui.tab.panel import Panel
    from sonopaint_webui.tab.start import Start

    shipped.add_mini()
    with gr.Blocks() as page:
        start = Start()
        panels = [Panel(action).build() for action in ("generate", "one-step")]
        start.wire(panels)
    looks = next(fn.fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "look")
    choose(host, tmp_path / "Stable-diffusion/sonopaint-mini.safetensors")
    about, button, seen, steps, cfg, sampler = looks("")
    assert "kinds of sound" in about and not button["visible"]
    assert (steps["value"], cfg["value"], sampler["value"]) == (20, 4.0, "DPM++ 2M")
    assert all("value" not in change for change in looks(seen)[3:])
    choose(host, tmp_path / "riffusion.safetensors")
    about, button, _, steps, cfg, _ = looks(seen)
    assert button["visible"] and cfg["value"] == 7


def test_forge_says_that_it_can_not(host: Any) -> None:
    from sonopaint_webui.tab import start

    sys.modules["modules.sd_models"].forge_model_reload = lambda: None  # type: ignore[attr-defined]
    assert "Forge can&#x27;t load Sonopaint Mini" in start.add()[0]
    assert "Add Sonopaint Mini" not in start.about(None)


def test_a_subject_brings_its_prompt(host: Any, tmp_path: Path) -> None:
    import torch

    from sonoconvert.checkpoints.files import write_tensors
    from sonopaint_webui.tab.fields import any_student
    from sonopaint_webui.tab.panel import its_prompt

    assert any_student() == "as the prompt says"
    header = {"sonopaint.on_student": json.dumps({"student": "x", "timestep": 999})}
    for name, prompt in (("owl", "a prt owl"), ("dog", "a prt dog bark")):
        about = header | {"sonopaint.subject": json.dumps({"prompt": prompt})}
        write_tensors(tmp_path / f"Lora/{name}.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, about)
    assert any_student() == "dog"
    assert its_prompt("owl", "")["value"] == "a prt owl"
    assert its_prompt("owl", "a prt dog bark")["value"] == "a prt owl"
    assert "value" not in its_prompt("owl", "an owl far away")


def test_results_come_with_what_was_before(host: Any, tmp_path: Path) -> None:
    import html
    import re

    import numpy as np
    import soundfile

    from sonopaint_webui.tab.panel import Panel

    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 32_000)
    panel = Panel("outpaint")
    values = {"format": "sonopaint-mini", "iterations": 2, "left": 0.5, "styles": []}
    status, made = panel.run("", str(path), "", *[values.get(name) for name in panel.names])
    assert "saved in" in status
    [card] = json.loads(html.unescape(re.findall(r'data-value="(.*?)"', made)[0]))
    assert card["duration"] == pytest.approx(1.5) and card["before"]["duration"] == pytest.approx(1.0)
    assert card["before"]["starts"] == 0.5 and card["before"]["audio"].startswith("sonopaint/file/")
    assert SimpleNamespace(**card["before"]).view.startswith("data:image/png")
