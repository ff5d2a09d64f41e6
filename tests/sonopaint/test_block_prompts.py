"""Other prompts for blocks of the U-Net: which read them, and that a result can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonopaint.cli import main
from sonopaint.models.block_prompts import prompted
from sonopaint.tasks import PaintSettings, generate, interpolate

DOG, HORN = "a dog barking in the rain", "a train horn"


def heard(model: Any, prompt: str, **halves: str) -> torch.Tensor:
    settings = PaintSettings(prompt, steps=2, seed=3, iterations=0, **halves)
    return generate(model, settings, seconds=1.0)[0].clip.waveform


def test_blocks_read_what_is_theirs_and_nothing_is_left_behind(tiny: Any) -> None:
    dog, horn = heard(tiny, DOG), heard(tiny, HORN)
    torch.testing.assert_close(heard(tiny, DOG, down_prompt=DOG, up_prompt=DOG), dog)
    for half in ("down_prompt", "up_prompt"):
        mixed = heard(tiny, DOG, **{half: HORN})
        assert not torch.allclose(mixed, dog) and not torch.allclose(mixed, horn)
    assert torch.equal(heard(tiny, DOG), dog)


def test_embeddings_go_to_the_blocks_that_are_named(tiny: Any) -> None:
    names = [name for name, _ in tiny.unet.named_modules() if name.endswith(".attn2")]
    text, other = torch.zeros(1, 77, 64), torch.ones(1, 77, 64)
    seen: dict[str, float] = {}

    def look(name: str) -> Any:
        def hook(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
            seen[name] = float(kwargs["encoder_hidden_states"].mean())

        return tiny.unet.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True)

    with torch.no_grad(), prompted(tiny.unet, {"down_blocks": other}):
        hooks = [look(name) for name in names]  # behind those of `prompted`: they see what is read
        tiny.unet(torch.zeros(1, 4, 16, 40), torch.tensor(10), encoder_hidden_states=text)
    for hook in hooks:
        hook.remove()
    assert seen == {name: float(name.startswith("down_blocks")) for name in names} and len(names) == 7


def test_interpolations_end_at_prompts_of_blocks(tiny: Any, phase_search_only: None) -> None:
    one = PaintSettings(DOG, steps=2, seed=3, iterations=0)
    other = PaintSettings(DOG, steps=2, seed=4, iterations=0, up_prompt=HORN)
    results = interpolate(tiny, one, other, n=2, seconds=1.0)
    last = generate(tiny, other, seconds=1.0)[0]
    assert torch.allclose(results[1].clip.waveform, last.clip.waveform, atol=1e-4)


def test_the_command_says_them_and_a_result_is_made_again(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonopaint.cli._load", lambda args: tiny)
    quick = ["--steps", "1", "--iterations", "1", "--seconds", "0.5", "--quiet", "-o"]
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    assert main(["generate", DOG, "--down-prompt", HORN, "--seed", "5", *quick, str(first)]) == 0
    settings = read_clip(first).settings
    assert settings["down_prompt"] == HORN and settings["up_prompt"] == ""
    assert main(["generate", "--like", str(first), *quick, str(again)]) == 0
    assert torch.equal(read_clip(again).waveform, read_clip(first).waveform)
    with pytest.raises(SonopaintError, match="down_prompt"):
        PaintSettings(DOG, down_prompt=7)  # type: ignore[arg-type]
