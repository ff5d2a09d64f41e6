"""Regions: reading them, refusing bad ones, and their masks on the picture grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sonoconvert.edits.region import Box, Region, load_brush, merge_spans, parse_region
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS

MINI = PRESETS["sonopaint-mini"]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("1.0:2.5,200:4000", Box(1.0, 2.5, 200.0, 4000.0)),
        ("1.0:", Box(1.0)),
        (":2.5", Box(0.0, 2.5)),
        (":", Box()),
        (" 0.5 : 1 , :800 ", Box(0.5, 1.0, None, 800.0)),
        ("1:2,5000:", Box(1.0, 2.0, 5000.0, None)),
    ],
)
def test_parse(text: str, box: Box) -> None:
    assert parse_region(text) == box
    assert parse_region(str(box)) == box


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("1.0", "cannot be read"),
        ("a:b", "cannot be read"),
        ("1:2:3", "cannot be read"),
        ("1:2,3:4,5:6", "cannot be read"),
        ("1,5:2", "cannot be read"),
        ("2:1", "time 2:1 s is reversed"),
        ("1:1", "time 1:1 s is empty"),
        (":0", "empty"),
        ("1:2,400:400", "frequency 400:400 Hz is empty"),
        ("1:2,4000:200", "reversed"),
        ("-1:2", "0 or more"),
        ("nan:2", "0 or more"),
        ("1:inf", "0 or more"),
    ],
)
def test_parse_refuses(text: str, says: str) -> None:
    with pytest.raises(SonopaintError, match=says) as error:
        parse_region(text)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (Region(), "empty"),
        (Region((Box(6.0, 7.0),)), r"6:7 starts outside the clip, which lasts 5\.120 s"),
        (Region((Box(1.0, 7.0),)), r"1:7 ends outside the clip, which lasts 5\.120 s"),
        (Region((Box(1.0, 2.0, 17_000.0, 18_000.0),)), "outside the frequencies"),
        (Region((Box(1.0, 2.0, 1.0, 10.0),)), "outside the frequencies"),
    ],
)
def test_check_refuses(region: Region, says: str) -> None:
    with pytest.raises(SonopaintError, match=says):
        region.check(5.12, MINI)


def test_check_forgives_rounding() -> None:
    Region((Box(1.0, 5.13), Box(0.0, None, 100.0, 99_000.0))).check(5.12, MINI)


@pytest.mark.parametrize("feather", [-0.1, float("nan"), float("inf")])
def test_feather_is_checked(feather: float) -> None:
    with pytest.raises(SonopaintError, match="feather"):
        Region((Box(),), feather_s=feather)


def test_mask_holds_the_cells_whose_centres_are_inside() -> None:
    mask = Region((Box(1.0, 2.5, 200.0, 4000.0),)).mask(MINI, 320)
    assert mask.shape == (128, 320) and mask.dtype == np.float32
    rows, columns = np.nonzero(mask)
    assert 1.0 <= columns.min() * 0.016 < 1.016 and 2.484 < columns.max() * 0.016 <= 2.5
    assert 200 <= MINI.hz(rows.min()) < MINI.hz(MINI.mel_row(200) + 1)
    assert MINI.hz(MINI.mel_row(4000) - 1) < MINI.hz(rows.max()) <= 4000
    assert mask.sum() == len(set(rows)) * len(set(columns))


def test_open_ends_reach_the_edges() -> None:
    assert Region((Box(),)).mask(MINI, 320).all()
    mask = Region((Box(4.0, None, 1000.0, None),)).mask(MINI, 320)
    assert mask[-1, -1] == 1 and mask[0].sum() == 0


def test_union_and_inverse() -> None:
    a, b = Box(0.5, 1.0, 100.0, 900.0), Box(0.8, 3.0, 500.0, 5000.0)
    union = Region((a, b)).mask(MINI, 320)
    assert np.array_equal(union, np.maximum(Region((a,)).mask(MINI, 320), Region((b,)).mask(MINI, 320)))
    assert np.array_equal(Region((a, b), inverted=True).mask(MINI, 320), 1 - union)


@settings(max_examples=40, deadline=None)
@given(start=st.floats(0, 5), length=st.floats(1e-4, 3), low=st.floats(0, 15_000), band=st.floats(1, 9000))
def test_every_box_paints_something_and_windows_agree(
    start: float, length: float, low: float, band: float
) -> None:
    region = Region((Box(start, start + length, low, low + band),))
    whole = region.mask(MINI, 320)
    assert whole.any()
    assert np.array_equal(region.mask(MINI, 100, first=150, total=320), whole[:, 150:250])


def test_brush_of_any_size_is_stretched() -> None:
    brush = np.zeros((64, 1000), dtype=np.float32)
    brush[:16, 250:500] = 1.0  # the top quarter: high frequencies; the second quarter of the time
    region = Region(brush=brush)
    mask = region.mask(MINI, 320)
    assert mask[96:, 80:160].all() and mask.sum() == 32 * 80
    assert np.array_equal(region.mask(MINI, 64, first=64, total=320), mask[:, 64:128])
    assert region.spans(8.0) == [(2.0, 4.0)]
    assert Region(brush=np.ones((3, 2))).mask(MINI, 320).all()
    both = Region((Box(4.0, 5.0),), brush=brush)
    assert both.mask(MINI, 320).sum() > mask.sum() and len(both.spans(8.0)) == 1


def test_soft_mask_falls_over_the_feather() -> None:
    region = Region((Box(2.0, 3.0, 500.0, 4000.0),), feather_s=0.16)
    hard, soft = region.mask(MINI, 320), region.soft_mask(MINI, 320)
    assert (soft[hard == 1] == 1).all() and soft.min() == 0 and soft.max() == 1
    row = int(MINI.mel_row(2000))
    right = np.nonzero(hard[row])[0].max()
    assert (np.diff(soft[row, right : right + 12]) <= 0).all()
    assert soft[row, right + 5] == pytest.approx(0.5, abs=0.01) and soft[row, right + 10] == 0


def test_time_support_holds_the_feather() -> None:
    region = Region((Box(1.0, 2.0), Box(2.05, 3.0, 100.0, 200.0), Box(4.99, None)), feather_s=0.05)
    assert region.time_support(5.0) == [(0.95, 3.05), (pytest.approx(4.94), 5.0)]
    outside = Region((Box(1.0, 2.0),), feather_s=0.1, inverted=True)
    assert outside.time_support(5.0) == [(0.0, 1.1), (1.9, 5.0)]
    band = Region((Box(1.0, 2.0, 100.0, 200.0),), inverted=True)
    assert band.time_support(5.0) == [(0.0, 5.0)]


def test_merge_spans() -> None:
    assert merge_spans([(3, 9), (0, 1), (1.5, 2), (-4, -2)], 5, gap_s=0.5) == [(0, 2), (3, 5)]


def test_load_brush(tmp_path) -> None:  # type: ignore[no-untyped-def]
    image = Image.new("RGBA", (20, 10), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (5, 0, 10, 10))
    image.save(tmp_path / "mask.png")
    brush = load_brush(tmp_path / "mask.png")
    assert brush.shape == (10, 20) and brush.dtype == np.float32
    assert brush[:, 5:10].all() and brush.sum() == 50

    Image.new("L", (20, 10)).save(tmp_path / "black.png")
    with pytest.raises(SonopaintError, match="nothing painted"):
        load_brush(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(SonopaintError, match="not an image"):
        load_brush(tmp_path / "text.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "mask.png").read_bytes()[:60])
    with pytest.raises(SonopaintError, match="not an image"):
        load_brush(tmp_path / "cut.png")
    with pytest.raises(SonopaintError, match="does not exist"):
        load_brush(tmp_path / "none.png")
    Image.new("1", (8000, 4001)).save(tmp_path / "bomb.png")
    with pytest.raises(SonopaintError):
        load_brush(tmp_path / "bomb.png")


def test_brush_must_be_flat() -> None:
    with pytest.raises(SonopaintError, match="height × width"):
        Region(brush=np.zeros((2, 3, 4)))
