"""A model with LoRAs paints the format that their headers say: in the engine and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.checkpoints.lora import LoraModule, save_lora
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import load_picture
from sonopaint.cli import main
from sonopaint.models.loading import load_model

MODULE = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora(few_parts: Any, tmp_path: Path) -> Any:
    """lora(name, format or None): a file of a LoRA that says it."""
    weight = few_parts[0].get_submodule(MODULE.removeprefix("unet.")).weight

    def write(name: str, form: str | None) -> Path:
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        module = LoraModule(torch.zeros(2, weight.shape[1]), torch.zeros(weight.shape[0], 2), 2.0)
        told = {} if form is None else {"sonopaint.format": json.dumps(get_format(form).to_dict())}
        save_lora(path, {MODULE: module}, metadata=told)
        return path

    return write


def format_with(checkpoint: Path, *loras: tuple[Path, float], **options: Any) -> str:
    return load_model(checkpoint, device="cpu", loras=loras, **options).format.name


def test_the_loras_format_is_painted(few_checkpoint: Path, lora: Any) -> None:
    """The checkpoint's name says riffusion-v1."""
    horn, silent = lora("horn", "perkins-10s"), lora("silent", None)
    assert format_with(few_checkpoint) == format_with(few_checkpoint, (silent, 1.0)) == "riffusion-v1"
    assert format_with(few_checkpoint, (silent, 1.0), (horn, 0.5)) == "perkins-10s"
    assert format_with(few_checkpoint, (horn, 0.0)) == "riffusion-v1"  # not used
    assert format_with(few_checkpoint, (horn, 1.0), format="full-48k") == "full-48k"


def test_loras_of_two_formats_are_refused_unless_the_format_is_named(few_checkpoint: Path, lora: Any) -> None:
    horn, other = lora("a/sound", "perkins-10s"), lora("b/sound", "riffusion-v1")
    again = lora("again", "perkins-10s")
    assert format_with(few_checkpoint, (horn, 1.0), (again, 1.0)) == "perkins-10s"
    with pytest.raises(SonopaintError, match="paints the format perkins-10s, but .*sound.*riffusion"):
        format_with(few_checkpoint, (horn, 1.0), (other, 1.0))
    assert format_with(few_checkpoint, (horn, 1.0), (other, 0.0)) == "perkins-10s"
    assert format_with(few_checkpoint, (horn, 1.0), (other, 1.0), format="perkins-10s") == "perkins-10s"


def test_the_command_line_paints_the_loras_format(
    few_checkpoint: Path, lora: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(name: str, *more: Any) -> int:
        quick = ["--seconds", "0.5", "--steps", "1", "--iterations", "1", "--quiet", "--picture"]
        words = ["generate", "a horn", "--model", few_checkpoint, "-o", tmp_path / name, "--device", "cpu"]
        return main([str(word) for word in (*words, *quick, *more)])

    mini, horn = lora("bark", "sonopaint-mini"), lora("horn", "perkins-10s")
    assert generate("horn.wav", "--lora", f"{horn}:0.8") == 0
    drawn = load_picture(tmp_path / "horn.png")
    assert drawn.format == get_format("perkins-10s") and drawn.columns == 26
    assert generate("bark.wav", "--lora", mini) == 0
    assert read_clip(tmp_path / "bark.wav").sample_rate == 32_000
    assert generate("both.wav", "--lora", mini, "--lora", horn) == 2
    assert "use LoRAs of one format, or say with --format" in capsys.readouterr().err
    assert generate("both.wav", "--lora", mini, "--lora", horn, "--format", "sonopaint-mini") == 0
    assert load_picture(tmp_path / "both.png").format == get_format("sonopaint-mini")
