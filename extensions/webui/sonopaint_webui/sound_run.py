"""The accordion "Sound": what one run of txt2img or img2img makes of its pictures."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import json
import logging
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from modules import shared
from PIL import Image

from sonoconvert.conversion.convert import decode
from sonoconvert.defaults import ITERATIONS
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import write_clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat
from sonoconvert.pictures.picture import Picture, picture_from_image, picture_text
from sonoconvert.progress import Progress
from sonopaint_webui import host, results, settings
from sonopaint_webui.names import said

logger = logging.getLogger(__name__)

OWN_FORMAT = "From the checkpoint"
MAX_REMEMBERED = 500  # sounds that the page may still show
INFOTEXT = {"format": "Sound format", "audio_format": "Sound file", **settings.INFOTEXT}


@dataclass(frozen=True)
class SoundOptions:
    """What the accordion, the API, an infotext or an axis of the X/Y/Z plot asks for.

    format: a preset's name, or OWN_FORMAT for what the checkpoint or a LoRA in the prompt says.
    iterations, learned: see `settings`, whose values they have where nothing else is said.
    """

    enabled: bool = False
    format: str = OWN_FORMAT
    audio_format: str = "wav"
    iterations: int = ITERATIONS
    learned: bool = True

    @classmethod
    def of(
        cls, enabled: Any = False, format: Any = "", audio_format: Any = "", iterations: Any = None,
        learned: Any = None,
    ) -> SoundOptions:  # fmt: skip
        """Checked; SonopaintError says which value makes no sense."""
        format, audio_format = format or OWN_FORMAT, audio_format or settings.get("audio_format")
        iterations = settings.get("iterations") if iterations is None else iterations
        learned = settings.get("learned") if learned is None else learned
        for what, value in (("Sound", enabled), ("The learned decoder", learned)):
            if not isinstance(value, bool):
                raise SonopaintError(f"{what} is on with true and off with false, not {value!r:.80}.")
        for what, value, there in (
            ("spectrogram format", format, (OWN_FORMAT, *PRESETS)),
            ("sound format", audio_format, settings.AUDIO_FORMATS),
        ):
            if value not in there:
                raise SonopaintError(f"There is no {what} {value!r:.80}; choose one of {', '.join(there)}.")
        whole = isinstance(iterations, int) and not isinstance(iterations, bool)
        if not whole or not 0 <= iterations <= settings.MOST_ITERATIONS:
            raise SonopaintError(
                "The iterations of the phase reconstruction must be a whole number from 0 to "
                f"{settings.MOST_ITERATIONS}, not {iterations!r:.80}."
            )
        return cls(enabled, format, audio_format, iterations, learned)

    def infotext(self) -> dict[str, Any]:
        """What the host writes into the infotext."""
        return {label: getattr(self, name) for name, label in INFOTEXT.items()}


@dataclass
class Made:
    """A sound and the picture that it was made of."""

    path: Path
    picture: Picture
    seconds: float


@dataclass
class SoundRun:
    """Rides along on the host's processing object from its start to its end."""

    options: SoundOptions
    format: SpectrogramFormat
    source: Picture | None = None  # in img2img: a picture of ours, whose level is kept
    images: list[Image.Image] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    @classmethod
    def of(cls, p: Any, options: SoundOptions) -> SoundRun:
        """For a processing object that is about to start; what can't sound is refused or left out.

        Raises SonopaintError where the picture can't be a spectrogram.
        """
        if getattr(p, "txt2img_upscale", False):
            raise SonopaintError("No sound was made: an upscaled spectrogram can't be turned into sound.")
        source = source_of(p)
        given = "" if options.format == OWN_FORMAT else options.format
        given = getattr(p, "sonopaint_format", "") or given  # an axis of the X/Y/Z plot
        if source is not None and not given:
            fmt = source.format
        else:
            prompts = p.prompt if isinstance(p.prompt, list) else [p.prompt]
            fmt = host.format_of("\n".join(prompts), given)
        if p.height != fmt.rows:
            raise SonopaintError(
                f"No sound was made: the picture is {p.height} pixels high, but {fmt.name} has {fmt.rows} "
                'rows. Press "Set size" under Sound, or choose another spectrogram format.'
            )
        if getattr(p, "enable_hr", False):
            p.enable_hr = False
            p.comment("The high-res fix was left out: an upscaled spectrogram can't be turned into sound.")
        if source is not None and source.format != fmt:
            source = None
        if source is not None and source.columns != p.width:
            stretch = p.width / source.columns
            p.comment(
                f"The spectrogram was resized from {source.columns} to {p.width} columns, so the sound lasts "
                f"{stretch:.2f} times as long; the tab Sonopaint keeps the time as it is."
            )
        return cls(options, fmt, source)

    def picture_of(self, image: Image.Image, settings: Mapping[str, Any]) -> Picture:
        """A painted image as a Picture, at its source's level where there is one."""
        pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
        picture = Picture(pixels, self.format, settings=dict(settings))
        if self.source is None:
            return picture
        same = self.source.columns == picture.columns
        return dataclasses.replace(
            picture, peak=self.source.peak, num_samples=self.source.num_samples if same else None
        )

    def add(self, image: Image.Image) -> None:
        """A finished picture; what makes it a spectrogram goes with it to the gallery and to the API."""
        self.images.append(image)
        image.info.update(self.text_of(image))

    def text_of(self, image: Image.Image) -> dict[str, str]:
        """The chunks that make the host's PNG a Picture; none for grids, masks and previews."""
        if not any(image is one for one in self.images):
            return {}
        return picture_text(self.picture_of(image, {}))

    def finish(self, processed: Any) -> None:
        """Make the sounds of all pictures of a run, and tell the host's result about them."""
        state = shared.state
        # Who interrupted the painting wants the sounds of what is there.
        stop = None if state.interrupted else host.stop_if_asked
        infotexts = processed.infotexts[processed.index_of_first_image :]
        for index, image in enumerate(self.images):
            state.textinfo = f"Sound {index + 1} of {len(self.images)}"
            infotext = infotexts[index] if index < len(infotexts) else processed.info
            try:
                if stop is not None:
                    stop()
                made = self.make(image, record(processed, index, infotext), stop)
            except Cancelled:
                processed.comments += f"Interrupted: {len(self.images) - index} pictures have no sound.\n"
                break
            except (SonopaintError, OSError) as error:
                processed.comments += f"{said(error)}\n"
                logger.warning("%s", error)
                continue
            remember(str(processed.job_timestamp), infotext, made)
        state.textinfo = None
        sounds = [{"file": str(made.path), "url": results.address_of(made.path)} for made in self.made]
        processed.extra_generation_params = {**processed.extra_generation_params, "Sonopaint sounds": sounds}

    def make(
        self, image: Image.Image, settings_used: Mapping[str, Any], progress: Progress | None = None
    ) -> Made:
        """Turn an image into a sound beside its file, with the same name."""
        picture = self.picture_of(image, settings_used)
        search = PhaseSearch(self.options.iterations, learned=self.options.learned)
        clip = decode(picture, search, progress=progress)
        clip = dataclasses.replace(clip, settings=dict(settings_used))
        saved = getattr(image, "already_saved_as", None)
        beside = Path(saved).absolute() if saved else _temporary_folder() / f"{len(_remembered)}-{id(image)}"
        path = beside.with_suffix(f".{self.options.audio_format}")
        write_clip(clip, path, force=not saved)
        made = Made(path, picture, clip.duration_s)
        self.made.append(made)
        return made


def record(processed: Any, index: int, infotext: str) -> dict[str, Any]:
    """The settings that ride along in a sound."""

    def at(values: Any, single: Any) -> Any:
        return values[index] if isinstance(values, list) and index < len(values) else single

    return {
        "task": "generate",
        "prompt": at(processed.all_prompts, processed.prompt),
        "negative_prompt": at(processed.all_negative_prompts, processed.negative_prompt),
        "seed": at(processed.all_seeds, processed.seed),
        "steps": processed.steps,
        "guidance_scale": processed.cfg_scale,
        "sampler": processed.sampler_name,
        "model": processed.sd_model_name,
        "model_hash": processed.sd_model_hash or "",
        "infotext": infotext,
    }


def source_of(p: Any) -> Picture | None:
    """The picture of ours that img2img starts from, if it does and knows its format."""
    images = getattr(p, "init_images", None) or []
    return picture_in(images[0]) if images and isinstance(images[0], Image.Image) else None


def picture_in(first: Image.Image) -> Picture | None:
    """An image as the picture of ours that it is, by its text or by its pixels."""
    text = {key: value for key, value in first.info.items() if isinstance(value, str)}
    if "sonopaint.format" not in text:
        return recall(first)
    image: Any = first.convert("RGB")
    image.text = text  # what an opened PNG has, and its copies have not
    try:
        return picture_from_image(image, name="The picture")
    except SonopaintError as error:
        logger.warning("%s", error)
        return None


# ---------------------------------------------------------------- what the page may still ask for

_remembered: OrderedDict[str, Made] = OrderedDict()
_sources: OrderedDict[bytes, Picture] = OrderedDict()


def remember(timestamp: str, infotext: str, made: Made) -> None:
    """Keep a sound findable by the run's time and the picture's infotext, which the page knows."""
    _remembered[f"{timestamp}\n{infotext}"] = made
    keep_source(made.picture)
    while len(_remembered) > MAX_REMEMBERED:
        _remembered.popitem(last=False)


def keep_source(picture: Picture) -> None:
    """Keep a picture findable by its pixels."""
    _sources[_pixels_of(picture.pixels)] = picture
    while len(_sources) > MAX_REMEMBERED:
        _sources.popitem(last=False)


def shown(generation_info: str) -> list[Made]:
    """The sounds of the run that the host's generation info (JSON) is about, in the gallery's order."""
    try:
        info = json.loads(generation_info or "{}")
        timestamp, infotexts = str(info["job_timestamp"]), list(info["infotexts"])
    except (ValueError, KeyError, TypeError):
        return []
    # A grid has the infotext of its first picture.
    found = (_remembered.get(f"{timestamp}\n{infotext}") for infotext in dict.fromkeys(map(str, infotexts)))
    return [made for made in found if made is not None and made.path.is_file()]


def recall(image: Image.Image) -> Picture | None:
    """A picture of ours by its pixels: browsers that send it to img2img leave its text behind."""
    return _sources.get(_pixels_of(np.asarray(image.convert("RGB"), dtype=np.uint8)))


def _pixels_of(pixels: np.ndarray) -> bytes:
    return hashlib.sha1(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()


_folder: Path | None = None


def _temporary_folder() -> Path:
    """For sounds of pictures that nobody saves; gone when the WebUI ends."""
    global _folder
    if _folder is None or not _folder.is_dir():
        _folder = Path(tempfile.mkdtemp(prefix="sonopaint-"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    return _folder
