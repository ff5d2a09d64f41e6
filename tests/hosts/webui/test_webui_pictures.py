"""txt2img, img2img, the sampler and PNG info of real hosts, over their own API."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sonoconvert.files.clip import read_clip

pytestmark = pytest.mark.host

ON = {"alwayson_scripts": {"sonopaint": {"args": [True, "From the checkpoint", "flac"]}}}
ONE_STEP = "Sonopaint one-step"


def test_the_extension_loads_without_a_warning(started: tuple[Any, str]) -> None:
    host, said = started
    ours = [line for line in said.splitlines() if "onopaint" in line and "--data-dir" not in line]
    assert "Traceback" not in said and not ours, said[-3000:]
    record = host.get("/internal/profile-startup")["records"]
    assert any("sonopaint" in name for name in record), record


def test_a_picture_becomes_a_sound_beside_it(host: Any, read: Any) -> None:
    answer = host.paint(**ON, save_images=True, batch_size=2)
    sounds = answer["info"]["extra_generation_params"]["Sonopaint sounds"]
    pictures = answer["images"][answer["info"]["index_of_first_image"] :]  # after the grid
    assert len(sounds) == 2 == len(pictures), answer["info"]
    for number, (made, sent) in enumerate(zip(sounds, pictures, strict=True)):
        wave, rate = read.sound(host.get(made["url"]))
        assert rate == 32_000 and len(wave) == 320 * 512, "512 samples to a column of sonopaint-mini"
        path = Path(made["file"])
        assert path.suffix == ".flac" and path.with_suffix(".png").is_file()
        assert read_clip(path).settings["seed"] == 5 + number
        picture = read.image(sent)
        assert "sonopaint.format" in picture.text and "Sound format" in picture.text["parameters"]


def test_without_sound_pictures_are_what_they_were(host: Any, pictures_without: Any, read: Any) -> None:
    off = host.paint()
    on = host.paint(**ON)
    assert (read.pixels(off["images"][0]) == pictures_without).all()
    assert (read.pixels(on["images"][0]) == pictures_without).all(), "Sound only listens"
    assert "Sonopaint sounds" not in off["info"]["extra_generation_params"]
    assert "onopaint" not in str(read.image(off["images"][0]).text)


def test_sizes_that_can_not_sound_are_told(host: Any) -> None:
    answer = host.paint(**ON, height=64)
    assert len(answer["images"]) == 1
    said = answer["info"]["extra_generation_params"]
    assert "128 rows" in said["Sonopaint note"] and "Sonopaint sounds" not in said


def test_the_sampler_is_in_the_list_and_paints(host: Any, read: Any) -> None:
    assert ONE_STEP in [one["name"] for one in host.get("/sdapi/v1/samplers")]
    host.post("/sdapi/v1/refresh-loras")
    body = {"sampler_name": ONE_STEP, "prompt": "train horn <lora:student:1>"}
    answer = host.paint(**body, **ON, steps=20, cfg_scale=7)
    assert f"Sampler: {ONE_STEP}" in answer["info"]["infotexts"][0]
    assert "Steps: 1," in answer["info"]["infotexts"][0]
    picture = read.pixels(answer["images"][0])
    if not read.pixels(host.paint()["images"][0]).any():
        pytest.xfail("this host's own samplers, too, make black pictures of the random checkpoint")
    assert picture.std() > 1, "not one colour"
    again = host.post(
        "/sdapi/v1/img2img", **body, init_images=answer["images"], denoising_strength=0.5, steps=4,
        width=320, height=128, seed=5, cfg_scale=1,
    )  # fmt: skip
    assert (read.pixels(again["images"][0]) != picture).any()


def test_the_sampler_refuses_other_models(host: Any) -> None:
    status, answer = host.send(
        "/sdapi/v1/txt2img", {"sampler_name": ONE_STEP, "prompt": "x", "width": 64, "height": 64}
    )
    assert status == 422 and "needs many steps" in str(answer)
    assert len(host.paint()["images"]) == 1, "the host goes on"


def test_png_info_reads_what_txt2img_wrote(host: Any, read: Any) -> None:
    sent = host.paint(**ON)["images"][0]
    info = host.post("/sdapi/v1/png-info", image="data:image/png;base64," + sent)
    assert info["parameters"]["Sound format"] == "From the checkpoint"
    assert info["parameters"]["Sound file"] == "flac"
    assert "sonopaint.format" in info["items"], "it is still a spectrogram"


def test_our_picture_keeps_its_format_in_img2img(host: Any, clip: Path, read: Any) -> None:
    sound = base64.b64encode(clip.read_bytes()).decode()
    drawn = host.post("/sonopaint/v1/audio-to-image", audio=sound, format="sonopaint-mini")["image"]
    width = read.image(drawn).width // 64 * 64
    answer = host.post(
        "/sdapi/v1/img2img", **ON, init_images=[drawn], prompt="", denoising_strength=0.1, steps=10,
        width=width, height=128, seed=5, cfg_scale=1, sampler_name="Euler",
    )  # fmt: skip
    sounds = json.loads(answer["info"])["extra_generation_params"]["Sonopaint sounds"]
    wave, rate = read.sound(host.get(sounds[0]["url"]))
    assert rate == 32_000 and np.abs(wave).max() > 0.01
