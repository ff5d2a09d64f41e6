"""The bridge's mathematics in closed form on Gaussians, its channels, its network and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.spectrogram import stft
from sonopaint.models.bridge import (
    BINS,
    HOP,
    WINDOW,
    Bridge,
    cells,
    channels,
    dilated,
    place_of,
    read,
    reference_of,
    write,
)
from sonopaint.models.bridge_network import BridgeNetwork
from sonopaint.samplers.bridge import VARIANCE, estimate, marginal, posterior, sample_bridge, variance

N = 200_000


def times(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count,), value)


def test_the_way_begins_whole_and_ends_damaged() -> None:
    whole, damaged = torch.randn(2, 3), torch.randn(2, 3)
    for t, expected in ((0.0, whole), (1.0, damaged)):
        mean, deviation = marginal(whole, damaged, times(t, 2))
        assert torch.allclose(mean, expected) and deviation.abs().max() < 1e-6
    half, deviation = marginal(whole, damaged, times(0.5, 2))
    assert torch.allclose(half, (whole + damaged) / 2)
    assert torch.allclose(deviation, torch.tensor((VARIANCE / 4) ** 0.5))
    assert (variance(torch.linspace(0, 1, 50)).diff() > 0).all()


@pytest.mark.parametrize(("s", "t"), [(0.2, 0.6), (0.45, 0.5), (0.7, 0.95), (0.5, 1.0)])
def test_a_step_back_along_the_way_leads_to_the_earlier_marginal(s: float, t: float) -> None:
    """∫ p(x_s | x_0, x_t) q(x_t | x_0, x_1) dx_t = q(x_s | x_0, x_1), in mean and variance."""
    whole, damaged = torch.tensor([[0.7]]), torch.tensor([[-1.3]])
    mean, deviation = marginal(whole, damaged, times(t))
    origin, _ = posterior(whole, torch.zeros(1, 1), times(t), times(s))
    slope = posterior(whole, torch.ones(1, 1), times(t), times(s))[0] - origin
    back, noise = posterior(whole, mean, times(t), times(s))
    wanted, wanted_deviation = marginal(whole, damaged, times(s))
    assert torch.allclose(back, wanted, atol=1e-5)
    assert torch.allclose(noise**2 + (slope * deviation) ** 2, wanted_deviation**2, atol=1e-5)


def test_of_gaussians_the_network_has_nothing_to_say() -> None:
    """E[x_0 | x_t, x_1] and its deviation are `estimate`'s, where x_0 − x_1 is Gaussian."""
    generator = torch.Generator().manual_seed(0)
    spread, damaged = torch.tensor(0.6), torch.full((N, 1), 0.4)
    whole = damaged + spread * torch.randn(N, 1, generator=generator)
    for t in (0.15, 0.5, 0.9):
        mean, deviation = marginal(whole, damaged, times(t, N))
        x = mean + deviation * torch.randn(N, 1, generator=generator)
        guess, left = estimate(x, damaged, times(t, N), spread)
        rest = (whole - guess) / left
        assert rest.mean().abs() < 0.01 and abs(rest.std() - 1) < 0.01
        # What is left over hangs on nothing that is known: the regression is exact.
        assert abs(torch.corrcoef(torch.cat([rest, x], 1).T)[0, 1]) < 0.01
    _, end = estimate(damaged, damaged, times(1.0, N), spread)
    assert torch.allclose(end, spread)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_sampling_gaussians_gives_their_mean_in_one_step_and_their_spread_in_many(steps: int) -> None:
    """The bridge of x_0 ~ N(x_1 + 1, 0.5²) with its exact denoiser."""
    spread, shift, count = torch.tensor(0.5), 1.0, 20_000
    damaged = torch.zeros(count, 1)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        # x_t | x_1 has its bridge's mean moved by that of x_0 − x_1.
        moved = shift * (VARIANCE - variance(t))[:, None] / VARIANCE
        return estimate(x - moved, damaged, t, spread)[0] + shift

    made = sample_bridge(predict, damaged, steps, generator=torch.Generator().manual_seed(1))
    assert abs(made.mean() - 1) < 0.02
    assert made.std() < 1e-6 if steps == 1 else 0.05 < made.std() < 0.52
    if steps == 16:
        assert made.std() > 0.4


def test_sound_goes_through_its_channels_and_back() -> None:
    sound = torch.randn(1, 20 * HOP, generator=torch.Generator().manual_seed(2))
    spectrum = stft(sound, WINDOW, WINDOW, HOP).transpose(-1, -2)
    reference = reference_of(spectrum, torch.ones(spectrum[..., :BINS].shape, dtype=torch.bool))
    back = cells(channels(spectrum, reference), reference)
    assert torch.allclose(back[..., :BINS], spectrum[..., :BINS], atol=1e-2)


def test_the_phase_of_a_steady_tone_turns_by_its_distance_to_the_bin() -> None:
    """A tone δ bins above bin k: the channels' phase turns by δ·π/2 a frame."""
    rate, k, delta = 32_000, 100, 0.3
    t = torch.arange(40 * HOP) / rate
    tone = torch.cos(2 * torch.pi * (k + delta) * rate / WINDOW * t)[None]
    three = channels(stft(tone, WINDOW, WINDOW, HOP).transpose(-1, -2), torch.ones(1))
    phase = torch.atan2(three[0, 2], three[0, 1])[10:30, k]
    turned = (phase.diff() + torch.pi) % (2 * torch.pi) - torch.pi
    assert torch.allclose(turned, torch.full_like(turned, delta * torch.pi / 2), atol=0.02)


def test_frames_that_hold_a_marked_sample_are_unknown() -> None:
    marked = torch.zeros(1, 40 * HOP, dtype=torch.bool)
    marked[:, 20 * HOP] = True
    # Frame m holds samples (m − 2)·hop … (m + 2)·hop.
    assert torch.nonzero(dilated(marked, 40 * HOP)[0])[:, 0].tolist() == [19, 20, 21, 22]


@pytest.fixture(scope="module")
def bridge() -> Bridge:
    torch.manual_seed(0)
    return Bridge([BridgeNetwork((8, 8, 8), 1), BridgeNetwork((8, 8, 8), 1)])


def test_known_cells_stay_and_a_seed_gives_the_same_cells(bridge: Bridge) -> None:
    spectrum = torch.randn(1, 21, BINS + 1, dtype=torch.complex64)
    unknown = torch.zeros(1, 21, BINS + 1, dtype=torch.bool)
    unknown[:, 8:12, 100:] = True

    def made(seed: int) -> torch.Tensor:
        return bridge.restore(
            spectrum, unknown, 32_000, steps=3, generator=torch.Generator().manual_seed(seed)
        )

    first = made(5)
    assert torch.equal(first[~unknown], spectrum[~unknown])
    assert torch.equal(first, made(5)) and not torch.equal(first, made(6))


def test_the_network_takes_any_number_of_frames_and_bins() -> None:
    network = BridgeNetwork((8, 8, 8), 1)
    x = torch.randn(2, 3, 13, 100)
    said = network(x, x, x[:, :1], place_of(16_000, 2)[..., :100], torch.rand(2))
    assert said.shape == x.shape


def test_a_bridge_goes_through_its_file(bridge: Bridge, tmp_path: Path) -> None:
    path = tmp_path / "bridge.safetensors"
    write(path, bridge.networks, {"note": "a test"})
    back = read(path)
    assert back.metadata["note"] == "a test" and len(back.networks) == 2
    for name, tensor in bridge.networks[1].state_dict().items():
        assert torch.allclose(back.networks[1].state_dict()[name], tensor, atol=1e-3)


def test_other_files_are_no_bridges(bridge: Bridge, tmp_path: Path) -> None:
    from sonoconvert.checkpoints.files import write_tensors

    path = tmp_path / "bridge.safetensors"
    write_tensors(path, {"x": torch.zeros(2)}, {})
    with pytest.raises(SonopaintError, match="holds no healing bridge"):
        read(path)
    write_tensors(
        path, {"x": torch.zeros(2)},
        {"sonopaint.bridge": '{"widths": [8, 8, 8], "blocks": 1, "experts": 1}'}, force=True,
    )  # fmt: skip
    with pytest.raises(SonopaintError, match="does not fit its own description"):
        read(path)
    write_tensors(
        path, {"x": torch.zeros(2)},
        {"sonopaint.bridge": '{"widths": [8, 8, 100000], "blocks": 1, "experts": 1}'}, force=True,
    )  # fmt: skip
    with pytest.raises(SonopaintError, match="impossible"):
        read(path)


def test_the_shipped_bridge_is_small_described_and_finite() -> None:
    path = Path(__file__).parents[2] / "weights" / "heal" / "bridge.safetensors"
    bridge = read(path)
    assert path.stat().st_size < 6e6 and bridge.metadata["modelspec.license"] == "MIT"
    assert "no recordings" in bridge.metadata["sonopaint.training"]
    spectrum = torch.randn(1, 16, BINS + 1, dtype=torch.complex64)
    unknown = torch.zeros(1, 16, BINS + 1, dtype=torch.bool)
    unknown[:, 6:10] = True
    assert torch.isfinite(bridge.restore(spectrum, unknown, 32_000).abs()).all()
