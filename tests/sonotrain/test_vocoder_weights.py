"""The shipped decoder on recordings that it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoconvert.conversion.convert import decode, encode, mix_to
from sonoconvert.files.clip import read_clip
from sonoconvert.files.folders import shipped_folder
from sonoconvert.phase import vocoder
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonotrain.trainers.vocoder.losses import distances

# By name, not by what is there: without weights there would be nothing to test. And the quickest quality that
# uses them, and how much of the spectral convergence without them is left at most.
QUALITY = {
    "riffusion-v1": ("fast", 0.9),
    "sonopaint-mini-fast": ("fast", 1.0),
    "sonopaint-mini": ("normal", 1.05),
}
WEIGHTS = [shipped_folder() / "vocoder" / f"{name}.safetensors" for name in QUALITY]


def format_of(path: Path) -> SpectrogramFormat:
    return get_format(path.stem.removesuffix(vocoder.FAST))


def test_all_shipped_weights_are_tested() -> None:
    assert sorted((shipped_folder() / "vocoder").glob("*.safetensors")) == WEIGHTS


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_are_found_small_and_say_where_they_come_from(path: Path) -> None:
    decoder = PhaseSearch.of(QUALITY[path.stem][0]).decoder(format_of(path))
    assert decoder is not None and decoder.fmt == format_of(path)
    assert decoder.metadata == vocoder.read(path).metadata
    assert path.stat().st_size <= 16e6
    assert decoder.metadata["modelspec.license"] == "MIT"
    assert "sonopaint.training" in decoder.metadata


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["speech.flac", "complete.oga"])
def test_shipped_weights_beat_the_same_iterations_without_them(
    path: Path, name: str, repository: Path
) -> None:
    fmt = format_of(path)
    clip = mix_to(read_clip(repository / "tests" / "fixtures" / name), 1).resampled(fmt.sample_rate)
    picture = encode(clip, fmt)
    quality, most = QUALITY[path.stem]
    learned, iterative = (
        decode(picture, PhaseSearch.of(quality, learned=way)).waveform[0] for way in (True, False)
    )
    true = clip.waveform[0]
    better, worse = (distances(true, made, fmt.sample_rate) for made in (learned, iterative))
    assert better[0] < most * worse[0]
    assert better[1] < 0.9 * worse[1]
