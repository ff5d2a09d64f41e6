"""Installed into real hosts as users do it: by URL on the host's page, by install.py into its Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[3]
OURS = {"soundfile", "soxr", "cffi", "pycparser"}


def freeze(python: Path) -> set[str]:
    answer = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    return set(answer.stdout.split("\n")) - {""}


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_install_py_changes_nothing_that_the_host_has(checkout: Any, tmp_path: Path) -> None:
    """In a copy of the host's environment, from which our packages were taken. Needs PyPI."""
    home = Path(checkout.python).parent.parent
    if not (home / "pyvenv.cfg").is_file():
        pytest.skip(f"{checkout.python} is in no virtual environment, and no other one is changed here")
    copy = tmp_path / "venv"
    shutil.copytree(home, copy, symlinks=True, copy_function=link_or_copy)
    python = copy / "bin/python"
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "uninstall", "--yes", *quiet, *OURS], check=True)
    before = freeze(python)
    # As the host runs an extension's install.py.
    environment = {**os.environ, "PYTHONPATH": str(checkout.folder)}
    command = [str(python), str(ROOT / "install.py")]
    answer = subprocess.run(
        command, env=environment, cwd=checkout.folder, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    after = freeze(python)
    assert before <= after, before - after
    assert {line.partition("==")[0].lower() for line in after - before} <= OURS
    subprocess.run([python, "-c", "import soundfile, soxr, numpy, scipy, torch"], check=True)
    again = subprocess.run(command, env=environment, cwd=checkout.folder, capture_output=True, text=True)
    assert again.returncode == 0 and "nothing to install" in again.stdout


@pytest.mark.browser
def test_installed_by_url(checkout: Any, start: Any, fresh: Any, browser: Any, tmp_path: Path) -> None:
    """The host's installer clones this repository; after a restart it is there, with its weights."""
    shallow = ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"]
    if "true" in subprocess.run(shallow, capture_output=True, text=True, check=True).stdout:
        pytest.skip("this checkout is a shallow clone; git makes no partial clone of it, as the host does")
    source = tmp_path / "sonopaint"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(source)], check=True)
    base = fresh()
    with start(checkout, base) as host:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(host.url)
        page.wait_for_selector("#txt2img_prompt textarea")
        page.locator("#tabs > .tab-nav > button", has_text="Extensions").first.click()
        page.locator("#tabs_extensions > .tab-nav > button", has_text="Install from URL").click()
        page.get_by_label("URL for extension's git repository").fill(f"file://{source}")
        page.get_by_role("button", name="Install", exact=True).click()
        told = page.locator("#extension_install_result").first
        told.get_by_text("Installed into").wait_for()
        context.close()
    extension = base / "extensions/sonopaint"
    assert list((extension / "weights").rglob("*.safetensors"))
    with start(checkout, base) as host:
        assert "sonopaint-mini" in host.get("/sonopaint/v1/about")["formats"]
        ours = [line for line in host.log.splitlines() if "onopaint" in line and "--data-dir" not in line]
        assert not ours and "Traceback" not in host.log
        body = {"alwayson_scripts": {"sonopaint": {"args": [True, "sonopaint-mini", "wav"]}}}
        made = host.paint(**body)["info"]["extra_generation_params"]["Sonopaint sounds"]
        assert len(made) == 1
        assert host.get(made[0]["url"])[:4] == b"RIFF"
