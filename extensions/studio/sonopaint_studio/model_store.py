"""The models on this computer, and the one that is loaded: it stays so from job to job."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.defaults import FORMAT
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonopaint.tasks.settings import ONE_STEP, SD_DEFAULTS
from sonopaint.tasks.waves import DEFAULT_S, VIEW
from sonopaint_studio.jobs import Report
from sonopaint_studio.memory import give_back_memory

if TYPE_CHECKING:
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonopaint.models.info import ModelInfo
    from sonopaint.models.model import Model
    from sonopaint.models.wave_families import WaveFamily
    from sonopaint.painters.diffusers_waves.base import WavePipeline

logger = logging.getLogger(__name__)
Lora = tuple[str, float]  # path, weight
STUDENT_DEFAULTS: dict[str, Any] = {"steps": 1, "guidance_scale": 1.0, "sampler": ONE_STEP}


class ModelStore:
    """Keeps one loaded model. Jobs take turns with it: the JobQueue runs one at a time."""

    def __init__(self, extra: Path | None = None) -> None:
        self._extra = extra  # a model from elsewhere, named on the command line
        self._turn = threading.Lock()
        self._loaded: tuple[tuple[str, tuple[Lora, ...]], Model | WavePipeline] | None = None

    def models(self) -> list[ModelInfo]:
        """Everything that paints: spectrograms, shipped models first, then waveforms."""
        from sonopaint.models.info import describe

        found = [info for info in _listed() if info.kind != "lora"]
        found.sort(key=lambda info: info.kind == "waveform")
        if self._extra is not None and all(info.path != self._extra for info in found):
            found.append(describe(self._extra))
        return found

    def loras(self) -> list[ModelInfo]:
        return [info for info in _listed() if info.kind == "lora"]

    def find(self, path: str | None) -> ModelInfo:
        """The listed model at `path`; SonopaintError for anything that is not in the list."""
        for info in self.models():
            if str(info.path) == path:
                return info
        if not path:
            raise SonopaintError("There is no model yet: add one on the Models page.")
        raise SonopaintError(f"The model {Path(path).name} is no longer there: choose another one.")

    def defaults(self, path: str | None, loras: Sequence[Lora] = ()) -> dict[str, Any]:
        """Steps, guidance scale and sampler that suit the model with these LoRAs."""
        if self.is_student(path, loras):
            return dict(STUDENT_DEFAULTS)
        if family := self._family(path):
            return {**SD_DEFAULTS, "steps": family.steps, "guidance_scale": family.guidance}
        try:
            config = json.loads((self.find(path).path / "config.json").read_text(encoding="utf-8"))
            return {**SD_DEFAULTS, **config["defaults"]}
        except (SonopaintError, OSError, ValueError, KeyError, TypeError):
            return dict(SD_DEFAULTS)

    def seconds(self, path: str | None) -> float:
        """How long the model's own pictures are; of a model of waveforms, what it makes where nobody says."""
        if family := self._family(path):
            return min(DEFAULT_S, family.seconds)
        try:
            fmt = self.find(path).format
        except SonopaintError:
            fmt = None
        fmt = fmt or get_format(FORMAT)
        return round(fmt.seconds(fmt.width), 2)

    def format(self, path: str | None) -> SpectrogramFormat | None:
        """What sounds are drawn in for a model; None where it is not there or does not say."""
        try:
            info = self.find(path)
        except SonopaintError:
            return None
        return get_format(VIEW) if info.kind == "waveform" else info.format

    def _family(self, path: str | None) -> WaveFamily | None:
        from sonopaint.models.info import wave_family

        return wave_family(Path(path)) if path else None

    def is_student(self, path: str | None, loras: Sequence[Lora] = ()) -> bool:
        """Whether the model, or a LoRA on it, was distilled to one step."""
        from sonopaint.models.students import paints_in_one_step

        used = {lora for lora, weight in loras if weight}
        listed = [info for info in _listed() if str(info.path) in used or str(info.path) == path]
        return any(paints_in_one_step(info) for info in listed)

    def has_student(self, path: str | None) -> bool:
        """Whether a one-step version of the model lies beside it."""
        from sonopaint.models.students import student_beside

        return bool(path) and student_beside(Path(str(path))) is not None

    @contextmanager
    def use(
        self, path: str | None, loras: Sequence[Lora], report: Report, *, one_step: bool = False
    ) -> Iterator[Model | WavePipeline]:
        """Yield the model, loaded with `loras`. `report` may raise Cancelled.

        one_step: with the student beside the model where neither it nor a LoRA is one.
        """
        info = self.find(path)
        known = {str(lora.path) for lora in self.loras()}
        for lora, _ in loras:
            if lora not in known:
                raise SonopaintError(f"The LoRA {Path(lora).name} is no longer there: choose another one.")
        if one_step:
            from sonopaint.models.info import describe
            from sonopaint.models.students import with_student

            student, used = with_student(info.path, loras)
            info, loras = describe(student), [(str(lora), weight) for lora, weight in used]
        with self._turn:
            yield self._load(info, tuple(loras), report)

    @property
    def loaded(self) -> str | None:
        """The name of the model that is in memory."""
        loaded = self._loaded
        return Path(loaded[0][0]).name if loaded else None

    def free(self) -> None:
        """Forget the loaded model and give its memory back, unless a job uses it."""
        if self._turn.acquire(blocking=False):
            try:
                self._loaded = None
                give_back_memory()
            finally:
                self._turn.release()

    def _load(self, info: ModelInfo, loras: tuple[Lora, ...], report: Report) -> Model | WavePipeline:
        from sonopaint.painters.diffusers_waves.loading import open_model

        key = (str(info.path), loras)
        if self._loaded is None or self._loaded[0] != key:
            report(0, 0, f"Loading {title(info)}")
            self._loaded = None  # two models at once may not fit into memory
            give_back_memory()
            self._loaded = (key, open_model(info.path, loras=loras))
        return self._loaded[1]


def title(info: ModelInfo) -> str:
    """What people call a model: "Sonopaint Mini" for the shipped one, else its name."""
    return "Sonopaint Mini" if info.shipped and info.name == "mini" else info.name


def _listed() -> list[ModelInfo]:
    from sonopaint.models.info import list_models

    return list_models()
