"""The accordion "Sound": pictures of a run become sounds beside them, on the stand-in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import Picture, load_picture, picture_text

MINI = get_format("sonopaint-mini")
HERE = Path(__file__).resolve().parent


@pytest.fixture
def painting(webui: Any, host: Any) -> Any:
    """The stand-in with a model."""
    return webui


class Processing(SimpleNamespace):
    """What the host paints by; `comment` collects what is shown under the gallery."""

    def __init__(self, **values: Any) -> None:
        general = {"prompt": "train horn", "width": 64, "height": MINI.rows, "extra_generation_params": {}}
        super().__init__(said=[], **{**general, **values})

    def comment(self, text: str) -> None:
        self.said.append(text)


def image(seed: int = 0, columns: int = 64) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (MINI.rows, columns, 1), dtype=np.uint8)
    return Image.fromarray(np.repeat(noise, 3, axis=2))


def run(
    webui: Any, folder: Path, p: Processing, images: list[Image.Image], *arguments: Any, save: bool = True
) -> Any:
    """What the host does with the script in one run: masks and a grid are among its pictures, too."""
    script = webui.door.SoundScript()
    script.process(p, *arguments)
    before_saving = webui.script_callbacks.called["before_image_saved"][0]
    for number, one in enumerate(images):
        script.postprocess_image_after_composite(p, SimpleNamespace(image=one), *arguments)
        if save:
            params = SimpleNamespace(p=p, image=one, pnginfo={"parameters": "x"})
            before_saving(params)
            text = PngInfo()
            for key, value in params.pnginfo.items():
                text.add_text(key, value)
            folder.mkdir(exist_ok=True)
            one.already_saved_as = str(folder / f"{number:05}-7.png")
            one.save(one.already_saved_as, pnginfo=text)
    grid = SimpleNamespace(p=p, image=image(99), pnginfo={})
    before_saving(grid)
    assert not grid.pnginfo, "a grid is no spectrogram"
    processed = SimpleNamespace(
        images=[grid.image, *images], index_of_first_image=1, info="i", comments="", job_timestamp="2026",
        infotexts=["picture 0", *(f"picture {n}" for n in range(len(images)))], prompt=p.prompt,
        negative_prompt="", all_prompts=[p.prompt] * len(images), all_negative_prompts=[""] * len(images),
        all_seeds=list(range(7, 7 + len(images))), seed=7, steps=4, cfg_scale=7.0, sampler_name="Euler",
        sd_model_name="random", sd_model_hash="abc", extra_generation_params=p.extra_generation_params,
    )  # fmt: skip
    script.postprocess(p, processed, *arguments)
    return processed


def test_each_picture_of_a_batch_gets_a_sound_beside_it(painting: Any, tmp_path: Path) -> None:
    p = Processing()
    processed = run(painting, tmp_path / "o", p, [image(1), image(2)], True, "sonopaint-mini", "flac")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "00000-7.flac", "00000-7.png", "00001-7.flac", "00001-7.png",
    ]  # fmt: skip
    clip = read_clip(tmp_path / "o/00001-7.flac")
    assert clip.sample_rate == MINI.sample_rate
    assert clip.duration_s == pytest.approx(MINI.seconds(64), abs=0.01)
    assert clip.settings["prompt"] == "train horn" and clip.settings["seed"] == 8
    assert clip.settings["infotext"] == "picture 1"
    assert "sonopaint.format" in processed.images[1].info, "what the gallery and the API send"
    # The host's own PNG is a spectrogram that all of Sonopaint can read, and still has the host's text.
    assert load_picture(tmp_path / "o/00000-7.png").format == MINI
    with Image.open(tmp_path / "o/00000-7.png") as saved:
        assert saved.info["parameters"] == "x"
    assert p.extra_generation_params == {
        "Sound format": "sonopaint-mini", "Sound file": "flac", "Sound iterations": 16, "Sound decoder": True,
    }  # fmt: skip
    sounds = processed.extra_generation_params["Sonopaint sounds"]
    assert [Path(sound["file"]).name for sound in sounds] == ["00000-7.flac", "00001-7.flac"]


def test_the_page_shows_the_sounds_of_its_run_only(painting: Any, tmp_path: Path) -> None:
    from sonopaint_webui.sound_run import shown
    from sonopaint_webui.sound_ui import cards

    processed = run(
        painting, tmp_path / "o", Processing(), [image(1), image(2)], True, "sonopaint-mini", "wav"
    )
    info = {"job_timestamp": processed.job_timestamp, "infotexts": processed.infotexts}
    found = shown(json.dumps(info))
    assert [made.path.name for made in found] == ["00000-7.wav", "00001-7.wav"]
    page = cards(found)
    assert page.count("&quot;audio&quot;") == page.count("data:image/png") == 2 and "00001-7.wav" in page
    assert shown(json.dumps({**info, "job_timestamp": "2027"})) == []
    for broken in ("", "{", "[]", '{"job_timestamp": 1, "infotexts": null}'):
        assert shown(broken) == []


def test_switched_off_it_does_nothing(painting: Any, tmp_path: Path) -> None:
    p = Processing(enable_hr=True)
    processed = run(painting, tmp_path / "o", p, [image()], False, "sonopaint-mini", "wav")
    assert [path.suffix for path in (tmp_path / "o").iterdir()] == [".png"]
    assert p.enable_hr and not p.said and not p.extra_generation_params
    assert "Sonopaint sounds" not in processed.extra_generation_params


def test_the_high_res_fix_is_refused_with_a_reason(painting: Any, tmp_path: Path) -> None:
    p = Processing(enable_hr=True)
    run(painting, tmp_path / "o", p, [image()], True, "sonopaint-mini", "wav")
    assert not p.enable_hr and "high-res fix was left out" in p.said[0]
    assert (tmp_path / "o/00000-7.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((True, "riffusion-v1", "wav"), "128 pixels high, but riffusion-v1 has 512 rows"),
        ((True, "<b>", "wav"), "no spectrogram format '<b>'"),
        ((True, "sonopaint-mini", "../../x"), "no sound format '../../x'"),
        (("yes",), "not 'yes'"),
        ((True, {"a": 1}, "wav"), "no spectrogram format"),
    ],
)
def test_bad_arguments_make_no_sound_and_say_why(
    painting: Any, tmp_path: Path, arguments: tuple[Any, ...], said: str
) -> None:
    p = Processing()
    processed = run(painting, tmp_path / "o", p, [image()], *arguments)
    assert len(p.said) == 1 and said in p.said[0]
    assert processed.extra_generation_params["Sonopaint note"] == p.said[0], "for the API"
    assert [path.suffix for path in (tmp_path / "o").iterdir()] == [".png"]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("iterations", 10**9, "1000000000"), ("iterations", "many", "'many'"), ("learned", "yes", "decoder")],
)
def test_settings_that_a_request_overrides_are_checked(
    painting: Any, tmp_path: Path, setting: str, value: Any, said: str
) -> None:
    painting.shared.opts.data[f"sonopaint_{setting}"] = value
    p = Processing()
    run(painting, tmp_path / "o", p, [image()], True, "sonopaint-mini", "wav")
    assert len(p.said) == 1 and said in p.said[0]


def test_pictures_that_nobody_saves_sound_all_the_same(painting: Any, tmp_path: Path) -> None:
    processed = run(
        painting, tmp_path / "o", Processing(), [image()], True, "sonopaint-mini", "wav", save=False
    )
    [sound] = processed.extra_generation_params["Sonopaint sounds"]
    assert read_clip(sound["file"]).num_samples > 0 and not (tmp_path / "o").exists()


@pytest.mark.parametrize("kept", ["text", "pixels only"])
def test_img2img_keeps_the_format_and_the_level_of_a_picture_of_ours(
    painting: Any, tmp_path: Path, kept: str
) -> None:
    """A browser may hand the picture over without its text: then it is known by its pixels."""
    source = Picture(np.asarray(image(5)), MINI, peak=0.125)
    first = image(5)
    if kept == "text":
        first.info |= picture_text(source)
    else:
        from sonopaint_webui import sound_run

        made = sound_run.Made(tmp_path / "gone.wav", source, 1.0)
        sound_run.remember("2026", "elsewhere", made)
    p = Processing(init_images=[first])
    run(painting, tmp_path / "o", p, [image(6)], True, "From the checkpoint", "wav")
    assert not p.said
    painted = load_picture(tmp_path / "o/00000-7.png")
    assert painted.format == MINI and painted.peak == 0.125
    loud = dataclasses.replace(source, peak=1.0)
    louder = Processing(init_images=[image(5)])
    louder.init_images[0].info |= picture_text(loud)
    run(painting, tmp_path / "l", louder, [image(6)], True, "From the checkpoint", "wav")
    ratio = (
        read_clip(tmp_path / "l/00000-7.wav").waveform.abs().max()
        / read_clip(tmp_path / "o/00000-7.wav").waveform.abs().max()
    )
    assert ratio > 2  # 8, where nothing clips


def test_a_resized_source_is_named(painting: Any, tmp_path: Path) -> None:
    first = image(5, columns=60)
    first.info |= picture_text(Picture(np.asarray(first), MINI, peak=0.1))
    p = Processing(init_images=[first])
    run(painting, tmp_path / "o", p, [image(6)], True, "sonopaint-mini", "wav")
    assert "from 60 to 64 columns" in p.said[0]


def test_an_interruption_while_sounds_are_made_stops_them(painting: Any, tmp_path: Path) -> None:
    """In the middle of one, too: the search for a long sound's phases takes minutes."""
    values = {**vars(painting.shared.state)}
    del values["interrupted"]

    class Interrupting(SimpleNamespace):
        asked = 0  # while the second sound is made

        @property
        def interrupted(self) -> bool:
            Interrupting.asked += self.textinfo == "Sound 2 of 3"
            return Interrupting.asked > 3

    painting.shared.state = Interrupting(**values)
    import sonopaint_webui.sound_run

    assert sonopaint_webui.sound_run.shared is painting.shared
    images = [image(1), image(2), image(3)]
    processed = run(painting, tmp_path / "o", Processing(), images, True, "sonopaint-mini", "wav")
    assert len(list((tmp_path / "o").glob("*.wav"))) == 1
    assert Interrupting.asked == 4, "it went on"
    assert "2 pictures have no sound" in processed.comments


def test_the_controls_are_wired_and_infotexts_come_back(painting: Any) -> None:
    import gradio as gr

    script = painting.door.SoundScript()
    with gr.Blocks() as page:
        for part in ("width", "height", "prompt"):
            component = gr.Textbox() if part == "prompt" else gr.Slider(64, 2048)
            script.after[f"txt2img_{part}"](SimpleNamespace(component=component))
        made = script.ui(False)
        script.before["html_info_txt2img"](SimpleNamespace(component=None))
        script.after["generation_info_txt2img"](SimpleNamespace(component=gr.Textbox()))
    assert [one.elem_id.rpartition("_")[2] for one in made] == ["enabled", "format", "format"]
    assert len(page.fns) >= 6
    (_, enabled), (_, format), (_, audio) = script.infotext_fields
    assert enabled({"Sound format": "x"}) and not enabled({"Steps": "1"})
    assert [enabled, format, audio] == script.paste_field_names, "Send to img2img would leave them behind"
    pasted = {"Sound format": "perkins-10s", "Sound file": "flac"}
    assert (format(pasted), audio(pasted)) == ("perkins-10s", "flac")
    for hostile in ("<img src=x>", "", None, "../../x", ["wav"]):
        assert format({"Sound format": hostile}) is audio({"Sound file": hostile}) is None


def test_the_note_tells_seconds_and_the_right_size(painting: Any, tmp_path: Path) -> None:
    from sonopaint_webui import sound_ui

    assert "5.12 s" in sound_ui.describe(320, 128, "sonopaint-mini", "")
    assert "must be 512, not 448" in sound_ui.describe(512, 448, "riffusion-v1", "")
    assert sound_ui.size(64, 64, "perkins-10s", "") == [512, 512]
    checkpoint = SimpleNamespace(filename=str(tmp_path / "riffusion-model-v1.safetensors"))
    import modules.sd_models

    modules.sd_models.select_checkpoint = lambda: checkpoint
    assert "riffusion-v1" in sound_ui.describe(512, 512, "From the checkpoint", "")
    modules.sd_models.select_checkpoint = lambda: None
    assert "no checkpoint yet" in sound_ui.describe(512, 512, "From the checkpoint", "")
