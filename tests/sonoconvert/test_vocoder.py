"""The learned decoder: phases from their derivatives, blocks without seams, loops, and files that lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.files import read_header
from sonoconvert.conversion.convert import decode, encode
from sonoconvert.conversion.parts import decode_parts, encode_parts
from sonoconvert.edits.canvas import inpaint_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.phase import search, vocoder
from sonoconvert.phase.integration import integrate
from sonoconvert.phase.search import PhaseSearch, reconstruct
from sonoconvert.phase.vocoder import Vocoder
from sonoconvert.phase.vocoder_network import VocoderNetwork, features, place_of, reference_of
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat
from sonoconvert.pictures.grid import working_grid
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import istft, mel_magnitude, stft

SMALL = SpectrogramFormat("small", 8000, 512, 256, 32, 40, 0.0, 4000.0)
ALL = [fmt for fmt in PRESETS.values() if fmt.channels == "mono"]


def network(seed: int = 0) -> VocoderNetwork:
    """A network that says something, if nothing true."""
    torch.manual_seed(seed)
    made = VocoderNetwork(8, 8, 1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def sound(samples: int, rate: int, seed: int = 0) -> torch.Tensor:
    """A chord that begins at once, with a noise burst: float [1, samples]."""
    t = torch.arange(samples) / rate
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    tones = sum(
        torch.sin(2 * torch.pi * f * t + f) * torch.exp(-3 * t) for f in (220.0, 331.0, 557.0, 1201.0)
    )
    return (0.2 * tones + 0.1 * noise * torch.exp(-30 * (t - 0.3).abs()))[None]


def true_steps(spectrum: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """The phase's steps in time and frequency of complex [frames, bins], as the network should say them."""
    size, bins = 2 * (spectrum.shape[1] - 1), np.arange(spectrum.shape[1])
    unit = spectrum / np.maximum(np.abs(spectrum), 1e-12)
    advance = np.roll(unit, -1, axis=0) * unit.conj() * np.exp(-2j * np.pi * bins * hop / size)
    across = -np.roll(unit, -1, axis=1) * unit.conj()
    return advance, across


def convergence(true: torch.Tensor, made: torch.Tensor, circular: bool = False) -> float:
    first, second = (stft(x, 256, 256, 64, circular=circular).abs() for x in (true, made))
    return float(torch.linalg.norm(first - second) / torch.linalg.norm(first))


@pytest.mark.parametrize("fmt", ALL, ids=lambda fmt: fmt.name)
def test_the_working_grid_holds_all_bands_in_whole_samples(fmt: SpectrogramFormat) -> None:
    grid = working_grid(fmt)
    assert grid.rate * fmt.win_length == fmt.sample_rate * grid.win
    assert grid.hop * fmt.win_length == fmt.hop_length * grid.win
    assert fmt.f_max <= grid.rate / 2 and grid.win <= fmt.win_length


@pytest.mark.parametrize("circular", [False, True])
def test_true_steps_give_the_sound_back(circular: bool) -> None:
    true = sound(6400, 8000)
    spectrum = stft(true, 256, 256, 32, circular=circular)[0, :, :200].T.numpy()
    phase = integrate(np.abs(spectrum), *true_steps(spectrum, 32), 32, circular=circular)
    made = torch.from_numpy(np.abs(spectrum) * phase).T[None]
    back = istft(made, 256, 256, 32, circular=circular, length=6400)
    # Separate components may turn against each other, so not zero; a random phase gives 0.6.
    assert convergence(true, back, circular) < 0.08


def test_known_cells_among_others_stay_and_are_continued() -> None:
    """A box in the middle of a sound: what lies around it leads into it in phase."""
    true = sound(6400, 8000)
    spectrum = stft(true, 256, 256, 32)[0, :, :200].T.numpy()
    known = spectrum / np.maximum(np.abs(spectrum), 1e-12)
    fixed = np.ones(spectrum.shape, bool)
    fixed[80:100, 10:60] = False
    phase = integrate(np.abs(spectrum), *true_steps(spectrum, 32), 32, known=known, fixed=fixed)
    assert np.allclose(phase[fixed], known[fixed], atol=1e-5)
    loud = ~fixed & (np.abs(spectrum) > 1e-2 * np.abs(spectrum).max())
    assert np.median(np.abs(np.angle(phase * known.conj()))[loud]) < 0.1


def test_sweeping_on_mends_what_contradicts_the_steps() -> None:
    true = sound(6400, 8000)
    spectrum = stft(true, 256, 256, 32)[0, :, :200].T.numpy()
    noise = np.random.default_rng(0).normal(0, 0.8, spectrum.shape)
    spoilt = np.exp(1j * noise) * spectrum
    mended = integrate(np.abs(spectrum), *true_steps(spectrum, 32), 32, start=spoilt, sweeps=1)

    def error(phases: np.ndarray) -> float:
        return float(np.abs(np.angle(phases * spectrum.conj()))[np.abs(spectrum) > 1e-3].mean())

    assert error(mended) < 0.5 * error(spoilt)


def test_known_frames_stay_and_are_continued() -> None:
    true = sound(6400, 8000)
    spectrum = stft(true, 256, 256, 32)[0, :, :200].T.numpy()
    steps = true_steps(spectrum, 32)
    known = spectrum[:20] / np.abs(spectrum[:20])
    phase = integrate(np.abs(spectrum), *steps, 32, known=known)
    assert np.allclose(phase[:20], known, atol=1e-5)
    # What is loud goes on with the true phase, not with any.
    loud = np.abs(spectrum[20:30]) > 0.1 * np.abs(spectrum).max()
    turned = np.abs(np.angle(phase[20:30] * spectrum[20:30].conj()))[loud]
    assert np.median(turned) < 0.1


def test_silence_and_single_columns_are_decoded() -> None:
    decoder = Vocoder(network(), SMALL)
    assert not reconstruct(torch.zeros(1, 40, 50), SMALL, vocoder=decoder).any()
    for columns in (1, 2, 3, 5):
        made = reconstruct(torch.rand(2, 40, columns), SMALL, vocoder=decoder)
        assert made.shape == (2, 32 * columns) and made.isfinite().all()


def test_an_output_depends_on_frames_within_reach_only() -> None:
    made = network()
    place = place_of(SMALL, torch.device("cpu"))
    mel = mel_magnitude(sound(8000, 8000), SMALL)
    logs = features(mel, SMALL, reference_of(mel, SMALL))
    changed = logs.clone()
    changed[:, :, 120] = 0.0
    with torch.no_grad():
        different = (made(logs, place) != made(changed, place)).any(dim=1).any(dim=-1)[0]
    touched = torch.nonzero(different)[:, 0]
    assert len(touched) > 10
    assert touched.min() >= 120 - made.reach and touched.max() <= 120 + made.reach


def test_the_network_works_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Vocoder(network(), SMALL)
    mel = mel_magnitude(sound(16000, 8000), SMALL)
    for circular in (False, True):
        whole = decoder.cells(mel, circular=circular)
        monkeypatch.setattr(vocoder, "NETWORK_FRAMES", 64)
        pieces = decoder.cells(mel, circular=circular)
        monkeypatch.undo()
        for one, other in zip(whole, pieces, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_long_pictures_go_through_in_blocks_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady tone through true steps: at a block's border it neither clicks nor loses its level."""

    class Knowing(Vocoder):
        def cells(self, mel, start=0, stop=None, *, circular=False, tick=None):  # type: ignore[no-untyped-def]
            spectrum = stft(true, 256, 256, 32)[..., : mel.shape[-1]].transpose(-1, -2)[:, start:stop]
            advance, across = true_steps(spectrum[0].numpy(), 32)
            return spectrum.abs(), torch.from_numpy(advance)[None], torch.from_numpy(across)[None]

    t = torch.arange(32 * 600) / 8000
    true = torch.sin(2 * torch.pi * 440 * t)[None]
    decoder = Knowing(network(), SMALL)
    mel = mel_magnitude(true, SMALL)
    monkeypatch.setattr(search, "_BLOCK_COLUMNS", 220)
    made = reconstruct(mel, SMALL, PhaseSearch(0), vocoder=decoder, length=32 * 600)[0]
    assert made.shape == (32 * 600,)
    inner = made[2000:-2000]
    level = inner.unfold(0, 400, 100).square().mean(dim=-1).sqrt()
    assert float(level.max() / level.min()) < 1.02
    # A click would be broad; a sine obeys x[n+1] + x[n−1] = 2cos(ω)·x[n].
    rest = inner[2:] + inner[:-2] - 2 * np.cos(2 * np.pi * 440 / 8000) * inner[1:-1]
    assert float(rest.abs().max()) < 0.01


def test_decoding_is_the_same_twice_and_a_silent_channel_changes_nothing() -> None:
    decoder = Vocoder(network(), SMALL)
    mel = mel_magnitude(torch.cat([sound(4000, 8000), sound(4000, 8000, seed=1)]), SMALL)
    made = reconstruct(mel, SMALL, vocoder=decoder, length=3999)
    assert made.shape == (2, 3999)
    assert torch.equal(made, reconstruct(mel, SMALL, vocoder=decoder, length=3999))
    mel[0] = 0
    made = reconstruct(mel, SMALL, PhaseSearch(0), vocoder=decoder, length=3999)
    alone = reconstruct(mel[1:], SMALL, PhaseSearch(0), vocoder=decoder, length=3999)
    assert float(made[0].abs().max()) < 1e-30
    # Not to the bit: sums of another order, and iterations that make much of little.
    assert float((made[1:] - alone).norm() / alone.norm()) < 0.01


def test_a_louder_picture_is_the_same_sound_louder() -> None:
    decoder = Vocoder(network(), SMALL)
    mel = mel_magnitude(sound(4000, 8000), SMALL)
    quiet, loud = reconstruct(mel, SMALL, vocoder=decoder), reconstruct(1024 * mel, SMALL, vocoder=decoder)
    assert torch.allclose(1024 * quiet, loud, atol=1e-5 * float(loud.abs().max()))


def test_a_loop_has_whole_hops() -> None:
    decoder = Vocoder(network(), SMALL)
    assert reconstruct(torch.rand(1, 40, 33), SMALL, vocoder=decoder, circular=True).shape == (1, 33 * 32)


def written(path: Path, fmt: SpectrogramFormat = SMALL) -> Path:
    vocoder.write(path, network(), fmt, {"modelspec.license": "MIT"})
    return path


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    path = written(tmp_path / "small.safetensors")
    read = vocoder.read(path)
    assert read.fmt == SMALL and read.metadata["modelspec.license"] == "MIT"
    for name, tensor in network().state_dict().items():
        assert torch.allclose(read.network.state_dict()[name], tensor, atol=1e-3)
    with pytest.raises(SonopaintError, match="already exists"):
        written(path)


def test_the_users_weights_are_found_for_every_channel_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vocoder, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path / "models"))
    assert vocoder.load(SMALL) is None
    written(tmp_path / "shipped" / "vocoder" / "small.safetensors")
    shipped = vocoder.load(SMALL)
    assert shipped is not None and vocoder.load(SMALL) is shipped
    stereo = vocoder.load(SMALL.with_channels("stereo"))
    assert stereo is shipped
    written(tmp_path / "models" / "vocoder" / "small.safetensors")
    assert vocoder.load(SMALL) is not shipped
    assert vocoder.load(PRESETS["sonopaint-mini"]) is None
    assert vocoder.load(SMALL.with_channels("rgb")) is None and not caplog.records  # its bands are others


def test_decoding_a_picture_starts_from_the_weights_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocoder, "shipped_folder", lambda: tmp_path)
    picture = encode(Clip(sound(8000, 8000), 8000), SMALL)
    without = decode(picture).waveform
    written(tmp_path / "vocoder" / "small.safetensors")
    made = decode(picture).waveform
    assert made.shape == without.shape == (1, 8000)
    assert not torch.equal(made, without)
    assert torch.equal(decode(picture, PhaseSearch(learned=False)).waveform, without)
    # The mel bands decide the loudness, whatever the network says.
    assert float(made.square().mean() / without.square().mean()) == pytest.approx(1, abs=0.3)


def test_parts_and_edits_start_from_the_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocoder, "shipped_folder", lambda: tmp_path)
    clip = Clip(sound(8000, 8000), 8000)
    write_clip(clip, tmp_path / "x.wav", subtype="FLOAT")
    index = encode_parts(tmp_path / "x.wav", tmp_path / "x.png", SMALL, 0.3)[-1]
    canvas = inpaint_canvas(clip, Region((Box(0.3, 0.6),)), SMALL)
    levels = torch.where(torch.from_numpy(canvas.mask) > 0.5, 0.7, canvas.picture.levels())
    painted = Picture.from_levels(levels, SMALL, canvas.picture.peak, canvas.picture.num_samples)

    def made(search: PhaseSearch) -> list[torch.Tensor]:
        decode_parts(index, tmp_path / "y.wav", search, subtype="FLOAT", force=True)
        return [read_clip(tmp_path / "y.wav").waveform, put_back(canvas, painted, search).waveform]

    without = made(PhaseSearch(4))
    written(tmp_path / "vocoder" / "small.safetensors")
    for first, second, third in zip(
        without, made(PhaseSearch(4)), made(PhaseSearch(4, learned=False)), strict=True
    ):
        assert torch.equal(first, third) and not torch.equal(first, second)
        assert float(second.square().mean() / first.square().mean()) == pytest.approx(1, abs=0.3)


def test_weights_of_another_grid_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vocoder, "shipped_folder", lambda: tmp_path)
    written(tmp_path / "vocoder" / "sonopaint-mini.safetensors")
    assert vocoder.load(PRESETS["sonopaint-mini"]) is None
    assert "another format" in caplog.text
    with pytest.raises(SonopaintError, match="small"):
        other = vocoder.read(tmp_path / "vocoder" / "sonopaint-mini.safetensors")
        reconstruct(torch.rand(1, 128, 4), PRESETS["sonopaint-mini"], vocoder=other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors, header: header.pop("sonopaint.vocoder"), "holds no decoder"),
        (lambda tensors, header: header.update({"sonopaint.vocoder": "[1"}), "holds no decoder"),
        (
            lambda tensors, header: header.update(
                {"sonopaint.vocoder": json.dumps({"width": 10**9, "deep": 8, "blocks": 1})}
            ),
            "impossible",
        ),
        (
            lambda tensors, header: header.update(
                {"sonopaint.vocoder": json.dumps({"width": 8, "deep": 8, "blocks": 1, "frames": 400})}
            ),
            "impossible",
        ),
        (lambda tensors, header: tensors.pop("stem.bias"), "does not fit"),
        (lambda tensors, header: tensors.update({"stem.bias": torch.zeros(3)}), "does not fit"),
        (lambda tensors, header: header.update({"sonopaint.format": "{}"}), "holds no decoder"),
    ],
)
def test_files_that_lie_are_refused_in_one_sentence(tmp_path: Path, change, words) -> None:  # type: ignore[no-untyped-def]
    path = written(tmp_path / "small.safetensors")
    tensors = load_file(path)
    header = read_header(path)[1]
    change(tensors, header)
    save_file(tensors, path, metadata=header)
    with pytest.raises(SonopaintError, match=words) as caught:
        vocoder.read(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "small.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SonopaintError, match="truncated"):
        vocoder.read(path)


def test_the_quickest_search_takes_a_quick_decoder_where_windows_overlap_little() -> None:
    mini, riffusion = PRESETS["sonopaint-mini"], PRESETS["riffusion-v1"]
    quick, other = PhaseSearch().decoder(mini), PhaseSearch.of("normal").decoder(mini)
    assert quick is not None and other is not None and quick.network.patch[0] > other.network.patch[0]
    assert PhaseSearch().decoder(mini.with_channels("stereo")) is quick
    assert PhaseSearch().decoder(riffusion) is PhaseSearch.of("best").decoder(riffusion) is not None
    for name in ("fast", "normal"):
        assert PhaseSearch.of(name, learned=False).decoder(mini) is None


@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
def test_what_lies_in_the_middle_of_stereo_stays_there(name: str) -> None:
    """A sound a little to the left, with noise of its own in each channel, is one sound."""
    fmt = PRESETS[name].with_channels("stereo")
    one = sound(2 * fmt.sample_rate, fmt.sample_rate)
    noises = 0.002 * torch.randn(2, one.shape[1], generator=torch.Generator().manual_seed(5))
    clip = Clip(one * torch.tensor([[1.0], [0.6]]) + noises, fmt.sample_rate)
    for begun in (True, False):
        made = decode(encode(clip, fmt), PhaseSearch(learned=begun)).waveform
        assert float(torch.corrcoef(made)[0, 1]) > 0.98 * float(torch.corrcoef(clip.waveform)[0, 1])
    # Two that have nothing in common stay two.
    apart = torch.cat([one, 0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(6))])
    made = decode(encode(Clip(apart, fmt.sample_rate), fmt)).waveform
    assert abs(float(torch.corrcoef(made)[0, 1])) < 0.3
