"""SpectrogramFormat: everything that is needed to turn sound into a picture and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sonoconvert.errors import SonopaintError

# Larger values are always mistakes (or attacks through a file's header), never useful formats.
_MAX_FFT = 1 << 17
_MAX_MELS = 4096
_MAX_WIDTH = 1 << 20

CHANNELS = ("mono", "stereo", "mid-side", "rgb")


@dataclass(frozen=True)
class SpectrogramFormat:
    """A mel spectrogram picture format.

    Frames are centred: column k shows the sound around sample `k * hop_length`, analysed by a
    periodic Hann window of `win_length` samples, zero padded to `n_fft`. Magnitudes (not powers) are
    summed into `n_mels` triangular mel bands between `f_min` and `f_max` Hz, and mapped to a level
    in [0, 1] by the curve, relative to the loudest cell (the peak):

    * "db": level = clip(1 − 20·log10(S / S_max) / floor_db, 0, 1), with a negative `floor_db`;
    * "power": level = (S / S_max) ** exponent.

    `inverted` pictures draw loud as dark and are floored to 8 bits (as Riffusion v1 does); others draw
    loud as white and are rounded. The lowest frequency is the bottom row.

    `channels` says what the picture's red, green and blue hold:

    * "mono": the same three times (read back as their mean);
    * "stereo": nothing, left, right (as Riffusion's);
    * "mid-side": (left + right) / 2, left, right. Red alone is the mono picture, and a grey picture, such
      as a mono checkpoint paints, is sound in the middle (`sonoconvert.pictures.mid_side`);
    * "rgb": mono with `n_mels` bands in a third as many rows: each pixel holds three neighbouring bands,
      the lowest in red (Riffusion's pull request 50, "triple resolution").
    """

    name: str
    sample_rate: int
    n_fft: int
    win_length: int
    hop_length: int
    n_mels: int
    f_min: float
    f_max: float
    mel_scale: str = "htk"
    mel_norm: str | None = None
    curve: str = "db"
    floor_db: float = -80.0
    exponent: float = 0.25
    inverted: bool = False
    channels: str = "mono"
    width: int = 320

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def num_channels(self) -> int:
        """Channels of the sound."""
        return 2 if self.channels in ("stereo", "mid-side") else 1

    @property
    def num_planes(self) -> int:
        """Spectrograms in one picture: of the sound's channels, and of their mean where it is drawn too."""
        return 3 if self.channels == "mid-side" else self.num_channels

    @property
    def rows(self) -> int:
        """Height of the picture in pixels."""
        return self.n_mels // 3 if self.channels == "rgb" else self.n_mels

    def with_channels(self, channels: str) -> SpectrogramFormat:
        """The same picture with another channel layout; "rgb" has three times the bands on a finer FFT.

        Raises:
            SonopaintError: no such layout.
        """
        if channels == self.channels:
            return self
        n_mels, n_fft = self.n_mels, self.n_fft
        if self.channels == "rgb":
            n_mels, n_fft = n_mels // 3, max(n_fft // 6 * 2, self.win_length)
        elif channels == "rgb":
            # Bands a third as wide need bins a third as wide, or the lowest ones would be empty.
            n_mels, n_fft = n_mels * 3, min(n_fft * 3, _MAX_FFT)
        base = self.name.removesuffix(f"-{self.channels}")
        name = base if channels == "mono" else f"{base}-{channels}"
        return dataclasses.replace(self, name=name, channels=channels, n_mels=n_mels, n_fft=n_fft)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SpectrogramFormat:
        """Rebuild a format; unknown keys are ignored so that newer files still load.

        Raises:
            SonopaintError: a field is missing, of the wrong type or out of range.
        """
        if not isinstance(values, Mapping):
            raise SonopaintError(f"A spectrogram format must be a dictionary, not {type(values).__name__}.")
        known: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name in values:
                known[field.name] = _coerce(field.name, str(field.type), values[field.name])
            elif field.default is dataclasses.MISSING:
                raise SonopaintError(
                    f"The spectrogram format lacks {field.name!r}; use one of {_preset_names()}."
                )
        return _renamed(cls(**known))

    def frames(self, num_samples: int) -> int:
        """Columns of a clip of `num_samples` at `sample_rate` (at least 1).

        Centred analysis gives `1 + num_samples // hop_length` frames; where the length is a multiple of
        the hop, the surplus last one is cropped, so that 512 hops are 512 columns.
        """
        return max(1, math.ceil(num_samples / self.hop_length))

    def seconds(self, columns: float) -> float:
        """Duration of `columns` columns."""
        return columns * self.hop_length / self.sample_rate

    def columns(self, seconds: float) -> int:
        """Nearest whole number of columns to a time in seconds."""
        return round(seconds * self.sample_rate / self.hop_length)

    def mel_row(self, hz: float) -> float:
        """Fractional row (0 = lowest band's centre) at a frequency in Hz."""
        low, high = hz_to_mel(self.f_min, self.mel_scale), hz_to_mel(self.f_max, self.mel_scale)
        return (hz_to_mel(hz, self.mel_scale) - low) / (high - low) * (self.n_mels + 1) - 1

    def hz(self, row: float) -> float:
        """Frequency in Hz at a fractional row; the inverse of `mel_row`."""
        low, high = hz_to_mel(self.f_min, self.mel_scale), hz_to_mel(self.f_max, self.mel_scale)
        return mel_to_hz(low + (row + 1) / (self.n_mels + 1) * (high - low), self.mel_scale)


def hz_to_mel(hz: float, scale: str = "htk") -> float:
    """Hertz to mel: HTK, m = 2595·log10(1 + f/700), or Slaney's (linear below 1 kHz)."""
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hz / 700.0)
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def mel_to_hz(mel: float, scale: str = "htk") -> float:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def get_format(value: str | Mapping[str, Any] | SpectrogramFormat) -> SpectrogramFormat:
    """A format from a name ("perkins-10s", or with a layout "perkins-10s-rgb"), a dictionary or itself.

    Raises:
        SonopaintError: the name is not a preset, or the dictionary is not a valid format.
    """
    if isinstance(value, SpectrogramFormat):
        return value
    if isinstance(value, str):
        if value in PRESETS:
            return PRESETS[value]
        for channels in CHANNELS:
            base = PRESETS.get(value.removesuffix(f"-{channels}"))
            if base is not None and base.channels == "mono":
                return base.with_channels(channels)
        raise SonopaintError(
            f"There is no spectrogram format {value!r}; use one of {_preset_names()}, "
            f"or one of the mono ones with -{', -'.join(CHANNELS[1:])} after its name."
        )
    return SpectrogramFormat.from_dict(value)


def _renamed(fmt: SpectrogramFormat) -> SpectrogramFormat:
    """A format of an older file under today's name: "perkins-10s" in decibels is "perkins-10s-db"."""
    old, new = _PERKINS_10S.name, _PERKINS_10S_DB.name
    if fmt.curve == "db" and fmt.name.removesuffix(f"-{fmt.channels}") == old:
        return dataclasses.replace(fmt, name=new + fmt.name.removeprefix(old))
    return fmt


def _preset_names() -> str:
    return ", ".join(PRESETS)


def _coerce(name: str, kind: str, value: Any) -> Any:
    """Check one JSON value against the field's annotation; 44100.0 counts as an int."""
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind in ("int", "float") and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value) and (kind == "float" or value == int(value)):
            return int(value) if kind == "int" else float(value)
    if kind.startswith("str") and (isinstance(value, str) or (value is None and "None" in kind)):
        return value
    raise SonopaintError(f"The spectrogram format's {name} is {value!r}, which is not a valid {kind}.")


def _validate(fmt: SpectrogramFormat) -> None:
    def require(condition: bool, sentence: str) -> None:
        if not condition:
            raise SonopaintError(f"Spectrogram format {fmt.name!r}: {sentence}.")

    require(1000 <= fmt.sample_rate <= 768_000, f"sample_rate {fmt.sample_rate} is not in 1000…768000 Hz")
    require(16 <= fmt.win_length <= _MAX_FFT, f"win_length {fmt.win_length} is not in 16…{_MAX_FFT}")
    require(fmt.win_length % 2 == 0, f"win_length {fmt.win_length} must be even")
    require(
        fmt.win_length <= fmt.n_fft <= _MAX_FFT,
        f"n_fft {fmt.n_fft} must lie between win_length {fmt.win_length} and {_MAX_FFT}",
    )
    require(fmt.n_fft % 2 == 0, f"n_fft {fmt.n_fft} must be even")
    require(
        1 <= fmt.hop_length <= fmt.win_length // 2,
        f"hop_length {fmt.hop_length} must be between 1 and half of win_length {fmt.win_length}",
    )
    require(1 <= fmt.n_mels <= _MAX_MELS, f"n_mels {fmt.n_mels} is not in 1…{_MAX_MELS}")
    require(
        0 <= fmt.f_min < fmt.f_max <= fmt.sample_rate / 2,
        f"f_min {fmt.f_min} and f_max {fmt.f_max} must satisfy 0 ≤ f_min < f_max ≤ {fmt.sample_rate / 2} Hz",
    )
    require(fmt.mel_scale in ("htk", "slaney"), f"mel_scale {fmt.mel_scale!r} is neither 'htk' nor 'slaney'")
    require(fmt.mel_norm in (None, "slaney"), f"mel_norm {fmt.mel_norm!r} is neither None nor 'slaney'")
    require(fmt.curve in ("db", "power"), f"curve {fmt.curve!r} is neither 'db' nor 'power'")
    require(-200 <= fmt.floor_db < 0, f"floor_db {fmt.floor_db} is not in −200…0 dB")
    require(0.01 <= fmt.exponent <= 4, f"exponent {fmt.exponent} is not in 0.01…4")
    require(fmt.channels in CHANNELS, f"channels {fmt.channels!r} is not one of {', '.join(CHANNELS)}")
    require(
        fmt.channels != "rgb" or fmt.n_mels % 3 == 0,
        f"n_mels {fmt.n_mels} must be a multiple of 3 for channels 'rgb'",
    )
    require(1 <= fmt.width <= _MAX_WIDTH, f"width {fmt.width} is not in 1…{_MAX_WIDTH}")


_RIFFUSION_V1 = SpectrogramFormat(
    # riffusion/spectrogram_params.py: steps of 10 ms, windows of 100 ms padded to 400 ms.
    name="riffusion-v1",
    sample_rate=44_100,
    n_fft=17_640,
    win_length=4_410,
    hop_length=441,
    n_mels=512,
    f_min=0.0,
    f_max=10_000.0,
    curve="power",
    exponent=0.25,
    inverted=True,
    width=512,
)

_PERKINS_10S = dataclasses.replace(
    # Perkins (2023) takes Riffusion's conversion as it is and changes the hop, so that 10 s are 512 columns
    # (eq. 3.1; 861 samples, the surplus column is cropped), and the band.
    _RIFFUSION_V1,
    name="perkins-10s",
    hop_length=861,
    f_min=20.0,
    f_max=20_000.0,
)

# The same grid in decibels, loud in white. Files from before it had this name call it "perkins-10s".
_PERKINS_10S_DB = dataclasses.replace(_PERKINS_10S, name="perkins-10s-db", curve="db", inverted=False)

_SONOPAINT_MINI = SpectrogramFormat(
    # The shipped model's: 320 columns of 16 ms are 5.12 s.
    name="sonopaint-mini",
    sample_rate=32_000,
    n_fft=4_096,
    win_length=2_048,
    hop_length=512,
    n_mels=128,
    f_min=20.0,
    f_max=16_000.0,
    width=320,
)

_FULL_48K = SpectrogramFormat(
    # The rate of film and games, all that it can hold, in Riffusion's time grid: 512 columns of 10 ms. The
    # floor lies at 16 bits' worth, because the top octave is usually quiet.
    name="full-48k",
    sample_rate=48_000,
    n_fft=19_200,
    win_length=4_800,
    hop_length=480,
    n_mels=512,
    f_min=20.0,
    f_max=24_000.0,
    floor_db=-96.0,
    width=512,
)

PRESETS: dict[str, SpectrogramFormat] = {
    fmt.name: fmt
    for fmt in (
        _RIFFUSION_V1,
        _RIFFUSION_V1.with_channels("stereo"),
        _RIFFUSION_V1.with_channels("mid-side"),
        _RIFFUSION_V1.with_channels("rgb"),
        _PERKINS_10S,
        _PERKINS_10S_DB,
        _FULL_48K,
        _FULL_48K.with_channels("mid-side"),
        _SONOPAINT_MINI,
    )
}
