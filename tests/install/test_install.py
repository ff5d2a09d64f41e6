"""install.py: which PyTorch, when it installs again, what a failing step says, what it does in a host."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st


def load_installer() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "install.py"
    spec = importlib.util.spec_from_file_location("sonopaint_install", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


installer = load_installer()
NEW, OLD = installer.Gpu(driver=580, capability=8.6), installer.Gpu(driver=550, capability=8.6)


# ---------------------------------------------------------------- which PyTorch


@pytest.mark.parametrize(
    ("wanted", "system", "gpu", "requirement"),
    [
        ("auto", "Linux", None, "torch==2.13.0+cpu"),
        ("cpu", "Linux", NEW, "torch==2.13.0+cpu"),
        ("auto", "Linux", NEW, "torch==2.13.0"),
        ("auto", "Linux", installer.Gpu(), "torch==2.13.0"),
        ("auto", "Linux", OLD, "torch==2.13.0+cu126"),
        ("auto", "Linux", installer.Gpu(580, 6.1), "torch==2.13.0+cu126"),
        ("auto", "Windows", None, "torch==2.13.0"),
        ("auto", "Windows", NEW, "torch==2.13.0+cu130"),
        ("cuda", "Linux", None, "torch==2.13.0"),
        ("pypi", "Linux", None, "torch==2.13.0"),
    ],
)
def test_torch_build(wanted: str, system: str, gpu: object, requirement: str) -> None:
    chosen = installer.choose_torch(wanted, system, "x86_64", gpu, "2.13.0")
    assert chosen.requirement == requirement
    if "+" in requirement:
        label = requirement.split("+")[1]
        assert any(
            source[:2] == ("--extra-index-url", installer.PYTORCH_INDEX + label) for source in chosen.sources
        )


def test_torch_on_a_mac() -> None:
    assert installer.choose_torch("auto", "Darwin", "arm64", None, "2.13.0").requirement == "torch==2.13.0"
    with pytest.raises(installer.Failed) as failure:
        installer.choose_torch("auto", "Darwin", "x86_64", None, "2.13.0")
    assert "Intel" in failure.value.hint


@given(
    st.sampled_from(["auto", "cpu"]),
    st.sampled_from(["x86_64", "aarch64", "AMD64"]),
    st.sampled_from(["2.13.0", "2.15.1"]),
)
def test_a_linux_without_gpu_never_asks_for_a_build_that_may_be_cuda(
    wanted: str, machine: str, v: str
) -> None:
    assert installer.choose_torch(wanted, "Linux", machine, None, v).requirement == f"torch=={v}+cpu"


@pytest.mark.parametrize(
    ("answer", "gpu"),
    [
        ("580.65.06, 9.0\n", installer.Gpu(580, 9.0)),
        ("580.65.06, 8.6\n580.65.06, 6.1\n", installer.Gpu(580, 6.1)),
        ("No devices were found\n", None),
    ],
)
def test_driver(answer: str, gpu: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def nvidia_smi(*args: object, **kwargs: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess([], 0, stdout=answer)

    monkeypatch.setattr(installer.subprocess, "run", nvidia_smi)
    monkeypatch.setattr(installer.Path, "exists", lambda self: False)
    assert installer.find_gpu() == gpu


def test_constraints_are_exact_and_hold_torchvision_out(repository: Path) -> None:
    lines = [line for line in (repository / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    assert all(re.match(r"[a-z0-9-]+==[^\s;]+( ; .+)?$", line) for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert "torchvision" not in names and "torchaudio" not in names
    assert {"torch", "diffusers", "transformers", "gradio", "soundfile", "pytest", "ruff", "mypy"} <= names
    assert re.fullmatch(r"[\d.]+", installer.pinned("torch"))


# ---------------------------------------------------------------- .venv and its stamp


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """install.py looking at a checkout in tmp_path whose .venv holds this Python."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    monkeypatch.setattr(installer, "ROOT", tmp_path)
    monkeypatch.setattr(installer, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(installer, "STAMP", tmp_path / ".venv" / "sonopaint.json")
    monkeypatch.setattr(installer, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(installer, "venv_works", lambda: (tmp_path / ".venv").exists())
    python = installer.venv_python()
    python.parent.mkdir(parents=True)
    python.touch()
    return tmp_path


CPU = installer.choose_torch("cpu", "Linux", "x86_64", None, "2.13.0")
CUDA = installer.choose_torch("cuda", "Linux", "x86_64", NEW, "2.13.0")


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(installer, "perform", lambda step: names.append(step.name))
    return names


def test_a_second_run_does_nothing(checkout: Path, performed: list[str]) -> None:
    installer.install(("studio",), CPU, dry_run=False)
    assert len(performed) == 3
    performed.clear()
    installer.install(("studio",), CPU, dry_run=False)
    assert performed == []


def test_studio_installs_what_its_pages_train_with() -> None:
    toml = installer.ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r'^(\w+) = \[(".*")\]$', toml, flags=re.MULTILINE))
    assert re.search(r"sonopaint\[[\w,]*\btrain\b", extras["studio"])


def test_extras_add_up(checkout: Path, performed: list[str]) -> None:
    installer.install(("studio",), CPU, dry_run=False)
    installer.install(("dev",), CPU, dry_run=False)
    assert installer.read_stamp()["extras"] == ["dev", "studio"]
    assert any("dev,studio" in name for name in performed)
    performed.clear()
    installer.install(("studio",), CPU, dry_run=False)
    assert performed == []


def test_changed_versions_are_installed(checkout: Path, performed: list[str]) -> None:
    installer.install(("studio",), CPU, dry_run=False)
    performed.clear()
    (checkout / "constraints.txt").write_text("torch==2.13.0\nnumpy==2.4.7\n")
    installer.install(("studio",), CPU, dry_run=False)
    assert performed and not any(".venv" in name for name in performed)


def test_another_build_of_torch_makes_the_environment_anew(checkout: Path, performed: list[str]) -> None:
    installer.install(("studio",), CPU, dry_run=False)
    performed.clear()
    installer.install(("studio",), CUDA, dry_run=False)
    assert ".venv" in performed[0]


def test_an_interrupted_installation_is_finished(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def interrupted(step: object) -> None:
        calls.append(step.name)  # type: ignore[attr-defined]
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(installer, "perform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        installer.install(("studio",), CPU, dry_run=False)
    assert installer.read_stamp() == {}
    installer.install(("studio",), CPU, dry_run=False)
    assert "unfinished" in capsys.readouterr().out
    assert len(calls) == 5 and installer.read_stamp()["extras"] == ["studio"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 3}'])
def test_a_damaged_stamp_means_installing(checkout: Path, text: str) -> None:
    installer.STAMP.write_text(text)
    assert len(installer.plan(("studio",), CPU, installer.read_stamp())) == 3


def test_a_broken_environment_is_made_anew(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "venv_works", lambda: False)
    steps = installer.plan(("studio",), CPU, {})
    assert "--clear" in steps[0].commands[0]


# ---------------------------------------------------------------- steps


def python_step(*codes: str) -> object:
    return installer.Step("a step", tuple((sys.executable, "-c", code) for code in codes), "Do this.")


def test_the_first_command_that_succeeds_is_enough(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    installer.perform(python_step("raise SystemExit(1)", f"open({str(mark)!r}, 'w')", "raise SystemExit(2)"))
    assert mark.exists()


def test_a_failing_step_says_which_why_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    step = python_step("for i in range(100): print('line', i)\nraise SystemExit('no room left')")
    monkeypatch.setattr(installer, "plan", lambda *args: [step])
    monkeypatch.setattr(installer, "find_gpu", lambda: None)
    assert installer.main(["cli", "--torch", "pypi"]) == 1
    error = capsys.readouterr().err
    assert "a step" in error and "no room left" in error and "Do this." in error and "same command" in error
    assert "line 99" in error and "line 0\n" not in error
    assert installer.read_stamp() == {}


def test_a_missing_program_is_a_failed_step() -> None:
    with pytest.raises(installer.Failed):
        installer.perform(installer.Step("a step", (("/no/such/program",),), ""))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_ended_installer_leaves_nothing_running(tmp_path: Path, repository: Path) -> None:
    mark = tmp_path / "mark"
    child = (
        f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    code = (
        "import install, signal, sys; signal.signal(signal.SIGTERM, install.interrupt)\n"
        f"install.perform(install.Step('a step', ((sys.executable, '-c', {child!r}),), ''))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=repository, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if mark.exists() and mark.read_text():
            break
        time.sleep(0.05)
    process.terminate()
    process.wait(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "  Downloading https://host/a/b/torch-2.13.0-cp311.whl (181.9 MB)",
            "downloading torch-2.13.0-cp311.whl",
        ),
        ("Downloading nvidia_cublas-13.whl (1.1 GB)", "1.1 GB"),
        ("  Downloading idna-3.20.whl (61 kB)", None),
        ("Installing collected packages: a, b, c", "unpacking 3 packages"),
        ("Requirement already satisfied: numpy", None),
    ],
)
def test_progress(line: str, shown: str | None) -> None:
    text = installer.progress(line)
    assert text is None if shown is None else shown in text and "https" not in text


def test_tests_return_the_exit_code_of_pytest_or_of_the_first_failing_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = {"ruff": 0, "mypy": 0, "pytest": 0}

    def call(command: tuple[str, ...], **kwargs: object) -> int:
        return codes[command[2]]

    monkeypatch.setattr(installer.subprocess, "call", call)
    assert installer.run_tests([]) == 0
    codes["mypy"] = 1
    assert installer.run_tests([]) == 1
    codes["pytest"] = 3
    assert installer.run_tests([]) == 3


# ---------------------------------------------------------------- as a command


def run(*arguments: str, script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COMFYUI_PATH")}
    command = [sys.executable, *([] if "PYTHONPATH" not in environment else ["-S"]), str(script), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**kept, **environment}, cwd=script.parent, timeout=60
    )


@pytest.mark.parametrize("mode", ["studio", "test", "cli", "train"])
def test_dry_runs_say_everything_and_change_nothing(mode: str, tmp_path: Path, repository: Path) -> None:
    for name in ("install.py", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    answer = run(mode, "--dry-run", "--torch", "cpu", script=tmp_path / "install.py")
    assert answer.returncode == 0, answer.stderr
    assert "-m venv" in answer.stdout and "torch==" in answer.stdout and "torchvision" not in answer.stdout
    assert f"then would run: {mode}" in answer.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "constraints.txt",
        "install.py",
        "pyproject.toml",
    ]


def test_arguments_pass_through(tmp_path: Path, repository: Path) -> None:
    for name in ("install.py", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    answer = run(
        "test", "tests/x", "-k", "a and b", "-m", "slow", "--dry-run", script=tmp_path / "install.py"
    )
    assert answer.stdout.rstrip().endswith("then would run: test tests/x -k 'a and b' -m slow")


def test_outside_a_host_no_argument_prints_the_usage(tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "install.py"
    script.write_bytes((repository / "install.py").read_bytes())
    answer = run(script=script)
    assert answer.returncode == 2 and "install.py studio" in answer.stdout


# ---------------------------------------------------------------- inside a host

FAKE_PIP = """
import json, os, shutil, sys
arguments = sys.argv[1:]
with open(os.environ["PIP_LOG"], "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if "-c" in arguments:
    shutil.copy(arguments[arguments.index("-c") + 1], os.environ["PIP_LOG"] + ".frozen")
if "--report" in arguments:
    plan = [{"metadata": {"name": n, "version": v}} for n, v in json.loads(os.environ["PIP_PLAN"]).items()]
    with open(arguments[arguments.index("--report") + 1], "w") as report:
        json.dump({"install": plan}, report)
sys.exit(int(os.environ.get("PIP_EXIT", "0")))
"""

HOSTS = {
    "webui": ("stable-diffusion-webui/extensions/sonopaint", ["modules/shared.py", "launch.py"]),
    "comfyui": ("ComfyUI/custom_nodes/sonopaint", ["main.py", "comfy/sd.py"]),
}


class Host:
    """A fake host: its folders, its only site-packages (on PYTHONPATH) and a fake pip."""

    def __init__(self, root: Path, kind: str, installer_source: bytes) -> None:
        folder, files = HOSTS[kind]
        self.script = root / folder / "install.py"
        self.script.parent.mkdir(parents=True)
        self.script.write_bytes(installer_source)
        self.home = self.script.parents[2]
        for name in files:
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).touch()
        self.packages, self.log = root / "site-packages", root / "pip.log"
        (self.packages / "pip").mkdir(parents=True)
        (self.packages / "pip" / "__init__.py").touch()
        (self.packages / "pip" / "__main__.py").write_text(FAKE_PIP)
        (self.packages / "torch").mkdir()
        (self.packages / "torch" / "__init__.py").touch()
        self.has("torch", "2.1.2+cu121")
        self.has("numpy", "1.26.2")

    def has(self, name: str, version: str) -> None:
        info = self.packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def install(
        self, *arguments: str, plan: dict[str, str], code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        return run(
            *arguments,
            script=self.script,
            PYTHONPATH=os.pathsep.join([str(self.packages), str(self.home)]),
            PIP_LOG=str(self.log),
            PIP_PLAN=json.dumps(plan),
            PIP_EXIT=str(code),
        )

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(params=sorted(HOSTS))
def host(request: pytest.FixtureRequest, tmp_path: Path, repository: Path) -> Host:
    return Host(tmp_path, request.param, (repository / "install.py").read_bytes())


def test_a_host_gets_only_what_it_lacks(host: Host) -> None:
    host.has("scipy", "1.11.4")
    plan = {"soundfile": "0.14.0", "soxr": "1.1.0", "cffi": "2.1.1"}
    answer = host.install(plan=plan)
    assert answer.returncode == 0, answer.stderr
    asked, installed = host.calls()
    assert "--dry-run" in asked and asked[-2:] == ["soundfile", "soxr"]
    assert "--no-deps" in installed and installed[-3:] == ["cffi==2.1.1", "soundfile==0.14.0", "soxr==1.1.0"]
    held = Path(f"{host.log}.frozen").read_text().splitlines()
    assert {"torch==2.1.2+cu121", "numpy==1.26.2", "scipy==1.11.4"} <= set(held)


def test_a_host_that_has_everything_is_left_alone(host: Host) -> None:
    for name in installer.HOST_REQUIREMENTS:
        host.has(name, "1.0")
    answer = host.install(plan={})
    assert answer.returncode == 0 and "nothing to install" in answer.stdout and host.calls() == []


def test_a_dry_run_in_a_host_only_plans(host: Host) -> None:
    answer = host.install("--dry-run", plan={"soxr": "1.1.0"})
    assert answer.returncode == 0 and "would install" in answer.stdout and "soxr==1.1.0" in answer.stdout
    assert len(host.calls()) == 1 and "--dry-run" in host.calls()[0]


@pytest.mark.parametrize("touched", ["numpy", "torch", "Torch", "gradio", "protobuf", "transformers"])
def test_a_plan_that_touches_the_host_is_refused(host: Host, touched: str) -> None:
    answer = host.install(plan={"soxr": "1.1.0", touched: "99.0"})
    assert answer.returncode == 1
    assert touched.lower() in answer.stderr and "Nothing was changed" in answer.stderr
    assert len(host.calls()) == 1, "only planned"


def test_pip_failing_in_a_host_changes_nothing_and_says_so(host: Host) -> None:
    answer = host.install(plan={}, code=1)
    assert answer.returncode == 1 and "Nothing was changed" in answer.stderr and len(host.calls()) == 1


def test_a_python_that_is_not_the_hosts_is_left_alone(host: Host) -> None:
    (host.packages / "torch" / "__init__.py").unlink()
    (host.packages / "torch").rmdir()
    answer = host.install(plan={})
    assert answer.returncode == 1 and "no PyTorch" in answer.stderr and host.calls() == []


NAMES = st.sampled_from(
    [
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "soundfile",
        "soxr",
        "gradio",
        "protobuf",
        "Pillow",
        "cffi",
        "my_node",
    ]
)


@given(st.dictionaries(NAMES, st.sampled_from(["1.0", "2.1.2+cu121", "0.0.0.dev1"])), st.sets(NAMES))
def test_nothing_present_or_forbidden_ever_passes(have: dict[str, str], planned: set[str]) -> None:
    present = {installer.canonical(name): version for name, version in have.items()}
    clashing = set(installer.clashes(planned, present))
    for name in map(installer.canonical, planned):
        assert (name in clashing) == (name in present or name in installer.HOST_NEVER)


@given(st.dictionaries(NAMES, st.sampled_from(["1.0", "2.1.2+cu121", "unknown", "", "1.0; rm"])))
def test_the_constraints_of_a_host_hold_every_version_as_it_is(have: dict[str, str]) -> None:
    lines = installer.frozen(
        {installer.canonical(name): version for name, version in have.items()}
    ).splitlines()
    versions = [version for version in have.values() if re.fullmatch(r"[\d.]+(\+\w+)?", version)]
    assert sorted(line.split("==")[1] for line in lines) == sorted(versions)


def test_hosts_have_or_get_what_the_conversion_wing_needs(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert needed is not None
    names = {installer.canonical(name) for name in re.findall(r'"([\w-]+)', needed[1])}
    assert names <= set(installer.HOST_REQUIREMENTS) | installer.HOST_NEVER and "torch" in names


def test_nothing_heavy_is_on_the_hosts_list() -> None:
    assert not set(installer.HOST_REQUIREMENTS) & installer.HOST_NEVER


# ---------------------------------------------------------------- for real


@pytest.mark.slow
def test_a_real_installation_of_the_command_line(tmp_path: Path, repository: Path) -> None:
    """Clone, `install.py cli`, and again: needs a package index, some minutes and 2 GB."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repository), str(clone)], check=True)
    command = [sys.executable, str(clone / "install.py"), "cli", "--torch", "cpu"]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert re.search(r"installed: \d+ MB in .venv, [\d.]+ minutes", first.stdout)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "installed already" in again.stdout
    python = clone / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")
    check = (
        "import torch, importlib.util as u; assert not torch.version.cuda and not u.find_spec('torchvision')"
    )
    subprocess.run([python, "-c", check], check=True)
