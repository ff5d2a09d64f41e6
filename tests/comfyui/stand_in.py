"""A small stand-in for the parts of ComfyUI's public API that the nodes use, so that they run without it.

Written from the behaviour seen in ComfyUI 0.33: schemas with inputs, outputs and their V1 description, node
results, folders, progress and interruption. Nothing of ComfyUI's own code is in it.
"""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Input:
    """An input: its name, its type, and what the page is told about it."""

    io_type = "*"

    def __init__(self, id: str, *, optional: bool = False, extra_dict: Any = None, **options: Any) -> None:
        self.id, self.optional = id, optional
        self.options = {k: v for k, v in options.items() if v is not None} | (extra_dict or {})
        self.default = self.options.get("default")


class Output:
    """An output socket."""

    io_type = "*"

    def __init__(
        self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:  # fmt: skip
        self.id, self.display_name = id, display_name or id
        self.tooltip, self.is_output_list = tooltip, is_output_list


def make_type(name: str) -> Any:
    kinds = {kind.__name__: type(kind.__name__, (kind,), {"io_type": name}) for kind in (Input, Output)}
    return type(name, (), {**kinds, "io_type": name})


@dataclass
class Schema:
    node_id: str
    display_name: str = ""
    category: str = ""
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_output_node: bool = False
    has_intermediate_output: bool = False


class ComfyNode:
    hidden = SimpleNamespace(prompt=None, extra_pnginfo=None)


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyExtension:
    async def on_load(self) -> None: ...


class Interrupted(Exception):
    """What ComfyUI raises when the person cancels."""


def install(base: Path) -> dict[str, types.ModuleType]:
    """Put the stand-in's modules into sys.modules; folders lie in `base`. Returns what was put there."""
    names = (
        "Audio Image Mask Latent Conditioning Model Clip Vae Sampler Sigmas Noise Boolean Int Float String"
    )
    types_ = {name: make_type(name.upper()) for name in [*names.split(), "Combo"]}
    dynamic = make_type("COMFY_DYNAMICCOMBO_V3")
    dynamic.Option = lambda key, inputs: SimpleNamespace(key=key, inputs=inputs)
    io = SimpleNamespace(
        **types_,
        DynamicCombo=dynamic,
        Custom=make_type,
        Schema=Schema,
        ComfyNode=ComfyNode,
        NodeOutput=NodeOutput,
        Hidden=SimpleNamespace(prompt="PROMPT", extra_pnginfo="EXTRA_PNGINFO"),
        UploadType=SimpleNamespace(audio="audio_upload"),
    )
    modules: dict[str, types.ModuleType] = {}

    def module(name: str, **members: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        made.__dict__.update(members)
        modules[name] = made
        if "." in name:
            setattr(modules[name.rpartition(".")[0]], name.rpartition(".")[2], made)
        return made

    state = SimpleNamespace(interrupted=False, progress=[])

    def check() -> None:
        if state.interrupted:
            raise Interrupted

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int | None = None) -> None:
            state.progress.append(value / (total or self.total))

    module("comfy_api")
    module("comfy_api.latest", io=io, ComfyExtension=ComfyExtension)
    module("comfy", state=state)
    module("comfy.model_management", throw_exception_if_processing_interrupted=check)
    module("comfy.utils", ProgressBar=ProgressBar)
    module("comfy.cli_args", args=SimpleNamespace(disable_metadata=False))
    module(
        "comfy.patcher_extension",
        WrappersMP=SimpleNamespace(APPLY_MODEL="apply_model", OUTER_SAMPLE="outer_sample"),
    )
    module("comfy.sample")
    module("comfy.samplers", KSAMPLER=lambda function: SimpleNamespace(sampler_function=function))
    _folders(module, base)
    sys.modules.update(modules)
    return modules


def _folders(module: Any, base: Path) -> None:
    for name in ("input", "output", "temp", "checkpoints", "loras"):
        (base / name).mkdir(parents=True, exist_ok=True)

    def annotated(name: str) -> str:
        path = os.path.abspath(base / "input" / name)
        if not path.startswith(str(base / "input")):
            raise ValueError(f"Invalid file path: {name!r}")
        return path

    def save_path(prefix: str, output: str) -> tuple[str, str, int, str, str]:
        folder = Path(output) / os.path.dirname(prefix)
        folder.mkdir(parents=True, exist_ok=True)
        stem = os.path.basename(prefix)
        counter = 1 + len(list(folder.glob(f"{stem}_*")))
        return str(folder), stem, counter, os.path.dirname(prefix), prefix

    module(
        "folder_paths",
        add_model_folder_path=lambda kind, folder: None,
        get_filename_list=lambda kind: sorted(path.name for path in (base / kind).glob("*.safetensors")),
        get_full_path=lambda kind, name: str(base / kind / name),
        get_full_path_or_raise=lambda kind, name: str(base / kind / name),
        get_folder_paths=lambda kind: [str(base / kind)],
        get_input_directory=lambda: str(base / "input"),
        get_output_directory=lambda: str(base / "output"),
        get_temp_directory=lambda: str(base / "temp"),
        get_annotated_filepath=annotated,
        exists_annotated_filepath=lambda name: os.path.exists(annotated(name)),
        filter_files_content_types=lambda names, kinds: [n for n in names if n.endswith((".wav", ".flac"))],
        get_save_image_path=save_path,
    )
