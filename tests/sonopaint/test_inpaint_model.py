"""Extra input channels for what is kept: zero means an ordinary model, and they have a file of their own."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from sonopaint.models.inpaint import InpaintConv, kept_channels, narrow, sees_kept, widen


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 8, 3, padding=1)


def test_without_extra_channels_or_with_zeros_it_is_the_ordinary_convolution() -> None:
    torch.manual_seed(0)
    unet, x = Unet(), torch.randn(2, 4, 16, 40)
    plain = unet.conv_in(x)
    widen(unet, torch.randn(8, 5, 3, 3))
    assert torch.equal(unet.conv_in(x), plain)
    everything = kept_channels(torch.randn_like(x), torch.ones(2, 1, 16, 40))
    assert torch.equal(unet.conv_in(torch.cat([x, everything], 1)), plain)
    painted = torch.ones(2, 1, 16, 40)
    painted[..., :20] = 0
    seen = unet.conv_in(torch.cat([x, kept_channels(torch.randn_like(x), painted)], 1))
    assert not torch.allclose(seen[..., :20], plain[..., :20])
    assert torch.equal(seen[..., 21:], plain[..., 21:])  # 3 × 3 reaches one cell
    kept = narrow(unet)
    assert kept is not None and kept.shape == (8, 5, 3, 3)
    assert torch.equal(unet.conv_in(x), plain)
    assert not isinstance(unet.conv_in, InpaintConv)


def test_a_model_is_saved_as_an_ordinary_one_beside_its_adapter(tmp_path: Path) -> None:
    from sonopaint.models.folders import shipped_folder
    from sonopaint.models.mini import load_mini, save_mini

    shipped = load_mini(shipped_folder() / "mini")
    unet, vae, text_encoder, tokenizer, _ = shipped
    if not sees_kept(unet):
        widen(unet, torch.randn(64, 5, 3, 3).half().float())
    save_mini(tmp_path, unet, vae, text_encoder, tokenizer)
    names = load_file(tmp_path / "unet.safetensors").keys()
    assert "conv_in.weight" in names and "conv_in.kept" not in names
    again = load_mini(tmp_path)[0]
    assert sees_kept(again)
    assert torch.equal(again.conv_in.kept, unet.conv_in.kept.half().float())
