"""Curves in the WebUI on the stand-in: the adapter in the sampler, sounds brought to them, the fold-out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.curves.measure import measure
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, write_clip
from sonopaint.models.curves_file import new_adapter, save_adapter

RATE = 32_000
SWELL = "0:-50 0.6:0 1.2:-50"


@pytest.fixture
def adapter(tmp_path: Path) -> Any:
    """An adapter beside the stand-in's checkpoint that moves everything by as much as it has of a control."""
    made = new_adapter("output", {}, 8)
    with torch.no_grad():
        made.last.weight.normal_(generator=torch.Generator().manual_seed(0))
    save_adapter(made, tmp_path / "random.curves.safetensors", {})
    return made


def run(action: str, source: Clip | None = None, **values: Any) -> list[Any]:
    from sonopaint_webui import actions
    from sonopaint_webui.arguments import Arguments

    asked = {"seed": 5, "format": "sonopaint-mini", "iterations": 2, **values}
    return [result for result, _ in actions.run(Arguments.of(action, asked), source)]


def tone(seconds: float = 1.2, hertz: float = 440.0) -> Clip:
    time = torch.arange(round(seconds * RATE)) / RATE
    return Clip(0.3 * torch.sin(2 * torch.pi * hertz * time)[None], RATE)


def loudness_of(clip: Clip) -> np.ndarray:
    return measure(clip, ("loudness",)).values["loudness"]


def test_a_sound_of_any_checkpoint_is_brought_to_points_and_keeps_them(host: Any) -> None:
    (result,) = run("generate", prompt="steps", seconds=1.2, loudness=SWELL)
    got = loudness_of(result.clip)
    asked = np.interp(np.arange(len(got)) / len(got), [0, 0.5, 1], [-50, 0, -50])
    assert np.corrcoef(np.maximum(got - got.max(), -60), asked)[0, 1] > 0.95
    assert len(result.settings["curves"]["values"]["loudness"]) == pytest.approx(75, abs=1)
    assert result.settings["webui"]["loudness"] == SWELL
    from sonopaint_webui import infotext

    again = infotext.read(host.requests[-1].extra_generation_params)
    assert again["loudness"] == SWELL and again["exact"] is True
    (plain,) = run("generate", prompt="steps", seconds=1.2)
    assert np.ptp(loudness_of(plain.clip)[5:-5]) < 12 and "curves" not in plain.settings


def test_each_variation_is_brought_to_what_was_drawn(host: Any) -> None:
    drawn = {"rate": 62.5, "values": {"loudness": [0.0] * 20 + [-40.0] * 40 + [None] * 15}}
    for more in ({}, {"keep": ["length"]}):
        made = run("vary", tone(), count=2, strength=0.6, curves=drawn, **more)
        for result in made:
            got = loudness_of(result.clip)
            assert got[8:15].mean() - got[30:50].mean() == pytest.approx(40, abs=4)
        assert [result.settings["seed"] for result in made] == [5, 6]


def test_where_nothing_can_follow_that_is_said(host: Any, adapter: Any, tmp_path: Path) -> None:
    region = {"boxes": [{"start": 0.4, "end": 0.8, "low": None, "high": None}]}
    assert run("inpaint", tone(), prompt="a horn", region=region, pitch="0.4:A4 0.8:E5")
    (tmp_path / "random.curves.safetensors").unlink()
    with pytest.raises(SonopaintError, match=r"random.safetensors has no adapter .* Generate or Variations"):
        run("inpaint", tone(), prompt="a horn", region=region, pitch="0.4:A4 0.8:E5")
    with pytest.raises(SonopaintError, match="no adapter"):
        run("generate", prompt="steps", seconds=1.0, loudness=SWELL, exact=False)
    for wrong, says in (
        ({"loudness": "0:-60 0.3"}, "no point of a curve"),
        ({"curves": {"rate": 62.5, "values": {"pitch": [30_000.0]}}}, "30000"),
        ({"curves": [1]}, "an object with a rate and values"),
    ):
        with pytest.raises(SonopaintError, match=says):
            run("generate", prompt="steps", seconds=1.0, **wrong)


@pytest.mark.parametrize("timesteps", [False, True])
def test_the_adapter_moves_what_the_hosts_unet_says(
    webui: Any, host: Any, adapter: Any, timesteps: bool
) -> None:
    """In place, the positive side by the curves and the negative without; for samplers of noise and of x0."""
    from sonopaint.models.curves import without
    from sonopaint.models.schedule import scaled_linear_alphas_cumprod

    alphas = scaled_linear_alphas_cumprod().float()
    before, after = (webui.script_callbacks.called[name][0] for name in ("cfg_denoiser", "cfg_denoised"))
    generator = torch.Generator().manual_seed(1)
    seen: dict[str, Any] = {}

    def sample(request: Any) -> None:
        shape = (2, 4, request.height // 8, request.width // 8)
        scaled, x0 = (torch.randn(shape, generator=generator) for _ in range(2))
        step = 400
        kept = alphas[step]
        sigma = ((1 - kept) / kept).sqrt()
        x = scaled if timesteps else scaled * (sigma**2 + 1).sqrt()
        said = (scaled - kept.sqrt() * x0) / (1 - kept).sqrt() if timesteps else x0.clone()
        denoiser = SimpleNamespace(alphas=alphas) if timesteps else SimpleNamespace()
        level = torch.full((2,), float(step) if timesteps else float(sigma))
        before(SimpleNamespace(x=x, sigma=level, text_uncond=torch.zeros(1, 77, 8), denoiser=denoiser))
        told = said.clone()
        after(SimpleNamespace(x=told))
        moved = (scaled - (1 - kept).sqrt() * told) / kept.sqrt() if timesteps else told
        seen.update(scaled=scaled, x0=x0, moved=moved, sigma=sigma)

    host.fails = sample
    run("generate", prompt="steps", seconds=1.0, loudness="0:-60 1:0", pitch="0:A4 1:A4", exact=False)
    from sonopaint.painters.following import Following
    from sonopaint_webui import curves
    from sonopaint_webui.arguments import Arguments

    asked = curves.asked(Arguments.of("generate", {"loudness": "0:-60 1:0", "pitch": "0:A4 1:A4"}), 1.0)
    from sonoconvert.pictures.format import get_format

    columns = 8 * seen["x0"].shape[-1]
    control = Following(asked, adapter).control(get_format("sonopaint-mini"), 0.0, columns)  # type: ignore[arg-type]
    level = seen["sigma"].reshape(1)
    with torch.no_grad():
        for row, ask in enumerate((control, without(control))):
            wanted = adapter.half().float()(
                ask, seen["scaled"][row : row + 1], seen["x0"][row : row + 1], level
            )
            torch.testing.assert_close(seen["moved"][row : row + 1], wanted, rtol=2e-3, atol=2e-3)
    assert not torch.allclose(seen["moved"], seen["x0"], atol=1e-2)
    untouched = torch.ones(2, 4, 2, 2)
    after(SimpleNamespace(x=untouched))  # somebody else's picture, later
    assert (untouched == 1).all()


def test_mini_has_the_shipped_adapter_and_forge_none(webui: Any, host: Any, tmp_path: Path) -> None:
    from sonoconvert.checkpoints.files import write_tensors
    from sonoconvert.checkpoints.layouts import CONFIG_KEY
    from sonopaint_webui import curves, shipped

    mini = tmp_path / shipped.CHECKPOINT
    write_tensors(mini, {"x": torch.zeros(1)}, {})
    assert curves.adapter_for(mini) is None, "another file of this name"
    write_tensors(mini, {"x": torch.zeros(1)}, {CONFIG_KEY: "{}"}, force=True)
    path = curves.adapter_for(mini)
    assert path is not None and path.name == "curves.safetensors" and path.parent.name == "mini"
    import sys

    sys.modules["modules.sd_models"].__dict__["forge_model_reload"] = lambda: None
    assert curves.adapter_for(mini) is None


def test_a_hum_fills_the_lanes_and_the_result_is_drawn_over_them(host: Any, tmp_path: Path) -> None:
    import gradio as gr

    from sonopaint_webui.tab.panel import Panel

    with gr.Blocks():
        panel = Panel("generate").build()
    assert panel.fold is not None and Panel("outpaint").fold is None
    hum = tmp_path / "hum.wav"
    write_clip(tone(1.5), hum)
    lanes, text, status, seconds = panel.fold.fill(str(hum), ["loudness", "pitch"], 0.0)
    held = json.loads(text)["values"]
    assert set(held) == {"loudness", "pitch"} and "1.5 s" in status and "sonopaint_generate_curves" in lanes
    assert np.median([v for v in held["pitch"] if v]) == pytest.approx(440, rel=0.01)
    assert seconds["value"] == pytest.approx(1.5, abs=0.01)
    sent = "data:audio/wav;base64," + base64.b64encode(hum.read_bytes()).decode()
    assert json.loads(panel.fold.sung(sent, ["pitch"], 0.0)[1])["values"].keys() == {"pitch"}
    assert "record again" in panel.fold.sung("data:,!", [], 0.0)[2]
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"no MIDI")
    assert "broken.mid" in panel.fold.fill(str(broken), [], 0.0)[2]

    values = {"prompt": "a horn", "seconds": 1.5, "curves": text, "format": "sonopaint-mini", "iterations": 2}
    given = [values.get(name, panel.parts[name].value) for name in panel.names]
    status, cards, lanes = panel.run("", None, "", *given)
    assert "1 saved" in status and "sonopaint-views" in cards
    import html
    import re

    shown = json.loads(html.unescape(re.search(r'data-value="([^"]*)"', lanes)[1]))  # type: ignore[index]
    assert set(json.loads(shown["got"])["values"]) == {"loudness", "pitch"}
    assert json.loads(shown["asked"])["values"].keys() == held.keys()
