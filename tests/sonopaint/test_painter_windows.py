"""Windows, spans, fills and latents: the parts that painting is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonopaint.painters.latents import decode_latents, encode_image, latent_mask, seeded_noise, slerp
from sonopaint.painters.spans import fill_masked, padded, paint_spans
from sonopaint.painters.windows import OVERLAP, over_windows, window_starts, window_weights


@given(st.integers(1, 400), st.integers(2, 64), st.booleans())
def test_windows_cover_everything_and_overlap(width: int, window: int, circular: bool) -> None:
    starts = window_starts(width, window, circular=circular)
    covered = np.zeros(width, dtype=int)
    for start in starts:
        covered[np.arange(start, start + min(window, width)) % width] += 1
    assert (covered > 0).all()
    if width > window:
        following = [*starts[1:], starts[0] + width] if circular else starts[1:]
        gaps = np.diff([starts[0], *following])
        assert (window - gaps >= int(OVERLAP * window)).all()
    if not circular:
        assert starts[0] == 0 and starts[-1] + min(window, width) == width


@pytest.mark.parametrize("circular", [False, True])
def test_averaged_overlap_equals_the_whole(circular: bool) -> None:
    """What acts on each cell alone gives the same through windows as in one piece: no seams."""
    x = torch.randn(1, 4, 16, 130)
    out = over_windows(lambda part: part.tanh() * 2 - 1, x, 40, circular=circular)
    torch.testing.assert_close(out, x.tanh() * 2 - 1, atol=1e-5, rtol=1e-5)


def test_overlap_is_the_weighted_mean_of_the_windows() -> None:
    """Windows that disagree are blended by their weights, evenly in the middle of the overlap."""
    values = iter([0.0, 1.0])
    out = over_windows(lambda part: torch.full_like(part, next(values)), torch.zeros(1, 70), 40)[0]
    weights = window_weights(40)
    assert (out[:30] == 0).all() and (out[40:] == 1).all()
    torch.testing.assert_close(out[30:40], weights[:10] / (weights[:10] + weights[30:]))
    assert (out[30:40].diff() > 0).all() and float(out.diff().max()) < 0.25


def test_windows_change_resolution() -> None:
    x = torch.arange(100.0)[None]
    out = over_windows(lambda part: part.repeat_interleave(8, -1), x, 40, cell_out=8)
    torch.testing.assert_close(out, x.repeat_interleave(8, -1))
    back = over_windows(lambda part: part[..., ::8], out, 40, cell_in=8)
    torch.testing.assert_close(back, x)


@given(
    st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 600)), min_size=1, max_size=4),
    st.integers(64, 2000),
)
def test_spans_hold_every_masked_column(marks: list[tuple[int, int]], columns: int) -> None:
    mask = np.zeros((2, columns), dtype=np.float32)
    for start, length in marks:
        mask[1, start : start + length] = 1
    spans = paint_spans(mask, 320)
    held = np.zeros(columns, dtype=bool)
    for start, stop in spans:
        assert 0 <= start < stop <= columns
        assert stop - start == columns or (stop - start >= 320 and (stop - start) % 64 == 0)
        assert not held[start:stop].any()
        held[start:stop] = True
    assert held[mask[1] > 0].all()


def test_far_regions_are_painted_apart() -> None:
    mask = np.zeros((4, 100_000), dtype=np.float32)
    mask[:, 1000:1010] = mask[:, 90_000:90_100] = 1
    assert sum(stop - start for start, stop in paint_spans(mask, 320)) == 640
    assert paint_spans(np.zeros((4, 500), dtype=np.float32), 320) == []


@given(
    st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 600)), min_size=1, max_size=4),
    st.integers(300, 2000),
    st.sampled_from([0, 8, 24, 64]),
)
def test_windows_that_begin_with_what_is_painted(
    marks: list[tuple[int, int]], columns: int, lead: int
) -> None:
    """Each stretch is painted once, in a window of the model's width that begins just before it."""
    mask = np.zeros((2, columns), dtype=np.float32)
    for start, length in marks:
        mask[1, start : start + length] = 1
    if not (mask > 0).any() or (mask > 0).any(axis=0).all():
        assert paint_spans(mask, 320, lead) == paint_spans(mask, 320)
        return
    masked = np.flatnonzero(mask[1])
    spans = paint_spans(mask, 320, lead)
    times = np.zeros(columns, dtype=int)
    for (start, stop), after in zip(spans, [*(first for first, _ in spans[1:]), columns], strict=True):
        assert stop - start >= 320 and (stop - start) % 64 == 0
        assert 0 <= masked[masked >= start][0] - start <= lead
        times[start : min(stop, after)] += 1
    assert (times[masked] == 1).all() and times.max() == 1


def test_padding() -> None:
    assert [padded(n) for n in (1, 64, 65, 320)] == [64, 64, 128, 320]


def test_fill_draws_lines_between_what_is_kept() -> None:
    pixels = np.zeros((2, 11, 3), dtype=np.uint8)
    pixels[:, 8:] = 80
    mask = np.zeros((2, 11), dtype=np.float32)
    mask[0, 1:8] = 1
    filled = fill_masked(pixels, mask)
    np.testing.assert_allclose(filled[0, :9, 0], np.arange(9) * 10)
    np.testing.assert_array_equal(filled[1], pixels[1])
    mask[:, :4] = 1
    np.testing.assert_allclose(fill_masked(pixels, mask, circular=True)[1, 0], 80 * 4 / 5)


def test_latent_mask_loses_nothing() -> None:
    mask = torch.zeros(128, 320)
    mask[17, 133] = 1
    small = latent_mask(mask, 8)
    assert small.shape == (1, 1, 16, 40) and float(small.sum()) == 1 and float(small[0, 0, 2, 16]) == 1


def test_slerp_keeps_ends_and_norm() -> None:
    a, b = seeded_noise(1)((1, 4, 16, 40)), seeded_noise(2)((1, 4, 16, 40))
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    assert abs(float(slerp(a, b, 0.5).norm() / a.norm()) - 1) < 0.05
    torch.testing.assert_close(slerp(a, a, 0.3), a)


def test_vae_tiles_meet_without_a_step(tiny: Any) -> None:
    """A long picture is decoded in tiles; no column differs more from its neighbour than elsewhere."""
    latents = seeded_noise(3)((1, 4, 16, 100)) * 0.2
    image = decode_latents(tiny, latents)
    assert image.shape == (1, 3, 128, 800)
    steps = image.diff(dim=-1).abs().mean(dim=(0, 1, 2))
    assert float(steps.max()) < 2 * float(steps.mean())
    whole = tiny.vae.decode(latents / tiny.vae_scale).sample
    assert float((image - whole).abs().mean()) < 0.2 * float(whole.std())
    assert encode_image(tiny, image).shape == latents.shape


def test_circular_vae_has_no_seam(tiny: Any) -> None:
    latents = seeded_noise(3)((1, 4, 16, 40))
    rolled = decode_latents(tiny, latents.roll(13, -1), circular=True)
    straight = decode_latents(tiny, latents, circular=True).roll(13 * 8, -1)
    torch.testing.assert_close(rolled, straight, atol=1e-3, rtol=1e-3)
