"""The painter and the actions on the stand-in: what the host is asked for, and what stays as it was."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format

RATE = 32_000
MINI = "sonopaint-mini"  # 128 rows: small pictures
SPECTRUM = get_format(MINI)


def clip(seconds: float = 2.0, channels: int = 2) -> Clip:
    """A tone for each channel, and a louder one from 0.6 to 0.9 s."""
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = torch.stack([0.3 * torch.sin(2 * torch.pi * (300 + 50 * c) * time) for c in range(channels)])
    burst = 0.5 * torch.sin(2 * torch.pi * 2000 * time) * ((time > 0.6) & (time < 0.9))
    return Clip(tones + burst, RATE)


def run(action: str, source: Clip | None = None, **values: Any) -> list[Any]:
    from sonopaint_webui import actions
    from sonopaint_webui.arguments import Arguments

    arguments = Arguments.of(action, {"seed": 5, "format": MINI, "iterations": 2, **values})
    return [result for result, _ in actions.run(arguments, source)]


BOX = {"boxes": [{"start": 0.5, "end": 1.0, "low": 1000, "high": 4000}]}


def test_what_is_marked_is_healed_without_words_and_without_the_model(host: Any) -> None:
    from sonopaint_webui.actions import HEAL_OFFER

    source = clip()
    region = {"boxes": [{"start": 1.2, "end": 1.25, "low": None, "high": None}]}
    (offered,) = run("inpaint", source, region=region)
    assert HEAL_OFFER in offered.settings["notes"]
    (result,) = run("inpaint", source, region=region, heal=True)
    inside = slice(round(1.2 * RATE), round(1.25 * RATE))
    changed = (result.clip.waveform != source.waveform).any(dim=0).nonzero()[:, 0]
    assert changed.min() >= inside.start and changed.max() < inside.stop
    apart = (result.clip.waveform - source.waveform)[:, inside].abs().max()
    assert apart < 0.03 and result.settings["task"] == "heal"
    assert not any(HEAL_OFFER in note for note in result.settings["notes"])
    with pytest.raises(SonopaintError, match="without words"):
        run("inpaint", source, prompt="a horn", region=region, heal=True)


def test_inpainting_keeps_every_other_sample(host: Any) -> None:
    source = clip()
    (result,) = run("inpaint", source, prompt="train horn", region=BOX, feather=0.05)
    changed = (result.clip.waveform != source.waveform).any(dim=0).nonzero()[:, 0]
    assert len(changed) and changed.min() >= 0.45 * RATE - 1 and changed.max() <= 1.05 * RATE + 1
    assert result.settings["webui"]["region"] == BOX and result.settings["model"] == "random"
    from sonopaint_webui import infotext

    (request,) = host.requests
    again = infotext.read(request.extra_generation_params)
    assert again["prompt"] == "train horn" and again["region"] == BOX and again["seed"] == 5


def test_variations_keep_what_they_should_and_are_chosen_from_more(host: Any) -> None:
    from sonoconvert.edits.loudness import lufs
    from sonopaint_webui import infotext
    from sonopaint_webui.actions import notes_of

    source = clip(1.0, 1)
    plain = run("vary", source, count=2, strength=0.4)
    assert len(host.requests) == 2 and "figures" not in plain[0].settings
    kept = run("vary", source, count=2, strength=0.4, keep=["length", "loudness"])
    assert len(host.requests) == 4, "none is made in vain"
    for one in kept:
        assert one.clip.num_samples == source.num_samples and one.picture.format.name == MINI
        assert lufs(one.clip.waveform, RATE) == pytest.approx(lufs(source.waveform, RATE), abs=0.1)
        assert (
            abs(one.settings["figures"]["loudness_lu"]) < 0.1
            and "2 of 2 candidates" in notes_of(one.settings)[0]
        )
    assert [one.settings["seed"] for one in kept] == [5, 6]
    again = infotext.read(host.requests[-1].extra_generation_params)
    assert again["keep"] == ("length", "loudness") and again["seed"] == 6 and not again["choose"]
    # Noise is what this host paints: another thing than the tone, so that all of it is left out.
    with pytest.raises(SonopaintError, match=r"Only 0 of 2 .*(drifted too far|sounds like)"):
        run("vary", source, count=2, strength=0.4, choose=True)
    assert len(host.requests) == 12, "at most four for each that was asked for"
    with pytest.raises(SonopaintError, match="knows length, loudness, onset, envelope, pitch, not 'soul'"):
        run("vary", source, keep=["soul"])


def test_interrupt_hands_over_the_variations_that_are_there(host: Any) -> None:
    host.interrupt_at = 2
    made = run("vary", clip(1.0, 1), count=4, strength=0.4, keep=["loudness"])
    assert [one.settings["seed"] for one in made] == [5, 6]


def test_the_host_gets_whole_cells_and_changes_only_the_mask(host: Any) -> None:
    from sonoconvert.edits.canvas import inpaint_canvas
    from sonoconvert.edits.region import Box, Region
    from sonopaint.tasks.settings import PaintSettings
    from sonopaint_webui.host_painter import HostPainter

    canvas = inpaint_canvas(clip(), Region((Box(0.5, 1.0, 1000, 4000),)), SPECTRUM)
    painter = HostPainter(SPECTRUM)
    painted = painter.paint(canvas, "horn", PaintSettings(seed=5))
    mask = canvas.mask[::-1] > 0
    before, after = canvas.picture.pixels, painted.pixels
    assert (after[~mask] == before[~mask]).all(), "the VAE's shift came through"
    assert (after[mask] != before[mask]).any(axis=-1).mean() > 0.9
    (request,) = host.requests
    asked = np.asarray(request.mask)
    assert asked.shape == (request.height, request.width) and request.width % 64 == request.height % 64 == 0
    cells = asked.reshape(request.height // 8, 8, request.width // 8, 8)
    assert (cells == cells[:, :1, :, :1]).all(), "a latent cell is half masked"
    assert (asked[-mask.shape[0] :, : mask.shape[1]][mask] == 255).all()
    assert request.inpaint_full_res is False and request.mask_blur == 0 and request.do_not_save_samples
    again = painter.paint(canvas, "horn", PaintSettings(seed=5))
    assert (again.pixels == after).all()


@pytest.mark.parametrize(
    ("fill", "number"), [("fill", 1), ("original", 1), ("latent noise", 2), ("latent nothing", 3)]
)
def test_masked_content(host: Any, fill: str, number: int) -> None:
    source = clip()
    run("inpaint", source, region=BOX, fill=fill)
    assert host.requests[0].inpainting_fill == number
    from sonoconvert.conversion.convert import encode

    drawn = encode(source.mono(), SPECTRUM).pixels
    start = np.asarray(host.requests[0].init_images[0])[: drawn.shape[0], : drawn.shape[1]]
    assert (start == drawn).all() == (fill == "original"), "only `original` shows what was there"


def test_outpainting_takes_a_prompt_for_each_side(host: Any) -> None:
    source = clip()
    (result,) = run(
        "outpaint", source, prompt="wind", left=0.5, right=0.75, left_prompt="train horn", right_prompt="dog"
    )
    assert [request.prompt for request in host.requests] == ["train horn", "dog"]
    assert result.clip.num_samples == source.num_samples + round(1.25 * RATE)
    kept = result.clip.waveform[:, RATE // 2 : RATE // 2 + source.num_samples]
    assert torch.equal(kept, source.waveform)


def test_loops_wrap_in_the_hosts_networks_and_put_them_back(host: Any) -> None:
    (result,) = run("loop", None, seconds=2.048)
    conv = host.shared.sd_model.model.diffusion_model
    assert host.padding == [(1, 0)] and conv.padding == (1, 1), "time was not wrapped, or not put back"
    assert not conv._forward_pre_hooks
    assert result.clip.num_samples == round(2.048 * RATE)


def test_variations_start_from_the_sound_and_count_seeds_up(host: Any) -> None:
    results = run("vary", clip(), strength=0.4, count=3)
    assert [request.seed for request in host.requests] == [5, 6, 7]
    assert all(request.denoising_strength == 0.4 for request in host.requests)
    assert [result.settings["seed"] for result in results] == [5, 6, 7]


def test_interpolation_mixes_seeds_and_prompts(host: Any) -> None:
    results = run("interpolate", prompt="rain", to_prompt="fire", to_seed=9, clips=3, seconds=1.0)
    assert len(results) == 4, "three and the joined one"
    first, middle, last = host.requests
    assert (first.prompt, first.seed) == ("rain", 5) and (last.prompt, last.seed) == ("fire", 9)
    assert middle.prompt == "rain :0.5000 AND fire :0.5000"
    assert (middle.subseed, middle.subseed_strength) == (9, 0.5)


def test_long_sounds_are_painted_in_windows_that_see_each_other(host: Any) -> None:
    run("vary", clip(14.0, 1), strength=0.9)
    width = SPECTRUM.width
    assert len(host.requests) > 2 and all(request.width == width for request in host.requests)
    assert len({request.seed for request in host.requests}) == len(host.requests)
    for request in host.requests[1:]:
        assert (np.asarray(request.mask)[:, : width // 4 - 8] == 0).all(), "the overlap is painted again"


def test_a_one_step_lora_goes_into_the_prompt(host: Any, tmp_path: Path) -> None:
    metadata = {"sonopaint.one_step": json.dumps({"timestep": 999})}
    metadata["sonopaint.format"] = json.dumps(SPECTRUM.to_dict())
    write_tensors(tmp_path / "Lora/rex.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, metadata)
    run("one-step", prompt="rex barks", student="rex", count=2, seconds=1.0, format="")
    assert [request.prompt for request in host.requests] == ["rex barks <lora:rex:1>"] * 2
    request = host.requests[0]
    assert (request.sampler_name, request.steps, request.cfg_scale) == ("Sonopaint one-step", 1, 1)
    above = {"sonopaint.on_student": json.dumps({"student": "rex", "timestep": 999})}
    write_tensors(tmp_path / "Lora/owl.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, above)
    run("one-step", prompt="an owl", student="owl", seconds=1.0)
    assert host.requests[-1].prompt == "an owl <lora:rex:1> <lora:owl:1>"  # its student comes along
    with pytest.raises(SonopaintError, match="no one-step file 'max'"):
        run("one-step", student="max")


def test_interrupt_keeps_what_is_there_and_skip_goes_on(host: Any) -> None:
    host.interrupt_at = 1
    assert len(run("vary", clip(), count=3)) == 1
    assert not host.shared.state.interrupted, "the next job would stop at once"
    host.requests.clear()
    host.interrupt_at, host.skip_at = None, 0
    assert [result.settings["seed"] for result in run("vary", clip(), count=2)] == [6]
    host.requests.clear()
    host.skip_at, host.interrupt_at = None, 0
    with pytest.raises(Cancelled):
        run("vary", clip())


def test_two_users_are_served_one_after_the_other(host: Any) -> None:
    failed: list[BaseException] = []

    def use() -> None:
        try:
            run("vary", clip(), count=2)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(host.requests) == 4 and host.most_at_once == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": None}, "No checkpoint is loaded"),
        ({"is_sdxl": True}, "is Stable Diffusion XL"),
        ({"sampler": "Fast"}, "no sampler 'Fast'"),
        ({"scheduler": "Odd"}, "no schedule 'Odd'"),
        ({"seconds": 0.01}, "too short"),
        ({"box": 9.0}, "outside the clip"),
    ],
)
def test_what_can_not_be_painted_is_said(host: Any, change: dict[str, Any], says: str) -> None:
    source, values = clip(), {"region": BOX}
    if "model" in change:
        host.shared.sd_model = None
    if "is_sdxl" in change:
        host.shared.sd_model.is_sdxl = True
    if "seconds" in change:
        source = clip(change["seconds"])
    if "box" in change:
        values = {"region": {"boxes": [{"start": change["box"], "end": 10.0}]}}
    values |= {name: change[name] for name in ("sampler", "scheduler") if name in change}
    with pytest.raises(SonopaintError, match=says):
        run("inpaint", source, **values)
    assert not host.requests and host.shared.state.job == ""


def test_the_format_is_the_loras_or_the_checkpoints(host: Any, tmp_path: Path) -> None:
    from sonopaint_webui.host import format_of

    perkins = {"sonopaint.format": json.dumps(get_format("perkins-10s").to_dict())}
    write_tensors(tmp_path / "Lora/horns.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, perkins)
    write_tensors(
        tmp_path / "random.safetensors",
        {"x": torch.ones(1)},
        {"sonopaint.format": json.dumps(SPECTRUM.to_dict())},
    )
    assert format_of("a <lora:horns:0.8> horn").name == "perkins-10s"
    assert format_of("a horn").name == MINI
    assert format_of("a horn", "full-48k").name == "full-48k"


def test_two_loras_of_different_formats_are_refused(host: Any, tmp_path: Path) -> None:
    """Also where one is in another prompt, or is the one-step file; the format that is named goes first."""
    for name in ("perkins-10s", MINI):
        metadata = {"sonopaint.format": json.dumps(get_format(name).to_dict())}
        metadata["sonopaint.one_step"] = json.dumps({"timestep": 999})
        write_tensors(tmp_path / f"Lora/{name}.safetensors", {"lora_unet_x.alpha": torch.ones(1)}, metadata)
    ten, mini = "a <lora:perkins-10s:0.8> horn", f"a <lora:{MINI}:1> dog"
    for action, values in (
        ("vary", {"prompt": f"{ten} {mini}"}),
        ("outpaint", {"prompt": ten, "left_prompt": mini, "left": 0.5}),
        ("interpolate", {"prompt": ten, "to_prompt": mini, "seconds": 0.6}),
        ("one-step", {"prompt": ten, "student": MINI, "seconds": 0.6}),
    ):
        source = clip() if action in ("vary", "outpaint") else None
        with pytest.raises(SonopaintError, match="use LoRAs of one format"):
            run(action, source, format="", **values)
    assert not host.requests
    (result,) = run("vary", clip(), format=MINI, prompt=f"{ten} {mini}")
    assert result.picture.format == SPECTRUM
    (result,) = run("vary", clip(), format="", prompt=f"a <lora:perkins-10s:0> horn {mini}")  # not used
    assert result.picture.format == SPECTRUM


def test_loras_are_found_by_the_hosts_alias_too(host: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from sonopaint_webui.host import format_of, lora_files

    perkins = {
        "sonopaint.format": json.dumps(get_format("perkins-10s").to_dict()),
        "ss_output_name": "Big horn",
    }
    file = tmp_path / "Lora/v2-final.safetensors"
    write_tensors(file, {"lora_unet_x.alpha": torch.ones(1)}, perkins)
    assert lora_files("a <lora:Big horn:0.8>") == lora_files("<lora:v2-final:1>") == [file]
    assert format_of("a <lora:Big horn:0.8> horn").name == "perkins-10s"
    assert lora_files("<lora:other:1>") == []
    # What the host's own list says comes first: a folder elsewhere, and names that two files share.
    elsewhere = SimpleNamespace(filename=str(tmp_path / "elsewhere.safetensors"))
    tables = SimpleNamespace(
        available_network_aliases={"Twice": elsewhere, "Far": elsewhere},
        available_networks={"Twice": SimpleNamespace(filename=str(file))},
        forbidden_network_aliases={"twice": 1},
    )
    monkeypatch.setitem(sys.modules, "networks", tables)
    assert lora_files("<lora:Far:1>") == [tmp_path / "elsewhere.safetensors"]
    assert lora_files("<lora:Twice:1>") == [file]
