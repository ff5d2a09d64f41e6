"""Extra input channels for what is kept: zero means an ordinary model, and they have a file of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sonoconvert.errors import SonopaintError
from sonopaint.models.inpaint import inpainting, kept_channels, widen


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.middle(self.conv_in(x))


def test_without_extra_channels_or_with_zeros_it_is_the_ordinary_convolution() -> None:
    torch.manual_seed(0)
    unet, x = Unet(), torch.randn(2, 4, 16, 40)
    plain = unet.conv_in(x)
    widen(unet, {"kept": torch.randn(8, 5, 3, 3)})
    assert torch.equal(unet.conv_in(x), plain)
    everything = kept_channels(torch.randn_like(x), torch.ones(2, 1, 16, 40))
    assert torch.equal(unet.conv_in(torch.cat([x, everything], 1)), plain)
    painted = torch.ones(2, 1, 16, 40)
    painted[..., :20] = 0
    seen = unet.conv_in(torch.cat([x, kept_channels(torch.randn_like(x), painted)], 1))
    assert not torch.allclose(seen[..., :20], plain[..., :20])
    assert torch.equal(seen[..., 21:], plain[..., 21:])  # 3 × 3 reaches one cell


def test_low_rank_changes_hold_while_a_part_is_painted_and_not_behind_it() -> None:
    torch.manual_seed(0)
    unet, x = Unet(), torch.randn(1, 4, 16, 40)
    plain, weight = unet(x), unet.middle.weight.detach().clone()
    down, up = torch.randn(2, 8, 3, 3), torch.randn(6, 2, 1, 1)
    tensors = {"kept": torch.zeros(8, 5, 3, 3), "middle.lora_A.weight": down, "middle.lora_B.weight": up}
    widen(unet, tensors)
    assert torch.equal(unet(x), plain)
    with inpainting(unet):
        added = torch.einsum("or,rikl->oikl", up[..., 0, 0], down)
        assert torch.allclose(unet.middle.weight, weight + added, atol=1e-5)
    assert torch.equal(unet.middle.weight, weight)
    with pytest.raises(RuntimeError), inpainting(unet):
        raise RuntimeError
    assert torch.equal(unet.middle.weight, weight)


@pytest.mark.parametrize(
    "tensors",
    [
        {"kept": torch.zeros(8, 4, 3, 3)},
        {},
        {"kept": torch.zeros(8, 5, 3, 3), "other.lora_A.weight": torch.zeros(1, 8)},
    ],
)
def test_an_adapter_of_another_model_is_refused(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(SonopaintError, match="another model"):
        widen(Unet(), tensors)
