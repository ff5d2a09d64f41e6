"""What the nodes promise: contracts, round trips, and every sample kept that is not painted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.defaults import FEATHER_S, FORMAT, JOIN_S, OVERLAP_S, SEAM_S
from sonoconvert.edits.loudness import lufs
from sonoconvert.edits.region import Box
from sonoconvert.errors import SonopaintError
from sonopaint.tasks.settings import CLIPS, EXTEND_S


def test_every_node_is_described(pack: Any) -> None:
    assert len(pack.nodes) >= 20
    for name, node in pack.nodes.items():
        schema = node.define_schema()
        assert name.startswith("Sonopaint") and schema.category.startswith("audio/sonopaint")
        assert schema.display_name and schema.description.endswith(".") and schema.search_aliases
        assert schema.outputs
        for one in schema.inputs:
            sockets = ("MODEL", "VAE", "CLIP", "AUDIO", "LATENT", "CONDITIONING")
            assert "tooltip" in one.options or one.io_type in sockets, f"{name}.{one.id} has no tooltip"
            if one.io_type in ("INT", "FLOAT"):
                assert one.options["min"] <= one.default <= one.options["max"], f"{name}.{one.id}"
            if one.io_type == "COMBO" and "default" in one.options:
                assert one.default in one.options["options"], f"{name}.{one.id}"


def test_defaults_are_those_of_every_door(pack: Any) -> None:
    def default(node: str, name: str) -> Any:
        return next(one.default for one in pack.nodes[node].define_schema().inputs if one.id == name)

    assert default("SonopaintRegion", "feather") == FEATHER_S
    assert default("SonopaintLoopCanvas", "seam") == SEAM_S
    assert default("SonopaintFormat", "preset") == FORMAT
    assert default("SonopaintJoin", "overlap") == JOIN_S
    assert default("SonopaintInterpolation", "steps") == CLIPS
    extend = [default("SonopaintExtendCanvas", name) for name in ("left", "right", "overlap")]
    assert extend == [0, EXTEND_S, OVERLAP_S]


# Ids, inputs and outputs are stored in people's workflows: they are added to, never renamed or reordered.
STABLE = {
    "SonopaintFormat": "preset channels curve mel_scale mel_norm inverted sample_rate n_fft win_length "
    "hop_length n_mels f_min f_max floor_db exponent width model",
    "SonopaintEmptySpectrogram": "format seconds batch_size loop",
    "SonopaintAudioToSpectrogram": "audio format fill_up",
    "SonopaintSpectrogramToAudio": "image format decoder quality seed",
    "SonopaintRegion": "boxes feather invert drawing audio mask format",
    "SonopaintInpaintCanvas": "audio region format start_from",
    "SonopaintExtendCanvas": "audio format left right overlap",
    "SonopaintLoopCanvas": "audio format seam",
    "SonopaintVariation": "audio format",
    "SonopaintPutBack": "image context quality seed surroundings",
    "SonopaintLoadMini": "model format",
    "SonopaintLoop": "model vae format",
    "SonopaintLongAudio": "model vae format",
    "SonopaintInterpolation": "prompt_a prompt_b latent seed_a seed_b steps",
    "SonopaintJoin": "image format overlap",
    "SonopaintLoadOneStep": "model clip lora strength",
    "SonopaintOneStepSampler": "model timestep steps denoise",
    "SonopaintOneStep": "model prompt latent seed timestep steps denoise",
    "SonopaintPlot": "audio image format region width height dark",
    "SonopaintEnvelope": "audio format scale normalize",
    "SonopaintSaveAudio": "audio filename_prefix format",
    "SonopaintLoadAudio": "audio sample_rate channels start duration",
    "SonopaintExampleSound": "sound",
    "SonopaintLatentMask": "samples audio region positive negative",
    "SonopaintLengthen": "audio left right feather",
    "SonopaintPutBackAudio": "recording audio region level format",
    "SonopaintLoudness": "audio target",
    "SonopaintHeal": "audio method steps seed region format",
    "SonopaintPreviewAudio": "audio",
    "SonopaintCurvesFromSound": "audio loudness pitch brightness onsets",
    "SonopaintCurvesFromFile": "file",
    "SonopaintDrawCurves": "seconds shape loudness pitch brightness onsets lanes curves",
    "SonopaintApplyCurves": "model curves format",
    "SonopaintBringToCurves": "audio curves loudness pitch brightness",
    "SonopaintPlotCurves": "curves audio width",
    "SonopaintMatchSound": "audio synth steps seed colour",
    "SonopaintPlaySynth": "synth match seconds seed colour",
    "SonopaintBlockPrompts": "model down up",
    "SonopaintBlendSounds": "coarse coarse_weight mid_weight fine_weight seconds count seed mid fine",
    "SonopaintChooseVariations": "reference candidates count keep_loudness keep_onset keep_envelope "
    "keep_pitch choose",
}


def test_workflows_of_earlier_versions_still_fit(pack: Any) -> None:
    for name, inputs in STABLE.items():
        now = [one.id for one in pack.nodes[name].define_schema().inputs]
        assert now[: len(inputs.split())] == inputs.split(), name


def test_a_format_asks_for_its_preset_only(pack: Any) -> None:
    inputs = pack.nodes["SonopaintFormat"].define_schema().inputs
    assert [one.id for one in inputs if not one.optional] == ["preset"]
    made = pack.nodes["SonopaintFormat"].execute(preset="riffusion-v1")
    assert made[0].format.name == "riffusion-v1"


def test_boxes_are_read_before_anything_runs(pack: Any) -> None:
    check = pack.nodes["SonopaintRegion"].validate_inputs
    assert check(boxes="1.0:2.5,200:4000\n3:") is True and check(boxes="") is True
    assert check(boxes=["7", 0]) is True  # text from another node is not known yet
    assert "1.5 to 2" in check(boxes="1:2; 1.5 to 2") and "reversed" in check(boxes="2:1")


def test_two_far_boxes_are_two_pictures(run: Any, audio: Any, mini: Any) -> None:
    """Two boxes of 0.3 s, 12 s apart, are two pictures of the model's width, not one of 12 s."""
    sound = audio(16.0)
    region = run("SonopaintRegion", boxes="1.0:1.3\n13.0:13.3")[0]
    image, mask, context = run("SonopaintInpaintCanvas", audio=sound, region=region, format=mini).args
    width = mini.format.width
    assert image.shape == (2, 128, width, 3) and mask.shape == (2, 128, width)
    for (start, _), own in zip(context.spans, mask, strict=True):
        seconds = (start + own.any(dim=0).nonzero()[[0, -1], 0]) * 512 / 32_000
        assert any(a - 0.15 < seconds[0] and seconds[1] < b + 0.15 for a, b in ((1, 1.3), (13, 13.3)))
    random = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    result = run("SonopaintPutBack", image=random, context=context, quality="fast")[0]["waveform"]
    changed = (result != sound["waveform"])[0, 0]
    assert changed[:30_000].sum() == changed[45_000:412_000].sum() == changed[430_000:].sum() == 0
    assert changed[32_000:41_600].any() and changed[416_000:425_600].any()

    three = torch.cat([random, random.flip(2), random])  # three paintings of both parts
    several = run("SonopaintPutBack", image=three, context=context, quality="fast")[0]["waveform"]
    assert several.shape[0] == 3 and not torch.equal(several[0], several[1])
    with pytest.raises(SonopaintError, match="painted in 2 parts, but 3 pictures"):
        run("SonopaintPutBack", image=three[:3], context=context)


def test_near_boxes_are_one_picture(run: Any, audio: Any, mini: Any) -> None:
    region = run("SonopaintRegion", boxes="0.5:1\n3:4")[0]
    image, *_ = run("SonopaintInpaintCanvas", audio=audio(5.12), region=region, format=mini).args
    assert image.shape[0] == 1


def test_a_format_is_a_preset_with_changes(run: Any) -> None:
    assert run("SonopaintFormat", preset="riffusion-v1")[0].format.name == "riffusion-v1"
    assert run("SonopaintFormat", preset="riffusion-v1", channels="stereo")[0].format.name == (
        "riffusion-v1-stereo"
    )
    changed = run("SonopaintFormat", n_mels=256, f_min=0.0, floor_db=-60.0)[0].format
    assert (changed.name, changed.n_mels, changed.f_min, changed.floor_db) == ("custom", 256, 0.0, -60.0)
    with pytest.raises(SonopaintError, match="f_max"):
        run("SonopaintFormat", f_max=20_000.0)


@pytest.mark.parametrize(
    ("rate", "channels", "preset"), [(32_000, 1, "sonopaint-mini"), (44_100, 2, "riffusion-v1-stereo")]
)
def test_there_and_back_keeps_length_level_and_tones(
    run: Any, audio: Any, rate: int, channels: int, preset: str
) -> None:
    form = run("SonopaintFormat", preset=preset)[0]
    sound = audio(1.3, rate, channels, batch=2)
    image, info = run("SonopaintAudioToSpectrogram", audio=sound, format=form).args
    assert image.shape[0] == 2 and image.shape[2] % 64 == 0 and 0 <= image.min() and image.max() <= 1
    back = run("SonopaintSpectrogramToAudio", image=image, format=info)[0]
    assert back["sample_rate"] == form.format.sample_rate
    assert back["waveform"].shape == (2, channels, round(1.3 * form.format.sample_rate))
    for before, after in zip(sound["waveform"], back["waveform"], strict=True):
        # Steady tones come back a little quieter (see test_edit.py).
        assert 0.75 < float(after.square().mean().sqrt() / before.square().mean().sqrt()) < 1.1
        spectrum = np.abs(np.fft.rfft(after[0].numpy() * np.hanning(after.shape[1])))
        loudest = np.argmax(spectrum) * back["sample_rate"] / after.shape[1]
        expected = np.abs(np.fft.rfft(before[0].numpy() * np.hanning(before.shape[1])))
        tones = np.flatnonzero(expected > 0.5 * expected.max()) * rate / before.shape[1]
        assert np.abs(tones - loudest).min() < 8


def test_an_empty_spectrogram_has_the_models_size_and_the_sounds_length(run: Any, mini: Any) -> None:
    latent, info = run("SonopaintEmptySpectrogram", format=mini, batch_size=3).args
    assert latent["samples"].shape == (3, 4, 16, 40) and info.num_samples == 163_840
    latent, info = run("SonopaintEmptySpectrogram", format=mini, seconds=6.0).args
    assert latent["samples"].shape[-1] * 8 == 384
    picture = torch.rand(1, 128, 384, 3)
    sound = run("SonopaintSpectrogramToAudio", image=picture, format=info, quality="fast")[0]
    assert sound["waveform"].shape == (1, 1, 192_000)
    assert float(sound["waveform"].abs().max()) == pytest.approx(10 ** (-1 / 20), abs=1e-4)


def test_a_loop_has_the_seconds_asked_for_and_no_seam(run: Any, mini: Any) -> None:
    latent, info = run("SonopaintEmptySpectrogram", format=mini, seconds=1.5, loop=True).args
    width = latent["samples"].shape[-1] * 8
    assert width % 64 == 0
    time = torch.arange(width)
    picture = torch.zeros(1, 128, width, 3)
    picture[0, 60] = 0.9  # a steady tone, the same at both ends
    picture[0, 30] = (0.5 + 0.4 * torch.cos(2 * torch.pi * time / width))[:, None]
    sound = run("SonopaintSpectrogramToAudio", image=picture, format=info)[0]["waveform"][0, 0]
    assert len(sound) == 48_000
    assert float((sound[0] - sound[-1]).abs()) <= float(sound.diff().abs().max())


def canvas_inputs(kind: str) -> dict[str, Any]:
    return {
        "SonopaintExtendCanvas": {"left": 0.5, "right": 0.25},
        "SonopaintLoopCanvas": {"seam": 0.4},
    }.get(kind, {})


def test_what_is_not_painted_stays_bit_for_bit(run: Any, audio: Any, mini: Any) -> None:
    sound = audio(3.0, 44_100, channels=2)
    region = run("SonopaintRegion", boxes="1.0:1.5,200:4000", feather=0.1)[0]
    image, mask, context = run("SonopaintInpaintCanvas", audio=sound, region=region, format=mini).args
    assert image.shape[:3] == mask.shape and image.shape[2] % 64 == 0
    cells = torch.nn.functional.interpolate(mask[:, None], scale_factor=1 / 8, mode="bilinear")
    assert set(cells.unique().tolist()) == {0.0, 1.0}  # on the latents' grid, so scaling it down is exact
    painted = torch.where(mask[..., None] > 0, torch.rand_like(image), image)
    result = run("SonopaintPutBack", image=painted, context=context, quality="fast")[0]
    before, after = sound["waveform"], result["waveform"]
    assert result["sample_rate"] == 44_100 and after.shape == before.shape
    first, last = round(0.9 * 44_100), round(1.6 * 44_100)
    assert torch.equal(after[..., :first], before[..., :first])
    assert torch.equal(after[..., last:], before[..., last:])
    assert float((after - before)[..., first:last].abs().max()) > 0.01


def test_a_model_that_knows_events_first_sees_the_region_first(run: Any, audio: Any, mini: Any) -> None:
    """Its picture begins just before the region and is as wide as the model's; what is silent is said."""
    sound, first = audio(6.0), dataclasses.replace(mini, lead=24)
    region = run("SonopaintRegion", boxes="4.0:5.0", feather=0.05)[0]
    image, mask, context = run("SonopaintInpaintCanvas", audio=sound, region=region, format=first).args
    assert image.shape[1:3] == (128, 320) == mask.shape[1:]
    assert context.spans == ((round(4.0 / 0.016) - 24, round(6.0 / 0.016)),)
    assert not mask[0, :, :24].any() and mask[0, :, 24:80].all()
    assert mask[0, :, 157:].all()  # after the recording's end all is free
    painted = torch.where(mask[..., None] > 0, torch.zeros_like(image), image)
    answer = run("SonopaintPutBack", image=painted, context=context, quality="fast")
    assert "Nothing can be heard" in answer.ui["text"][0]
    assert torch.equal(answer[0]["waveform"][..., : round(3.95 * 32_000)], sound["waveform"][..., :126_400])
    loud = torch.where(mask[..., None] > 0, torch.full_like(image, 0.9), image)
    assert run("SonopaintPutBack", image=loud, context=context, quality="fast").ui is None


def test_extending_keeps_every_sample(run: Any, audio: Any, mini: Any) -> None:
    sound = audio(1.0)
    image, mask, context = run("SonopaintExtendCanvas", audio=sound, format=mini, left=0.5, right=0.25).args
    result = run("SonopaintPutBack", image=torch.rand_like(image), context=context, quality="fast")[0]
    assert result["waveform"].shape[-1] == 32_000 + 16_000 + 8_000
    assert torch.equal(result["waveform"][..., 16_000:48_000], sound["waveform"])


@pytest.mark.parametrize("kind", ["SonopaintExtendCanvas", "SonopaintLoopCanvas", "SonopaintVariation"])
def test_batches_go_through_every_canvas(run: Any, audio: Any, mini: Any, kind: str) -> None:
    sound = audio(1.0, batch=2)
    image, mask, context = run(kind, audio=sound, format=mini, **canvas_inputs(kind)).args
    assert image.shape[0] == mask.shape[0] == len(context.canvases) == 2
    assert run("SonopaintPutBack", image=image, context=context, quality="fast")[0]["waveform"].shape[0] == 2


def test_many_variations_of_one_recording(run: Any, audio: Any, mini: Any) -> None:
    image, _, context = run("SonopaintVariation", audio=audio(1.0), format=mini).args
    several = torch.cat([image, image.roll(8, 2), image.flip(2)])
    sounds = run("SonopaintPutBack", image=several, context=context, quality="fast")[0]["waveform"]
    assert sounds.shape == (3, 1, 32_000) and not torch.equal(sounds[0], sounds[1])


def test_regions_from_text_drawing_and_mask(run: Any, audio: Any, mini: Any) -> None:
    drawn = json.dumps({"boxes": [{"start": 2, "end": 3, "low": None, "high": 500}], "brush": ""})
    mask = torch.zeros(1, 128, 64)
    mask[0, :, 10:20] = 1
    out = run(
        "SonopaintRegion", boxes="0:1\n1.5:,200:", drawing=drawn, mask=mask, audio=audio(4.0), invert=True
    )
    region = out[0]
    assert region.boxes == (Box(0, 1), Box(1.5, None, 200), Box(2, 3, None, 500))
    assert region.inverted and region.brush.sum() == 128 * 10
    [view] = out.ui["sonopaint"]
    assert view["duration"] == pytest.approx(4.0) and len(view["edges"]) == 129
    assert view["view"]["filename"].endswith(".png") and view["audio"]["type"] == "temp"
    assert len(json.dumps(out.ui)) < 3000  # ComfyUI keeps it in its history


def test_a_mask_painted_on_a_filled_up_spectrogram_ends_with_the_sound(
    run: Any, audio: Any, mini: Any
) -> None:
    image, info = run("SonopaintAudioToSpectrogram", audio=audio(1.2), format=mini).args
    mask = torch.zeros(1, 128, image.shape[2])
    mask[0, :, 37:39] = 1  # 0.6 s, the middle of the sound but not of the picture
    [span] = run("SonopaintRegion", mask=mask, format=info)[0].spans(1.2)
    assert span == (pytest.approx(0.592, abs=0.01), pytest.approx(0.624, abs=0.01))


def test_nodes_page_and_help_are_up_to_date(repository: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "docs/make_nodes_page.py", "--check"], cwd=repository, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_time_of_a_region_masks_any_audio_models_latents(run: Any, audio: Any) -> None:
    region = run("SonopaintRegion", boxes="2:3,500:2000", feather=0.0)[0]
    for shape in ((1, 64, 100), (1, 8, 16, 100)):  # as ACE-Step 1.5's, and with rows as ACE-Step 1's
        latent = {"samples": torch.ones(shape), "type": "audio"}
        text = [[torch.zeros(1, 7, 8), {"seconds_total": 4}]]
        masked, positive, negative = run(
            "SonopaintLatentMask", samples=latent, audio=audio(4.0), region=region, positive=text
        ).args
        mask = masked["noise_mask"]
        assert mask.shape == (1, 1, *shape[2:]) and masked["type"] == "audio" and negative is None
        assert mask[..., 50:75].all() and not mask[..., :50].any() and not mask[..., 75:].any()
        seen = positive[0][1]
        assert seen["seconds_total"] == 4 and torch.equal(seen["concat_mask"], mask)
        assert torch.equal(seen["concat_latent_image"], (1 - mask).expand(shape))
    # Stable Audio 3 fills 5.12 s up to 56 frames of 4096 samples.
    latent = {"samples": torch.ones(1, 256, 56)}
    masked = run("SonopaintLatentMask", samples=latent, audio=audio(5.12), region=region)[0]["noise_mask"]
    assert masked[0, 0].nonzero()[:, 0].tolist() == list(range(21, 33))
    with pytest.raises(SonopaintError, match="lies outside the recording, which lasts 1.00 s"):
        run("SonopaintLatentMask", samples=latent, audio=audio(1.0), region=region)


def test_any_models_sound_goes_into_the_recording(run: Any, audio: Any) -> None:
    old, new = audio(2.0, 44_100, channels=2), audio(2.0, 48_000, batch=3)
    region = run("SonopaintRegion", boxes="0.5:1.0", feather=0.05)[0]
    made = run("SonopaintPutBackAudio", recording=old, audio=new, region=region)[0]
    assert made["waveform"].shape == (3, 2, 88_200) and made["sample_rate"] == 44_100
    for sound in made["waveform"]:
        assert torch.equal(sound[:, :19_800], old["waveform"][0, :, :19_800])
        assert torch.equal(sound[:, 46_400:], old["waveform"][0, :, 46_400:])
        assert not torch.equal(sound, old["waveform"][0])


def test_a_recording_is_lengthened_for_any_model(run: Any, audio: Any) -> None:
    old = audio(1.0, 44_100, channels=2)
    longer, region = run("SonopaintLengthen", audio=old, left=0.5, right=1.0).args
    assert longer["waveform"].shape == (1, 2, 110_250)
    assert torch.equal(longer["waveform"][..., 22_050:66_150], old["waveform"])
    assert region.spans(2.5) == [(0.0, 0.5), (1.5, 2.5)]
    with pytest.raises(SonopaintError, match="Nothing is added"):
        run("SonopaintLengthen", audio=old, left=0.0, right=0.0)


def test_loudness_is_measured_and_set(run: Any, audio: Any) -> None:
    sound, had = run("SonopaintLoudness", audio=audio(2.0), target=-23.0).args
    assert had > -23
    assert run("SonopaintLoudness", audio=sound)[1] == pytest.approx(-23.0, abs=0.01)


def test_what_is_marked_is_healed_and_clicks_are_found(run: Any, audio: Any) -> None:
    sound = audio(2.0, 32_000)
    region = run("SonopaintRegion", boxes="0.5:0.6")[0]
    made, done = run("SonopaintHeal", audio=sound, method="continue", region=region).args
    changed = (made["waveform"] != sound["waveform"])[0, 0].nonzero()[:, 0]
    assert changed.min() >= 16_000 and changed.max() < 19_200 and len(changed) > 3000
    assert done == "0.5:0.6 by continue"
    clicked = {**sound, "waveform": sound["waveform"].clone()}
    clicked["waveform"][..., 40_000:40_008] += 3 * sound["waveform"].abs().max()
    made, done = run("SonopaintHeal", audio=clicked).args
    assert done.endswith("by interpolate")
    apart = (made["waveform"] - sound["waveform"])[..., 39_900:40_100].abs().max()
    assert apart < 0.2 * sound["waveform"].abs().max()
    assert run("SonopaintHeal", audio=sound)[1] == "no click and no dropout was found"


def test_of_many_variations_the_good_ones_are_chosen(run: Any, audio: Any) -> None:
    sound = audio(0.6, 32_000)
    reference, many = sound["waveform"], []
    time = torch.arange(reference.shape[-1]) / 32_000
    for index in range(6):
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn(reference.shape, generator=generator)
        many.append(0.3 * (reference + 0.05 * (index + 1) * noise * torch.exp(-4 * time)))
    many += [0 * reference, reference, many[0]]  # silent, a copy of the reference, a copy of another
    given = {"reference": sound, "candidates": {**sound, "waveform": torch.cat(many)}}
    made, figures = run("SonopaintChooseVariations", **given, count=3).args
    assert made["waveform"].shape == (3, *reference.shape[1:]) and made["sample_rate"] == 32_000
    used = [int(line.split("candidate ")[1].split(",")[0]) for line in figures.splitlines()[:3]]
    assert not {7, 8, 9} & set(used) and len(set(used)) == 3
    assert "left out of 9: 1 silent, 1 a copy of the reference, 1 a copy of another" in figures
    for one in made["waveform"]:
        assert lufs(one, 32_000) == pytest.approx(lufs(reference[0], 32_000), abs=0.1)
    first, said = run("SonopaintChooseVariations", **given, count=9, choose=False).args
    assert len(first["waveform"]) == 9 and "candidate 7, likeness 0.000, silent" in said
    given["candidates"] = {**sound, "waveform": torch.cat([many[6]] * 2)}
    with pytest.raises(SonopaintError, match=r"None of the 2 candidates .*2 silent"):
        run("SonopaintChooseVariations", **given)


def test_translations_name_what_there_is(pack: Any, repository: Path) -> None:
    translated = json.loads((repository / "locales/de/nodeDefs.json").read_text(encoding="utf-8"))
    assert not set(pack.nodes) - set(translated), "nodes without a German name"
    for name, texts in translated.items():
        schema = pack.nodes[name].define_schema()
        assert texts["display_name"] and texts["description"]
        assert set(texts["inputs"]) <= {one.id for one in schema.inputs}, name
        assert all(int(place) < len(schema.outputs) for place in texts.get("outputs", {})), name


def test_blueprints_name_inputs_that_exist(pack: Any, repository: Path) -> None:
    files = sorted((repository / "subgraphs").glob("*.json"))
    assert [path.stem for path in files] == ["Extend", "Loop", "Repaint", "Vary"]
    for path in files:
        [subgraph] = json.loads(path.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
        ids = {link["id"] for link in subgraph["links"]}
        for one in (*subgraph["inputs"], *subgraph["outputs"]):
            assert one["linkIds"] and set(one["linkIds"]) <= ids
        for node in subgraph["nodes"]:
            if node["type"] in pack.nodes:
                known = {one.id: one.io_type for one in pack.nodes[node["type"]].define_schema().inputs}
                assert all(known[slot["name"]] == slot["type"] for slot in node["inputs"]), node["type"]


def test_curves_are_measured_drawn_and_plotted(run: Any, audio: Any) -> None:
    sound = audio(2.0, 32_000)
    curves = run("SonopaintCurvesFromSound", audio=sound, brightness=False)[0]
    assert curves.names == ("loudness", "pitch") and curves.duration_s == pytest.approx(2.0, abs=0.02)
    drawn = run("SonopaintDrawCurves", seconds=2.0, loudness="0:-60 1:0 2:-60", pitch="0:A3", curves=curves)[
        0
    ]
    assert drawn.values["pitch"][20] == pytest.approx(220) and drawn.values["loudness"].argmax() == 62
    lanes = json.dumps({"rate": 62.5, "values": {"onsets": [0, 1, 0]}})
    assert "onsets" in run("SonopaintDrawCurves", seconds=2.0, shape="swell", lanes=lanes)[0].names
    image = run("SonopaintPlotCurves", curves=drawn, audio=sound)[0]
    assert image.shape[0] == 1 and image.shape[3] == 3 and 0 <= float(image.min()) < float(image.max()) <= 1
    with pytest.raises(SonopaintError, match="no curves"):
        run("SonopaintDrawCurves", seconds=2.0)
    with pytest.raises(SonopaintError, match="No curve is switched on"):
        run("SonopaintCurvesFromSound", audio=sound, loudness=False, pitch=False, brightness=False)


def test_any_sound_is_brought_to_curves(run: Any) -> None:
    time = torch.arange(3 * 32_000) / 32_000
    tone = sum(torch.sin(2 * torch.pi * 392 * k * time) / k for k in (1, 2, 3, 4)) * 0.2
    sound = {"waveform": tone[None, None].float(), "sample_rate": 32_000}
    curves = run("SonopaintDrawCurves", seconds=3.0, loudness="0:-50 1.5:0 3:-50", pitch="0:A4")[0]
    made = run("SonopaintBringToCurves", audio=sound, curves=curves)[0]
    got = run("SonopaintCurvesFromSound", audio=made, brightness=False)[0]
    middle = slice(30, 150)
    assert np.median(np.abs(1200 * np.log2(got.values["pitch"][middle] / 440))) < 30
    assert np.corrcoef(got.values["loudness"][middle], curves.values["loudness"][middle])[0, 1] > 0.97
    darker = run("SonopaintDrawCurves", seconds=3.0, brightness="0:600")[0]
    dark, as_it_was = (
        run("SonopaintBringToCurves", audio=sound, curves=darker, brightness=tilted)[0]
        for tilted in (True, False)
    )
    values = [
        run("SonopaintCurvesFromSound", audio=made)[0].values["brightness"] for made in (dark, as_it_was)
    ]
    assert values[0][middle].mean() == pytest.approx(600, rel=0.05) and values[1][middle].mean() > 700


def test_a_model_follows_curves_at_every_step(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonoconvert.pictures.format import PRESETS
    from sonopaint.models.curves_file import new_adapter, save_adapter
    from sonopaint_comfyui.kinds import PictureInfo

    adapter = new_adapter("output", {}, 8)
    torch.nn.init.normal_(adapter.last.weight, std=0.2)
    (tmp_path / "mini").mkdir()
    save_adapter(adapter, tmp_path / "mini" / "curves.safetensors", {})
    monkeypatch.setattr("sonopaint_comfyui.curve_nodes.shipped_folder", lambda: tmp_path)

    class Model:
        function: Any = None

        def clone(self) -> Model:
            return Model()

        def set_model_sampler_pre_cfg_function(self, function: Any) -> None:
            self.function = function

    curves = run("SonopaintDrawCurves", seconds=5.12, loudness="0:-60 2.5:-60 2.6:0")[0]
    info = PictureInfo(PRESETS["sonopaint-mini"])
    patched = run("SonopaintApplyCurves", model=Model(), curves=curves, format=info)[0]
    x, outs = torch.randn(2, 4, 16, 40), [torch.randn(2, 4, 16, 40), torch.randn(2, 4, 16, 40)]
    made = patched.function({"input": x, "sigma": torch.tensor([5.0]), "conds_out": outs})
    assert len(made) == 2 and not torch.allclose(made[0], outs[0]) and made[1].shape == outs[1].shape


def test_a_sound_is_matched_turned_and_played(run: Any, pack: Any) -> None:
    from sonopaint.match.synths import get_synth

    kick = get_synth("kick")
    sound = kick.render(kick.defaults()[None])[None] * 0.5
    audio = {"waveform": sound, "sample_rate": 16_000}
    made, match, said = run(
        "SonopaintMatchSound", audio=audio, synth="kick", steps=1, seed=0, colour=0.0
    ).args
    assert made["sample_rate"] == 32_000 and said.startswith("Kick drum: ") and "pitch = " in said
    turned, other = run(
        "SonopaintPlaySynth", synth={"synth": "as matched", "changes": "pitch=+2st decay=0.9x"}, match=match
    ).args
    assert other.values["pitch"] == pytest.approx(match.values["pitch"] * 2 ** (1 / 6))
    assert turned["waveform"].shape == made["waveform"].shape
    rain, _ = run("SonopaintPlaySynth", synth={"synth": "rain", "density": 200.0}, seconds=1.0).args
    assert rain["waveform"].shape == (1, 1, 32_000) and float(rain["waveform"].abs().max()) > 0.01
    with pytest.raises(SonopaintError, match="Connect a match"):
        run("SonopaintPlaySynth", synth={"synth": "as matched", "changes": ""})
    knobs = pack.nodes["SonopaintPlaySynth"].define_schema().inputs[0].options["options"]
    bell = next(option for option in knobs if option.key == "bell")
    assert [knob.id for knob in bell.inputs][:2] == ["pitch", "decay"]
    for option in knobs[1:]:
        assert all(one.options["min"] <= one.default <= one.options["max"] for one in option.inputs)


def test_three_sounds_are_blended(run: Any, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sonoconvert.files.clip import Clip
    from sonopaint.blend.blending import Blend

    asked: dict[str, Any] = {}

    class Blender:
        """In place of a model."""

        @classmethod
        def load(cls) -> Any:
            return cls()

        def blend(self, sources: Any, *, progress: Any, count: int, **more: Any) -> list[Any]:
            asked.update(more, sources=sources, count=count)
            progress(0.5)
            waves = [torch.full((1, 64), 0.1 * number) for number in range(count)]
            return [Blend(Clip(wave, 32_000), {}, ("The fine is the first source's.",)) for wave in waves]

    monkeypatch.setattr("sonopaint_comfyui.blend_nodes.Blender", Blender)

    def audio(level: float, rate: int) -> dict[str, Any]:
        return {"waveform": torch.full((2, 2, rate), level), "sample_rate": rate}

    made, said = run(
        "SonopaintBlendSounds", coarse=audio(0.1, 44_100), mid=audio(0.2, 22_050), fine_weight=1.3, count=3,
        seed=5, seconds=0.0,
    ).args  # fmt: skip
    assert made["waveform"].shape == (3, 1, 64) and made["sample_rate"] == 32_000
    assert "first source" in said and (asked["seconds"], asked["seed"], asked["count"]) == (None, 5, 3)
    rates = {level: source.clip.sample_rate for level, source in asked["sources"].items()}
    assert rates == {"coarse": 44_100, "mid": 22_050, "fine": 44_100}
    assert asked["sources"]["fine"].weight == 1.3
    monkeypatch.setattr(pack.state, "interrupted", True)
    with pytest.raises(pack.Interrupted):
        run("SonopaintBlendSounds", coarse=audio(0.1, 44_100))


def test_blocks_read_words_of_their_own_and_the_negative_prompt_stays(run: Any) -> None:
    class Model:
        def clone(self) -> Any:
            return Model()

        def set_model_attn2_patch(self, function: Any) -> None:
            self.function = function

    words = torch.ones(1, 77, 8)
    patched = run("SonopaintBlockPrompts", model=Model(), down=[[words, {}]])[0]
    query = torch.zeros(4, 160, 8)
    context = torch.cat([torch.full((2, 154, 8), 2.0), torch.full((2, 154, 8), 3.0)])
    options = {"cond_or_uncond": [0, 1], "block": ("input", 1)}
    _, key, value = patched.function(query, context, context, options)
    assert key is value and key.shape == context.shape
    assert (key[:2] == 1).all() and (key[2:] == 3).all()  # long prompts of two chunks beside short words
    for block in (("output", 4), ("middle", 0)):
        assert patched.function(query, context, context, {**options, "block": block})[1] is context
