"""Make every picture, thumbnail, demo sound and table again that the weights make: python docs/make_all.py

Only what is not of the present weights is made (each file carries their hash; `--check` lists what is old).
Needs Chromium; ComfyUI's pictures need COMFYUI_DIR and COMFYUI_PYTHON, as its tests do; those of the
WebUI a running one with this extension and --api, by WEBUI_URL. A step that fails
does not keep the others from being made; the last lines say what is left.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from artefacts import ALL, ROOT, Artefacts, old, present, stamp

START_S = 600


def script(name: str, *options: str) -> None:
    """Run one of this folder's scripts; raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, ROOT / f"docs/make_{name}.py", *options], check=True, cwd=ROOT)


@contextmanager
def running_comfyui() -> Iterator[str]:
    """The address of a ComfyUI in which this repository is the only node pack."""
    checkout = os.environ.get("COMFYUI_DIR")
    if not checkout:
        raise RuntimeError("COMFYUI_DIR names no ComfyUI")
    with tempfile.TemporaryDirectory() as base, socket.socket() as free:
        for folder in ("custom_nodes", "input", "output", "models/loras", "models/checkpoints"):
            (Path(base) / folder).mkdir(parents=True)
        (Path(base) / "custom_nodes/sonopaint").symlink_to(ROOT, target_is_directory=True)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            "main.py",
            "--cpu",
            "--disable-api-nodes",
        ]
        command += ["--base-directory", base, "--listen", "127.0.0.1", "--port", str(port)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
            while True:
                try:
                    urllib.request.urlopen(f"{url}/system_stats", timeout=5)
                    break
                except OSError as error:
                    if process.poll() is not None or time.monotonic() > end:
                        raise RuntimeError("ComfyUI did not start") from error
                    time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def comfyui(files: list[Path]) -> None:
    """The workflows, and the pictures of those that are old."""
    shown = {f"comfyui-{short}": name for name, short in pictures_shown().items()}
    shown["comfyui-region"] = "Inpaint a box"
    names = dict.fromkeys(shown.get(path.stem, path.stem) for path in files)
    with running_comfyui() as url:
        script("comfyui_workflows", "--url", url)
        script("comfyui_pictures", "--url", url, *names)


def pictures_shown() -> dict[str, str]:
    from make_comfyui_pictures import SHOWN

    return SHOWN


def subject_sheet(files: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clips = ["-m", "sonotrain", "bench", "subject-clips", "--out", f"{folder}/subjects"]
        subprocess.run([sys.executable, *clips], check=True, cwd=ROOT)
        script("subject_sheet", "--clips", f"{folder}/subjects")


def webui(files: list[Path]) -> None:
    """In a WebUI that runs already: its data, its models and its Python are its user's."""
    url = os.environ.get("WEBUI_URL")
    if not url:
        raise RuntimeError("WEBUI_URL names no running WebUI")
    script("webui_pictures", url)  # adds Mini where it isn't there
    script("demo", "--webui", url)


STEPS: dict[str, Callable[[list[Path]], None]] = {
    "contact_sheet": lambda files: script("contact_sheet", "mini"),
    "subject_sheet": subject_sheet,
    "jingle_demo": lambda files: script("jingle_demo"),
    "blend_demo": lambda files: script("blend_demo"),
    "curves_demo": lambda files: script("curves_demo"),
    "screenshots": lambda files: script("screenshots"),
    "demo": lambda files: script("demo"),
    "webui": webui,
    "comfyui": comfyui,
}


def make(step: str, artefacts: list[Artefacts]) -> str | None:
    """Make what is old of a step and stamp it; what went wrong, in one line."""
    files = [path for one in artefacts for path in old(one)]
    if not files:
        return None
    try:
        STEPS[step](files)
        for one in artefacts:
            for path in sorted(ROOT.glob(one.files)):
                stamp(path, present(one.groups))
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"{step}: {error}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="make nothing; exit with 1 where anything is old"
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all without")
    options = parser.parse_args()
    steps = options.steps or list(STEPS)
    by_step = {step: [one for one in ALL if one.step == step] for step in steps}
    failed = [] if options.check else [text for step in steps if (text := make(step, by_step[step]))]
    left = [
        path.relative_to(ROOT).as_posix() for some in by_step.values() for one in some for path in old(one)
    ]
    for text in (*failed, *(f"old: {path}" for path in left)):
        print(text)
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
