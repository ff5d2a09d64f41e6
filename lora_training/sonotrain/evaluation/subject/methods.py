"""The methods that a bench compares: each a run folder, a LoRA or a model, and how it samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.checkpoints.explain import is_model_folder
from sonoconvert.errors import SonopaintError
from sonoconvert.files.hashes import sha256_of
from sonopaint.models.info import describe, find_model, unet_file
from sonotrain.evaluation.bench.nouns import BASE
from sonotrain.files.json_files import read_json
from sonotrain.training.run_folder import read_log

SUBJECT = "{subject}"  # in a method's path: the subject's name
MEMORY = ("peak_memory_mb", "memory_mb")  # as the trainers' results and logs call it


@dataclass(frozen=True)
class Method:
    """A name, and where its weights lie; `token`: whether its prompts hold the rare token."""

    name: str
    where: str
    token: bool = True

    def path(self, subject: str) -> Path:
        return Path(self.where.replace(SUBJECT, subject)).expanduser()


@dataclass(frozen=True)
class Weights:
    """What is loaded for one subject: a model, a LoRA on it or none, and what its training took."""

    model: Path
    lora: Path | None
    minutes: float | None = None
    memory_mb: float | None = None

    def about(self) -> dict[str, Any]:
        """For the report: names and hashes, no paths of this machine."""
        lora = self.lora.name if self.lora else None
        return {"model": self.model.name, "lora": lora, "files": self.hashes()}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files: a path may hold another model tomorrow."""
        files = [unet_file(self.model)]
        files += [self.lora] if self.lora else []
        return {file.name: sha256_of(file)[:16] for file in files}


def read_methods(texts: Iterable[str]) -> list[Method]:
    """Methods from NAME=PATH; SonopaintError for another form and for a name given twice."""
    found: dict[str, Method] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        name, where = name.strip(), where.strip()
        if not equals or not name or not where or {"/", "\\"} & set(name):
            raise SonopaintError(
                f"{text!r} is no method; write NAME=PATH, such as one-step=runs/{SUBJECT}/one."
            )
        if name in found or name == BASE:
            raise SonopaintError(f"The method {name!r} is there twice; give each a name of its own.")
        found[name] = Method(name, where)
    return list(found.values())


def find_weights(method: Method, subject: str, base: str) -> Weights:
    """What a method's path holds for a subject: a model, a LoRA, or a run folder with either in it.

    `base`: the model that LoRAs go on. Raises SonopaintError where there is nothing to load.
    """
    if not method.token:
        return Weights(find_model(base), None)
    path = method.path(subject)
    if path.is_dir() and not is_model_folder(path):
        minutes, memory = training_cost(path)
        product = _product(path)
        model, lora = _kind(product, base)
        return Weights(model, lora, minutes, memory)
    return Weights(*_kind(path, base))


def _product(run: Path) -> Path:
    """The weights in a finished run folder: its only model, else its only LoRA."""
    models = [folder for folder in sorted(run.iterdir()) if folder.is_dir() and is_model_folder(folder)]
    files = sorted(run.glob("*.safetensors"))
    named = [file for file in files if file.stem == run.name]
    for found in (models, named, files):
        if len(found) == 1:
            return found[0]
    what = "several weights" if models or files else "no weights"
    raise SonopaintError(f"{run} holds {what}; name the file, or the folder of a finished run.")


def _kind(path: Path, base: str) -> tuple[Path, Path | None]:
    if path.is_file() and describe(path).kind == "lora":
        return find_model(base), path
    return find_model(str(path)), None


def training_cost(run: Path) -> tuple[float | None, float | None]:
    """(minutes, peak memory in MB) of a run, from its result and its log; None where neither says."""
    facts: list[Mapping[str, Any]] = list(read_log(run))
    for path in sorted(run.glob("*.json")):
        try:
            facts.append(read_json(path))
        except SonopaintError:
            continue  # environment.json and others may hold anything
    seconds = [fact["seconds"] for fact in facts if isinstance(fact.get("seconds"), (int, float))]
    memory = [v for fact in facts for v in map(fact.get, MEMORY) if isinstance(v, (int, float))]
    return (max(seconds) / 60 if seconds else None, float(max(memory)) if memory else None)
