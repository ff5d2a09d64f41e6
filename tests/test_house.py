"""The rules of the house, read from the source: who may import what, and what nobody does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BASE = {"torch", "numpy", "scipy", "soundfile", "soxr", "PIL", "safetensors"}
# What may be missing: imported inside a function and a try only.
OPTIONAL = {"torchaudio", "distributed", "av"}
BASE |= OPTIONAL
MODELS = {"diffusers", "transformers", "tokenizers", "librosa"}
# Package -> (folder, what it may import beside the standard library and itself).
WINGS = {
    "sonoconvert": ("converters/sonoconvert", BASE),
    "sonopaint": ("engine/sonopaint", BASE | MODELS | {"sonoconvert"}),
    "sonotrain": (
        "lora_training/sonotrain",
        BASE
        | MODELS
        | {"sonoconvert", "sonopaint", "peft", "accelerate", "tensorboard", "matplotlib", "fluidsynth"}
        | {"yaml", "mir_eval", "umap"},
    ),
    "sonopaint_studio": (
        "extensions/studio/sonopaint_studio",
        BASE
        | MODELS
        | {"sonoconvert", "sonopaint", "sonotrain", "gradio", "fastapi", "starlette", "uvicorn"},
    ),
}
# ComfyUI's process: the host's own modules and the pure parts below; never diffusers, peft or accelerate.
WINGS["sonopaint_comfyui"] = (
    "extensions/comfyui/sonopaint_comfyui",
    BASE | {"sonoconvert", "sonopaint", "comfy", "comfy_api", "folder_paths", "server", "aiohttp"},
)
# The WebUI's process likewise; its Gradio and FastAPI are the host's. Of sonotrain it has what forms need:
# options and run folders; the trainers are processes of their own (test_hosts_reach_only_pure_parts).
WINGS["sonopaint_webui"] = (
    "extensions/webui/sonopaint_webui",
    BASE | {"sonoconvert", "sonopaint", "sonotrain", "modules", "gradio", "fastapi", "starlette", "pydantic"},
)
# Within sonopaint, diffusers and transformers stay in these places.
MODEL_PLACES = ("models/", "painters/diffusers")
# `sonopaint studio` starts the floor above: the one import upwards, inside its function.
DOORS = {("engine/sonopaint/cli.py", "sonopaint_studio")}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}

Import = tuple[str, ast.stmt, bool, bool]  # module, node, inside a function, inside a try


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(parse(path)))


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Other tests of this process don't carry the syntax trees of the whole house."""
    yield
    for kept in (parse, nodes, imports_of, imported_files):
        kept.cache_clear()


def imports(node: ast.AST, lazy: bool = False, guarded: bool = False) -> Iterator[Import]:
    """Every import statement's top-level module; type-checking blocks count as lazy and guarded."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name.split(".")[0], child, lazy, guarded
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield (child.module or "").split(".")[0], child, lazy, guarded
        else:
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inside = lazy or typing_only or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from imports(child, inside, guarded or typing_only or isinstance(child, ast.Try))


@cache
def imports_of(path: Path) -> list[Import]:
    return list(imports(parse(path)))


def where(path: Path, node: ast.stmt | ast.expr, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}: {text}"


@pytest.mark.parametrize("package", WINGS)
def test_a_wing_imports_only_from_the_floors_below(package: str) -> None:
    folder, allowed = WINGS[package]
    found = [
        where(path, node, f"{package} must not import {module}")
        for path in sources(folder)
        for module, node, lazy, _ in imports_of(path)
        if module not in allowed | {package, "__future__"} | sys.stdlib_module_names
        and not (lazy and (path.relative_to(ROOT).as_posix(), module) in DOORS)
    ]
    assert not found, "\n".join(found)


def test_diffusers_and_transformers_stay_in_their_places() -> None:
    folder = ROOT / WINGS["sonopaint"][0]
    found = [
        where(path, node, f"{module} belongs under {' or '.join(MODEL_PLACES)}")
        for path in sources(WINGS["sonopaint"][0])
        for module, node, _, _ in imports_of(path)
        if module in MODELS and not path.relative_to(folder).as_posix().startswith(MODEL_PLACES)
    ]
    assert not found, "\n".join(found)


def test_samplers_know_nothing_of_stable_diffusion() -> None:
    known = ("sonopaint.samplers", "sonoconvert.errors")
    found = [
        where(path, node, f"samplers know a denoiser and noise levels, not {node.module}")
        for path in sources("engine/sonopaint/samplers")
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("sono")
        and not (node.module or "").startswith(known)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", WINGS)
def test_optional_packages_are_imported_lazily_and_guarded(package: str) -> None:
    found = [
        where(path, node, f"{module} may be missing or broken: import it inside a function and a try")
        for path in sources(WINGS[package][0])
        for module, node, lazy, guarded in imports_of(path)
        if module in OPTIONAL and not (lazy and guarded)
    ]
    assert not found, "\n".join(found)


def offences(path: Path) -> Iterator[str]:
    """What no module of the house does (eval and exec, pickles, print, sys.path, star imports)."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("eval", "exec", "builtins.eval", "builtins.exec"):
                yield where(path, node, f"{name}() runs text as code")
            if name == "print" and path.name != "cli.py":
                yield where(path, node, "print() outside a cli.py: use logging")
            if name == "torch.load" and "weights_only=True" not in ast.unparse(node):
                yield where(path, node, "torch.load without weights_only=True runs pickles")
            if name.startswith("sys.path."):
                yield where(path, node, "sys.path is edited only in the hosts' doors")
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for module in modules:
                if module.split(".")[0] in PICKLES:
                    yield where(path, node, f"{module} loads pickles")
            if any(alias.name == "*" for alias in node.names):
                yield where(path, node, "star import")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield where(path, node.body[0], "bare except")


@pytest.mark.parametrize("package", WINGS)
def test_nobody_prints_runs_text_or_unpickles(package: str) -> None:
    found = [text for path in sources(WINGS[package][0]) for text in offences(path)]
    assert not found, "\n".join(found)


def test_the_rules_themselves_see_offences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import pickle\nfrom math import *\nprint(eval('1'))\nimport torch\ntorch.load('x')\n"
        "import sys\nsys.path.append('x')\ntry:\n    import torchaudio\nexcept:\n    pass\n"
    )
    text = "\n".join(offences(bad))
    for word in ("pickle", "star", "print", "eval", "weights_only", "sys.path", "bare"):
        assert word in text
    assert [(m, lazy, guarded) for m, _, lazy, guarded in imports_of(bad) if m == "torchaudio"] == [
        ("torchaudio", False, True)
    ]


@pytest.mark.parametrize("package", WINGS)
def test_every_package_is_typed_and_described(package: str) -> None:
    folder = ROOT / WINGS[package][0]
    assert (folder / "py.typed").is_file()
    undocumented = [
        str(path.relative_to(ROOT))
        for path in sources(WINGS[package][0])
        if path.read_text(encoding="utf-8").strip() and not ast.get_docstring(parse(path))
    ]
    assert not undocumented, f"without a docstring: {', '.join(undocumented)}"


def module_of(path: Path, folder: str, package: str) -> str:
    parts = path.relative_to(ROOT / folder).with_suffix("").parts
    return ".".join((package, *parts)).removesuffix(".__init__")


@cache
def imported_files() -> dict[str, set[str]]:
    """Every file of the house by its module's name, and the files that it imports, lazily too."""
    files = {module_of(p, f, package): p for package, (f, _) in WINGS.items() for p in sources(f)}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        wanted = set()
        for node in nodes(path):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    wanted.add(inner if inner in files else node.module)
        found[name] = (wanted & files.keys()) - {name}
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    left = imported_files()
    while free := {name for name, wanted in left.items() if not wanted}:  # nothing left that they import
        left = {name: wanted - free for name, wanted in left.items() if name not in free}
    importers = {wanted for wants in left.values() for wanted in wants}
    while outer := left.keys() - importers:  # nobody left that imports them
        left = {name: wanted for name, wanted in left.items() if name not in outer}
        importers = {wanted for wants in left.values() for wanted in wants}
    circles = [f"{name} → {', '.join(sorted(wanted))}" for name, wanted in sorted(left.items())]
    assert not circles, "\n".join(circles)


FLOORS = ("files", "data", "training", "trainers", "evaluation", "recipes")


def test_sonotrain_is_built_in_floors() -> None:
    """Each of FLOORS imports only from itself and those before it; its root is the command line alone."""
    folder = ROOT / WINGS["sonotrain"][0]
    roots = {"__init__.py", "__main__.py", "cli.py", "commands.py"}
    assert {path.name for path in folder.glob("*.py")} == roots
    assert {path.name for path in folder.iterdir() if path.is_dir()} - {"__pycache__"} == set(FLOORS)
    level = {name: number for number, name in enumerate(FLOORS)}
    found = []
    for name, wanted in imported_files().items():
        floor = (name.split(".") + [""])[1]
        for other in wanted if name.startswith("sonotrain.") and floor in level else ():
            above = other.split(".")[1] if other.startswith("sonotrain.") else ""
            if other in ("sonotrain.cli", "sonotrain.commands") or level.get(above, -1) > level[floor]:
                found.append(f"{name} must not import {other}")
    assert not found, "\n".join(found)


HEAVY = MODELS | {"peft", "accelerate", "gradio", "torchaudio", "torchvision", "tensorboard", "av"}


def modules_after(*statements: str) -> list[set[str]]:
    """Top-level modules that a fresh Python has imported after each of `statements`, one after the other."""
    told = "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    code = "import sys\n" + "\n".join(f"{statement}\n{told}" for statement in statements)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert answer.returncode == 0, answer.stderr
    return [set(line.split()) for line in answer.stdout.splitlines()[-len(statements) :]]


def all_of_the_conversion_wing() -> set[str]:
    folder = ROOT / WINGS["sonoconvert"][0]
    names = (path.relative_to(folder).with_suffix("").parts for path in sources(WINGS["sonoconvert"][0]))
    return {".".join(("sonoconvert", *name)) for name in names if not name[-1].startswith("__")}


def reached_by(package: str) -> set[str]:
    """The modules of the lower floors that a host's part imports."""
    used = (
        node.module or ""
        for path in sources(WINGS[package][0])
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom)
    )
    return {name for name in used if name.split(".")[0] in ("sonopaint", "sonoconvert", "sonotrain")}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What a Python has loaded with the conversion wing, then with what each host's part imports as well."""
    wanted = {"sonoconvert": all_of_the_conversion_wing()}
    wanted |= {package: reached_by(package) for package in ("sonopaint_comfyui", "sonopaint_webui")}
    statements = (f"import {', '.join(sorted(names))}" for names in wanted.values())
    return dict(zip(wanted, modules_after(*statements), strict=True))


def test_the_conversion_wing_loads_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert not loaded["sonoconvert"] & HEAVY


@pytest.mark.parametrize("package", ["sonoconvert", "sonopaint", "sonotrain"])
def test_help_is_quick(package: str) -> None:
    """The command line's module imports no model library before it knows what to do."""
    if not (ROOT / WINGS[package][0] / "cli.py").exists():
        pytest.skip(f"{package} has no command line yet")
    assert not modules_after(f"import {package}.cli")[0] & HEAVY


def test_errors_name_no_flags() -> None:
    """An error names the setting (`setting("out")`) and the door says ``--out``: see sonoconvert.errors.

    Command lines are doors themselves, and a sentence may quote a whole command, or a host's own.
    """
    flags = re.compile(r"(?<![\w-])--([a-z]|…)")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {sentence!r}"
        for path, node in called("SonopaintError")
        if path.stem not in ("cli", "cli_options")
        for sentence in texts(node)
        if flags.search(sentence) and not re.search(r"sonoconvert|sonotrain|pip |WebUI|ComfyUI", sentence)
    ]
    assert not found, "\n".join(found)


def texts(call: ast.Call) -> Iterator[str]:
    """The strings among a call's arguments, with … for what is filled in."""
    for argument in call.args:
        if isinstance(argument, ast.JoinedStr):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in argument.values)
        elif isinstance(argument, ast.Constant):
            yield str(argument.value)


def called(name: str) -> Iterator[tuple[Path, ast.Call]]:
    """(file, call) of every call of `name` in the wings."""
    for folder, _ in WINGS.values():
        for path in sources(folder):
            for node in nodes(path):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield path, node


def test_shipped_weights_are_found() -> None:
    """The file that says where they lie may move; they stay where they are."""
    code = "from sonoconvert.files.folders import shipped_folder; print(shipped_folder())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(answer.stdout.strip()) == ROOT / "weights"


@pytest.mark.parametrize("package", ["sonopaint_comfyui", "sonopaint_webui"])
def test_hosts_reach_only_pure_parts(package: str, loaded: dict[str, set[str]]) -> None:
    """What they import of the engine brings no model library into the host's process."""
    assert not loaded[package] & HEAVY


def test_comfyui_door_is_light_and_quiet() -> None:
    """ComfyUI imports the root by path: only the standard library, and nothing happens before it calls."""
    code = (
        "import importlib.util as u, sys\n"
        f"spec = u.spec_from_file_location('sonopaint_pack', {str(ROOT / '__init__.py')!r},"
        f" submodule_search_locations=[{str(ROOT)!r}])\n"
        "before = set(sys.modules); module = u.module_from_spec(spec); spec.loader.exec_module(module)\n"
        # Even an empty NODE_CLASS_MAPPINGS would keep ComfyUI from asking the entry point.
        "assert not hasattr(module, 'NODE_CLASS_MAPPINGS') and module.comfy_entrypoint\n"
        "import os\n"
        f"assert os.path.isfile(os.path.join({str(ROOT)!r}, module.WEB_DIRECTORY, 'sonopaint.js'))\n"
        "added = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert added <= sys.stdlib_module_names, added\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stdout == "", answer.stderr
