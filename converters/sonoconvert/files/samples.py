"""Types of samples: which hold which, and the numbers that libsndfile stores without touching them."""

from __future__ import annotations

import numpy as np
import soundfile

INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
# Types whose samples are more than a float32 holds, and as what they are read.
_WIDE = {"PCM_32": "int32", "ALAC_32": "int32", "DOUBLE": "float64"}
# Codecs that decode to integers: the plain type that holds what comes out of them.
_PLAIN = {
    "ULAW": 16,
    "ALAW": 16,
    "IMA_ADPCM": 16,
    "MS_ADPCM": 16,
    "GSM610": 16,
    "VOX_ADPCM": 16,
    "NMS_ADPCM_16": 16,
    "NMS_ADPCM_24": 16,
    "NMS_ADPCM_32": 16,
    "G721_32": 16,
    "G723_24": 16,
    "G723_40": 16,
    "DPCM_8": 8,
    "DPCM_16": 16,
    "DWVW_12": 16,
    "DWVW_16": 16,
    "DWVW_24": 24,
    "ALAC_16": 16,
    "ALAC_20": 24,
    "ALAC_24": 24,
    "ALAC_32": 32,
}
LOSSY = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}  # what containers that round every sample hold
_KEPT = {"ULAW", "ALAW"}  # coded anew, they give the same samples again
_WIDER = ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32"]


def read_as(subtype: str) -> str:
    """NumPy's name of the type that holds every sample of a file of this type: float32 for nearly all."""
    return _WIDE.get(subtype, "float32")


def as_float32(samples: np.ndarray) -> np.ndarray:
    """Samples as they were read, as float32: integers of 32 bits are scaled to [−1, 1)."""
    if samples.dtype == np.int32:
        return (samples / 2.0**31).astype(np.float32)
    return samples.astype(np.float32, copy=False)


def loses(samples: np.ndarray, values: np.ndarray) -> bool:
    """Whether `values`, float32, are not all that `samples` are."""
    if samples.dtype == np.float32:
        return False
    scale = 2.0**31 if samples.dtype == np.int32 else 1.0
    return not np.array_equal(values.astype(np.float64) * scale, samples)


def holding(container: str, own: str | None) -> tuple[str, bool]:
    """(type, whether it holds every sample) for what comes from a file of type `own`, in a container.

    The file's own type where it is plain; else the narrowest one that holds what it decodes to, else the
    widest that there is.
    """
    if container in LOSSY:
        return LOSSY[container], own is None
    if own is None:
        return "PCM_16", True
    if own in INTEGER_BITS or own in _PLAIN:
        bits = INTEGER_BITS.get(own) or _PLAIN[own]
        own_kept = [own] if own in _KEPT or own in INTEGER_BITS else []
        wanted = own_kept + [name for name in _WIDER if INTEGER_BITS[name] >= bits]
    else:  # all else decodes to float32
        wanted = ["DOUBLE"] if own == "DOUBLE" else ["FLOAT", "DOUBLE"]
    for name in wanted:
        if soundfile.check_format(container, name):
            return name, True
    return "PCM_24", False


def quantised(waveform: np.ndarray, subtype: str, exact: np.ndarray | None = None) -> np.ndarray:
    """float32 [frames, channels] → numbers that libsndfile stores as they are.

    Integer types are rounded to the nearest step of 2^(1−bits) and clipped, so that samples which came from
    such a file go back bit for bit (libsndfile's own conversion would scale by 2^(bits−1) − 1).

    Args:
        exact: the samples of the file that the sound came from, int32 or float64; they are taken wherever
            the waveform is still theirs.
    """
    bits = INTEGER_BITS.get(subtype)
    if bits is None and subtype != "DOUBLE":
        return waveform
    wide = waveform.astype(np.float64)
    if exact is not None:
        theirs = exact / 2.0**31 if exact.dtype == np.int32 else exact
        wide = np.where(as_float32(exact) == waveform, theirs, wide)
    if bits is None:
        return wide
    scale = 2.0 ** (bits - 1)
    whole = np.clip(np.round(wide * scale), -scale, scale - 1)
    # libsndfile keeps the upper bits of the integers that it is given.
    return whole.astype(np.int16) << (16 - bits) if bits <= 16 else whole.astype(np.int32) << (32 - bits)
