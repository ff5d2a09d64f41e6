"""Sounds that are written in another format when somebody saves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint_studio.saving import ADDRESS, save_route


@pytest.fixture
def page(tmp_path: Path, chirp: Path) -> TestClient:
    (tmp_path / "served").mkdir()
    clip = read_clip(chirp)
    settings = {"prompt": "a tür", "seed": 3}
    write_clip(Clip(clip.waveform, clip.sample_rate, settings, clip.subtype), tmp_path / "served" / "tür.wav")
    return TestClient(Starlette(routes=[save_route([tmp_path / "served"])]))


@pytest.mark.parametrize(
    ("kind", "subtype"), [("mp3", "MPEG_LAYER_III"), ("flac", "PCM_16"), ("ogg", "VORBIS")]
)
def test_a_sound_is_saved_with_its_name_and_settings(
    page: TestClient, tmp_path: Path, chirp: Path, kind: str, subtype: str
) -> None:
    answer = page.get(ADDRESS, params={"path": str(tmp_path / "served" / "tür.wav"), "as": kind})
    assert answer.status_code == 200 and f"t%C3%BCr.{kind}" in answer.headers["content-disposition"]
    saved = tmp_path / f"saved.{kind}"
    saved.write_bytes(answer.content)
    assert soundfile.info(saved).subtype == subtype
    clip, before = read_clip(saved), read_clip(chirp)
    assert clip.settings == {"prompt": "a tür", "seed": 3}
    assert clip.waveform.shape == before.waveform.shape


def test_only_served_sounds_are_saved(page: TestClient, tmp_path: Path, chirp: Path) -> None:
    (tmp_path / "served" / "link.wav").symlink_to(chirp)
    for path in (
        chirp,
        f"{tmp_path}/served/../chirp.wav",
        tmp_path / "served" / "link.wav",
        "/etc/passwd",
        "",
    ):
        assert page.get(ADDRESS, params={"path": str(path), "as": "mp3"}).status_code == 403
    known = str(tmp_path / "served" / "tür.wav")
    assert page.get(ADDRESS, params={"path": known, "as": "exe"}).status_code == 403
    missing = str(tmp_path / "served" / "gone.wav")
    assert page.get(ADDRESS, params={"path": missing, "as": "mp3"}).status_code == 400
