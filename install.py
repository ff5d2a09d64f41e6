#!/usr/bin/env python3
"""Installs Sonopaint and starts it. Standard library only, Python 3.10 to 3.13.

python install.py studio [--port N] [--no-browser] ...  make .venv, install, open Studio in the browser
python install.py test [pytest arguments]               ... and run ruff, mypy and pytest
python install.py cli                                   ... only the command line
python install.py train                                 ... the command line and the trainers
python install.py                                       run by AUTOMATIC1111, Forge or ComfyUI: adds
                                                        what the host lacks

options:
  --dry-run                     say what would be done, change nothing
  --torch auto|cpu|cuda|pypi    PyTorch build; auto: CUDA where there is an NVIDIA driver, otherwise CPU
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "sonopaint.json"
CONSTRAINTS = ROOT / "constraints.txt"
PYTORCH_INDEX = "https://download.pytorch.org/whl/"

# The extras of pyproject.toml that each mode installs.
MODES = {
    "studio": ("studio",),
    "test": ("dev",),
    "cli": ("engine", "decoders"),
    "train": ("train", "eval", "decoders"),
}

# What the conversion wing imports and a host may lack: distribution -> module.
HOST_REQUIREMENTS = {"soundfile": "soundfile", "soxr": "soxr", "scipy": "scipy"}
# What is never installed into a host, whether the host has it or not.
HOST_NEVER = frozenset(
    "torch torchvision torchaudio numpy pillow transformers tokenizers diffusers accelerate peft "
    "huggingface-hub safetensors gradio gradio-client pydantic fastapi protobuf xformers triton".split()
)

# Run in .venv when all is installed: does it import, and can PyTorch use a GPU?
LOOK = """
import torch, scipy, soundfile, soxr, sonoconvert
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
print(f"PyTorch {torch.__version__} on {device}")
"""

STARTED = time.monotonic()


class Failed(Exception):
    """A step that failed: its name, the end of its output and how to go on."""

    def __init__(self, step: str, output: str, hint: str) -> None:
        super().__init__(step)
        self.step, self.output, self.hint = step, output, hint


@dataclass(frozen=True)
class Step:
    """One thing to do: commands that are tried in turn until one succeeds."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    hint: str


@dataclass(frozen=True)
class Torch:
    """A build of PyTorch: the requirement and the sources (pip arguments) that are tried in turn."""

    name: str
    requirement: str
    sources: tuple[tuple[str, ...], ...] = ((),)


@dataclass(frozen=True)
class Gpu:
    """What the NVIDIA driver says: its major version and the lowest compute capability (0: unknown)."""

    driver: int = 0
    capability: float = 0.0


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", flush=True)


# ---------------------------------------------------------------- which PyTorch


def find_gpu() -> Gpu | None:
    """The NVIDIA driver of this machine, or None."""
    query = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return Gpu() if Path("/proc/driver/nvidia/version").exists() else None
    cards = re.findall(r"^(\d+)[\d.]*, *(\d+\.\d+)", answer.stdout, flags=re.MULTILINE)
    if answer.returncode != 0 or not cards:
        return Gpu() if Path("/proc/driver/nvidia/version").exists() else None
    return Gpu(min(int(driver) for driver, _ in cards), min(float(cap) for _, cap in cards))


def choose_torch(wanted: str, system: str, machine: str, gpu: Gpu | None, version: str) -> Torch:
    """The build of PyTorch `version` for this system ("Linux", "Windows", "Darwin") and driver.

    PyPI's builds are CUDA 13 on Linux, CPU on Windows and macOS; the others come from PyTorch's own index
    and are asked for by their local version (`+cpu`), which can never bring CUDA in by accident.
    CUDA 13 needs driver 580 and compute capability 7.5; older ones get CUDA 12.6.
    """
    plain = f"torch=={version}"
    if system == "Darwin" and machine == "x86_64":
        raise Failed(
            "PyTorch",
            "",
            "PyTorch is no longer built for Intel Macs; use a Mac with an M chip, Linux or Windows.",
        )
    if wanted == "pypi" or system == "Darwin":
        return Torch("PyPI's build", plain)
    if wanted == "cuda" or (wanted == "auto" and gpu is not None):
        gpu = gpu or Gpu()
        if 0 < gpu.driver < 580 or 0 < gpu.capability < 7.5:
            return Torch(
                "CUDA 12.6 build", f"{plain}+cu126", (("--extra-index-url", PYTORCH_INDEX + "cu126"),)
            )
        if system == "Windows":
            return Torch(
                "CUDA 13.0 build", f"{plain}+cu130", (("--extra-index-url", PYTORCH_INDEX + "cu130"),)
            )
        return Torch("CUDA 13.0 build", plain)
    if system == "Windows":
        return Torch("CPU build", plain)
    # A package index or wheel folder of one's own (pip's configuration) goes before PyTorch's index.
    elsewhere = ("--extra-index-url", PYTORCH_INDEX + "cpu", "--retries", "1", "--timeout", "30")
    return Torch("CPU build", f"{plain}+cpu", ((), elsewhere))


def pinned(package: str) -> str:
    """The version of `package` in constraints.txt."""
    match = re.search(rf"^{package}==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if match is None:
        raise Failed("constraints.txt", "", f"It names no version of {package}: fetch the file again.")
    return match[1]


# ---------------------------------------------------------------- our own environment


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp_key(torch: Torch) -> str:
    """Changes whenever what has to be installed changes."""
    digest = hashlib.sha256(torch.requirement.encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def venv_works() -> bool:
    """Whether .venv has a Python that starts and a pip in it."""
    try:
        return subprocess.run([venv_python(), "-m", "pip", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def plan(extras: Iterable[str], torch: Torch, stamp: Mapping) -> list[Step]:
    """The steps that make .venv hold `extras`; none where the stamp says that it does."""
    extras = set(extras)
    key = stamp_key(torch)
    present = set(stamp.get("extras", ()))
    if stamp.get("key") == key and extras <= present and venv_python().exists():
        return []
    steps = []
    if not venv_works() or stamp.get("torch", torch.requirement) != torch.requirement:
        steps.append(
            Step(
                "the environment .venv",
                ((sys.executable, "-m", "venv", "--clear", str(VENV)),),
                "On Debian and Ubuntu install python3-venv first (apt install python3-venv). "
                "If .venv is in use, close Sonopaint.",
            )
        )
    pip = (str(venv_python()), "-m", "pip", "install", "--progress-bar", "off", "-c", str(CONSTRAINTS))
    steps.append(
        Step(
            f"PyTorch ({torch.name})",
            tuple((*pip, torch.requirement, *source) for source in torch.sources),
            f"Check the connection to {PYTORCH_INDEX}, or put a wheel of {torch.requirement} for this Python "
            "into a folder and name it in PIP_FIND_LINKS. `--torch pypi` takes PyPI's build instead "
            "(on Linux several GB).",
        )
    )
    wanted = ",".join(sorted(extras | present))
    steps.append(
        Step(
            f"Sonopaint and its packages ({wanted})",
            ((*pip, "-e", f"{ROOT}[{wanted}]"),),
            "Check the connection to the package index and the free disk space.",
        )
    )
    steps.append(
        Step(
            "a look whether it imports",
            ((str(venv_python()), "-c", LOOK),),
            "Delete the folder .venv to start afresh.",
        )
    )
    return steps


def progress(line: str) -> str | None:
    """What of a step's output is worth showing: large downloads, the unpacking, the device."""
    download = re.match(r"\s*Downloading (\S+) \(([\d.]+) (MB|GB)\)", line)
    if download and (download[3] == "GB" or float(download[2]) >= 5):
        return f"  downloading {download[1].split('/')[-1]}, {download[2]} {download[3]}"
    if line.startswith("Installing collected packages:"):
        return f"  unpacking {line.count(',') + 1} packages"
    return f"  {line.strip()}" if line.startswith("PyTorch ") else None


def child_environment() -> dict[str, str]:
    """The environment of our own processes: nothing of another Python's paths."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PYTHONUTF8="1")
    return environment


def perform(step: Step) -> None:
    """Run the step's commands until one succeeds; raise Failed with the end of the last one's output."""
    say(step.name)
    tail: collections.deque[str] = collections.deque(maxlen=20)
    for command in step.commands:
        tail.clear()
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=child_environment(),
                cwd=ROOT,
            )
        except OSError as error:
            tail.append(str(error))
            continue
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail.append(line.rstrip())
                if shown := progress(line):
                    say(shown)
            if process.wait() == 0:
                return
        finally:
            process.kill()  # where this was interrupted; otherwise it has ended already
            process.wait()
    raise Failed(step.name, "\n".join(tail), step.hint)


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6


def install(extras: Iterable[str], torch: Torch, dry_run: bool) -> None:
    """Make .venv hold `extras`. Safe to interrupt and repeat: the stamp is written last."""
    stamp = read_stamp()
    steps = plan(extras, torch, stamp)
    if not steps:
        say(f"installed already: {venv_python()}")
        return
    if dry_run:
        for step in steps:
            say(f"would do: {step.name}")
            for command in step.commands:
                say("  " + shlex.join(command))
        return
    if VENV.exists() and not stamp:
        say("an unfinished .venv is there: finishing it")
    STAMP.unlink(missing_ok=True)
    for step in steps:
        perform(step)
    present = sorted(set(extras) | set(stamp.get("extras", ())))
    beside = STAMP.with_suffix(".part")
    beside.write_text(json.dumps({"key": stamp_key(torch), "torch": torch.requirement, "extras": present}))
    beside.replace(STAMP)
    say(f"installed: {megabytes(VENV):.0f} MB in .venv, {(time.monotonic() - STARTED) / 60:.1f} minutes")


# ---------------------------------------------------------------- the modes


def start_studio(arguments: Sequence[str]) -> int:
    """Start Studio on 127.0.0.1; it opens the browser itself unless --no-browser is given."""
    say("starting Studio (Ctrl+C ends it)")
    command = [str(venv_python()), "-m", "sonopaint_studio", *arguments]
    if os.name == "nt":
        return subprocess.call(command, env=child_environment())
    sys.stdout.flush()
    os.execve(command[0], command, child_environment())


def parallel() -> tuple[str, ...]:
    """pytest's arguments for as many processes as there are cores, four at most; -n 0 behind them is one.

    Files are given out in their order: the browser's, which are few tests and slow, are not left to the end.
    A process that dies ends the run, with its test named: pytest-xdist may wait for its successor forever.
    """
    workers = min(4, os.cpu_count() or 1)
    split = ("--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart", "0")
    return ("-n", str(workers), *split, "--durations", "10") if workers > 1 else ()


def run_tests(arguments: Sequence[str]) -> int:
    """ruff, mypy and pytest; pytest's exit code, or else that of the first check that failed."""
    python = str(venv_python())
    checks = {
        "ruff check": (python, "-m", "ruff", "check", "--output-format", "concise", "."),
        "ruff format": (python, "-m", "ruff", "format", "--check", "--output-format", "concise", "."),
        "mypy": (python, "-m", "mypy"),
        "pytest": (python, "-m", "pytest", *parallel(), *arguments),
    }
    codes = {}
    for name, command in checks.items():
        say(name)
        codes[name] = subprocess.call(command, env=child_environment(), cwd=ROOT)
    for name in [name for name, code in codes.items() if code]:
        say(f"{name} failed: see above")
    return codes["pytest"] or next((code for code in codes.values() if code), 0)


def show_commands() -> int:
    folder = venv_python().parent
    say("ready; the commands are:")
    for name in ("sonopaint", "sonoconvert", "sonotrain"):
        print(f"    {folder / name} --help")
    return 0


# ---------------------------------------------------------------- inside a host


def host_name(environ: Mapping[str, str], root: Path, directory: Path) -> str | None:
    """Which host runs this file, or None.

    AUTOMATIC1111 and its forks put their root on PYTHONPATH; ComfyUI-Manager sets COMFYUI_PATH; and the
    folder that this repository was cloned into tells.
    """
    if "COMFYUI_PATH" in environ or root.parent.name == "custom_nodes":
        return "ComfyUI"
    paths = [Path(entry) for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for path in [*paths, directory, root.parent.parent]:
        if (path / "modules").is_dir() and ((path / "launch.py").is_file() or (path / "webui.py").is_file()):
            return "the WebUI"
    return None


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages() -> dict[str, str]:
    """Every distribution that this Python can see: canonical name -> version."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            found.setdefault(canonical(name), distribution.version)
    return found


def missing_requirements(have: Mapping[str, str]) -> list[str]:
    return [
        name
        for name, module in HOST_REQUIREMENTS.items()
        if name not in have and importlib.util.find_spec(module) is None
    ]


def frozen(have: Mapping[str, str]) -> str:
    """A constraints file that holds every present package where it is (what is no version is left out)."""
    lines = (f"{name}=={version}" for name, version in sorted(have.items()))
    return "\n".join(line for line in lines if re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9.+!]*", line))


def clashes(planned: Iterable[str], have: Mapping[str, str]) -> list[str]:
    """Planned packages that must not be touched: those the host has, and those it never gets from us."""
    return sorted({canonical(name) for name in planned} & (set(have) | HOST_NEVER))


def install_into_host(host: str, dry_run: bool) -> int:
    """Add the conversion wing's light requirements that this Python lacks, and nothing else.

    pip first only plans, held by a constraints file of everything present. The plan is refused if it
    touches a package that is there; then exactly the planned versions are installed with --no-deps.
    """
    step = f"packages for {host}"
    have = installed_packages()
    missing = missing_requirements(have)
    if not missing:
        say(f"Sonopaint: {host} has all it needs, nothing to install")
        return 0
    if importlib.util.find_spec("torch") is None:
        raise Failed(
            step, "", f"This Python is not {host}'s, for it has no PyTorch: use the one that {host} uses."
        )
    by_hand = f"Install them with {host}'s own tool (for example: pip install {' '.join(missing)})."
    if importlib.util.find_spec("pip") is None:
        raise Failed(step, "", f"This Python has no pip. {by_hand}")
    pip = [sys.executable, *(["-s"] if sys.flags.no_user_site else []), "-m", "pip", "install"]
    pip += ["--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder, "host.txt"), Path(folder, "report.json")
        constraints.write_text(frozen(have))
        asked = [*pip, "--quiet", "--dry-run", "--report", str(report), "-c", str(constraints), *missing]
        answer = subprocess.run(asked, capture_output=True, text=True, errors="replace")
        if answer.returncode != 0 or not report.exists():
            raise Failed(step, answer.stdout + answer.stderr, f"Nothing was changed. {by_hand}")
        planned = {
            item["metadata"]["name"]: item["metadata"]["version"]
            for item in json.loads(report.read_text(encoding="utf-8"))["install"]
        }
    if touched := clashes(planned, have):
        raise Failed(step, f"pip would change {', '.join(touched)}.", f"Nothing was changed. {by_hand}")
    exact = [f"{name}=={version}" for name, version in sorted(planned.items())]
    if dry_run:
        say(f"would install into {host}: {' '.join(exact)}")
        return 0
    say(f"Sonopaint: installing into {host}: {' '.join(exact)}")
    answer = subprocess.run(
        [*pip, "--quiet", "--no-deps", *exact], capture_output=True, text=True, errors="replace"
    )
    if answer.returncode != 0:
        raise Failed(step, answer.stdout + answer.stderr, by_hand)
    return 0


# ---------------------------------------------------------------- the command


def interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("mode", nargs="?", choices=MODES)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda", "pypi"), default="auto")
    parser.add_argument("-h", "--help", action="store_true")
    options, rest = parser.parse_known_args(argv)
    rest = [argument for argument in rest if argument != "--"]
    try:
        if options.mode is None and not options.help:
            if host := host_name(os.environ, ROOT, Path.cwd()):
                return install_into_host(host, options.dry_run)
        if options.mode is None or options.help:
            print(__doc__)
            return 0 if options.help else 2
        if rest and options.mode in ("cli", "train"):
            parser.error(f"{options.mode} takes no {' '.join(rest)}")
        if not (3, 10) <= sys.version_info[:2] <= (3, 13):
            raise Failed("Python", "", f"This is Python {platform.python_version()}; use 3.10 to 3.13.")
        torch = choose_torch(
            options.torch, platform.system(), platform.machine(), find_gpu(), pinned("torch")
        )
        install(MODES[options.mode], torch, options.dry_run)
        if options.dry_run:
            say(f"then would run: {options.mode} {shlex.join(rest)}".rstrip())
            return 0
        if options.mode == "studio":
            return start_studio(rest)
        return run_tests(rest) if options.mode == "test" else show_commands()
    except Failed as failure:
        sys.stdout.flush()
        print(f"\nThis step failed: {failure.step}", file=sys.stderr)
        if failure.output:
            print("The end of its output:\n" + failure.output.strip(), file=sys.stderr)
        print(f"How to go on: {failure.hint} Then run the same command again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
