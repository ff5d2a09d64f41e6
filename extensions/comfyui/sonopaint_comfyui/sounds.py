"""ComfyUI's AUDIO and IMAGE from and to Clips and Pictures, with checks that say what to change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonopaint_comfyui.kinds import PictureInfo


def clips_of(audio: Any) -> list[Clip]:
    """The clips of an AUDIO value ({"waveform": [batch, channels, samples], "sample_rate": Hz}).

    Raises SonopaintError for no audio (a video without sound), no samples, or samples that are no numbers.
    """
    if audio is None:
        raise SonopaintError("There is no audio: the file or video that it comes from has no sound track.")
    waveform, rate = audio["waveform"], int(audio["sample_rate"])
    if waveform.ndim != 3 or waveform.shape[0] == 0 or waveform.shape[1] == 0 or waveform.shape[2] == 0:
        raise SonopaintError(
            f"The audio is empty (shape {list(waveform.shape)}); connect a sound with at least one sample."
        )
    waveform = waveform.detach().cpu().float()
    if not bool(torch.isfinite(waveform).all()):
        raise SonopaintError("The audio has samples that are not numbers (NaN or infinite); repair it first.")
    return [Clip(item, rate) for item in waveform]


def audio_of(clips: Sequence[Clip]) -> dict[str, Any]:
    """An AUDIO value of clips that share rate, channels and length."""
    sizes = {(clip.sample_rate, clip.num_channels, clip.num_samples) for clip in clips}
    if len(sizes) != 1:
        raise SonopaintError(
            "The clips differ in length, channels or rate, and ComfyUI's audio batches can't; "
            "process them one by one."
        )
    return {"waveform": torch.stack([clip.waveform for clip in clips]), "sample_rate": clips[0].sample_rate}


def image_of(pictures: Sequence[Picture]) -> torch.Tensor:
    """An IMAGE [batch, rows, columns, 3] in 0 … 1."""
    return torch.from_numpy(np.stack([picture.pixels for picture in pictures])).float() / 255


def pixels_of(image: torch.Tensor, *, grey: bool) -> np.ndarray:
    """uint8 [rows, columns, 3] of one image [rows, columns, channels]; `grey`: the mean of its channels."""
    values = image[..., :3].detach().cpu().float().numpy() * 255
    if not np.isfinite(values).all():
        raise SonopaintError(
            "The picture has pixels that are not numbers: the model painted NaN; start ComfyUI with "
            "--force-fp32, or use a lower CFG."
        )
    if grey or values.shape[-1] == 1:
        values = np.repeat(values.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def pictures_of(image: torch.Tensor, info: PictureInfo) -> list[Picture]:
    """The pictures of an IMAGE in the format of `info`; columns beyond the known length are cut off.

    Raises SonopaintError where height, width or batch do not fit the format.
    """
    fmt, batch = info.format, image.shape[0]
    if image.shape[1] != fmt.rows:
        raise SonopaintError(
            f"The picture is {image.shape[2]} × {image.shape[1]} pixels, but {fmt.name} has {fmt.rows} "
            "rows; connect the format that the picture was made with, or don't scale it."
        )
    if len(info.peaks) not in (0, 1, batch):
        raise SonopaintError(
            f"The format knows the levels of {len(info.peaks)} pictures, but {batch} came; "
            "connect the format of these pictures."
        )
    peaks = info.peaks * batch if len(info.peaks) == 1 else info.peaks or (None,) * batch
    num_samples = None if info.loop else info.num_samples
    columns = image.shape[2]
    if num_samples is not None:
        columns = fmt.frames(num_samples)
        if image.shape[2] < columns:
            raise SonopaintError(
                f"The picture is {image.shape[2]} columns wide, but a sound of "
                f"{num_samples / fmt.sample_rate:.2f} s has {columns}; don't scale or crop it."
            )
    return [
        Picture(pixels_of(one[:, :columns], grey=fmt.channels == "mono"), fmt, peak, num_samples)
        for one, peak in zip(image, peaks, strict=True)
    ]


def repeated(items: Sequence[Any], count: int, what: str, other: str) -> list[Any]:
    """`items`, or the only one `count` times; SonopaintError where the numbers don't fit together."""
    if len(items) == count:
        return list(items)
    if len(items) == 1:
        return list(items) * count
    raise SonopaintError(
        f"There are {len(items)} {what} but {count} {other}; give one, or as many as there are {other}."
    )


def with_settings(clip: Clip, **settings: Any) -> Clip:
    """The clip with settings that ride along in its file."""
    return dataclasses.replace(clip, settings={**clip.settings, **settings})
