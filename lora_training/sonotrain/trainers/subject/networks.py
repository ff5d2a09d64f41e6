"""The networks of a subject run: which of them a method has, what they begin as, in either mode."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonotrain.trainers.one_step.networks import FullNetworks
from sonotrain.trainers.subject.adapters import ON_TARGET, ROLES, AdapterNetworks
from sonotrain.trainers.subject.options import SubjectOptions

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

logger = logging.getLogger(__name__)

EXTRACTED = 128  # rank of the LoRA that a student given as a whole model becomes
# The networks that learn, and frozen ones beside the base model.
LEARNERS: dict[str, tuple[str, ...]] = {
    "uni-dad": ("student", "fake", "target"),
    "dreambooth": ("target",),
    "dmd2-db": ("student",),
    "db-dmd2": ("student", "fake", "target"),
    "pso": ("student",),
    "lora": ("target",),
}


@dataclass(frozen=True)
class Weights:
    """A student or teacher: a LoRA on the base (diffusers' names, "unet.…"), or a whole model's path."""

    name: str
    metadata: dict[str, str]
    modules: dict[str, LoraModule] = field(default_factory=dict)
    whole: Path | None = None


class WholeNetworks(FullNetworks):
    """A U-Net for each role; "reference" is the student as it was."""

    def unet_of(self, role: Any) -> Any:
        """The U-Net of a role."""
        return self.unets[role]


Networks = AdapterNetworks | WholeNetworks


def read_student(options: SubjectOptions, model: Any) -> tuple[Weights, int]:
    """(what makes the base a one-step student, its timestep).

    SonopaintError where there is none, or where nothing says that it paints in one step.
    """
    from sonopaint.models.one_step import student_timestep
    from sonopaint.models.students import student_beside

    given = options.student or student_beside(model.path)
    if not given:
        raise SonopaintError(
            f"There is no one-step student beside {model.name} to begin with; make one with sonotrain "
            f"distill and say {setting('student')} FILE."
        )
    weights = read_weights(given, model, options.mode)
    if options.timestep >= 0:
        return weights, options.timestep
    return weights, student_timestep({weights.name: weights.metadata})


def read_weights(given: str | Path, model: Any, mode: str) -> Weights:
    """A LoRA (or the folder that it lies in) or a whole model.

    For adapters the model becomes its difference from the base, of rank EXTRACTED.
    """
    from sonoconvert.checkpoints.explain import is_model_folder
    from sonoconvert.checkpoints.layouts import open_model
    from sonoconvert.checkpoints.lora import read_lora
    from sonoconvert.checkpoints.lora_math import extract
    from sonopaint.models.info import describe, find_model

    path = find_model(given)
    if path.is_dir() and not is_model_folder(path):
        files = sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            many = f"{len(files)} files of weights" if files else "no weights"
            raise SonopaintError(f"The folder {path} holds {many}; name the file.")
        [path] = files
    info = describe(path)
    if info.kind == "lora":
        file = read_lora(info.path, dict(model.unet.config))
        return Weights(info.path.name, info.metadata, file.modules)
    if mode == "full":
        return Weights(info.path.name, info.metadata, whole=info.path)
    found = extract(open_model(model.path), open_model(info.path), rank=EXTRACTED, text=False)
    logger.info("%s as a LoRA of rank %d: %.1f %% of its change", info.name, EXTRACTED, 100 * found.kept)
    return Weights(info.path.name, info.metadata, found.modules)


def make_networks(
    model: Any, options: SubjectOptions, distilled: Weights | None, target: Weights | None
) -> Networks:
    """All networks that the method needs; `model`'s U-Net is the base."""
    learners = tuple(r for r in LEARNERS[options.method] if not (r == "target" and target))
    alphas = model.alphas_cumprod.float().to(model.device)
    if options.mode == "adapters":
        if options.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
        networks = AdapterNetworks(
            model.unet,
            alphas,
            model.prediction_type,
            learners=learners,
            rank=options.rank,
            targets=options.targets,
            seed=options.seed,
            distilled=distilled.modules if distilled else None,
            target=target.modules if target else None,
            roles=ON_TARGET if target and options.method == "db-dmd2" else ROLES,
        )
        model.unet.train()
        return networks
    unets: dict[Any, Any] = {"source": model.unet.float()}
    started = {"student": distilled, "target": target}
    wanted = set(LEARNERS[options.method]) | ({"reference"} if options.method == "pso" else set())
    for role in sorted(wanted):
        unets[role] = copy.deepcopy(unets["source"])
        weights = started["student" if role == "reference" else role] if role != "fake" else None
        if weights:
            become(unets[role], weights)
        if options.gradient_checkpointing and role in learners:
            unets[role].enable_gradient_checkpointing()
    frozen = [role for role in unets if role not in learners]
    return WholeNetworks(unets, alphas, model.prediction_type, frozen)


@torch.no_grad()
def become(unet: Any, weights: Weights) -> None:
    """Makes a U-Net, now the base's, what `weights` say. SonopaintError where they are another model's."""
    if weights.whole:
        from sonopaint.models.loading import load_model

        try:
            unet.load_state_dict(
                load_model(weights.whole, device="cpu", dtype=torch.float32).unet.state_dict()
            )
        except RuntimeError as error:
            raise SonopaintError(f"{weights.name} has another architecture than the base model.") from error
    layers = dict(unet.named_modules())
    for name, module in weights.modules.items():
        if not name.startswith("unet."):
            continue
        layer = layers.get(name.removeprefix("unet."))
        if layer is None:
            raise SonopaintError(f"{weights.name} was made for another model: this one has no {name}.")
        layer.weight += module.change(layer.weight).to(layer.weight)
