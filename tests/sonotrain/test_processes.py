"""Work shared out over processes: in order, and never an endless wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from sonoconvert.errors import SonopaintError
from sonotrain.files.processes import several

SOON_S = 60.0  # processes have to start, too; what they are given would take ten minutes
SCRIPT = """
import time
from sonotrain.files.processes import several

if __name__ == "__main__":
    with several(2) as run:
        for _ in run(time.sleep, [0, 600, 600, 600]):
            print("begun", flush=True)
"""


@pytest.mark.parametrize("count", [0, 1, 2])
def test_results_come_in_the_order_of_the_jobs(count: int) -> None:
    with several(count) as run:
        assert list(run(abs, [-3, 2, -1])) == [3, 2, 1]


def test_results_come_as_they_are_ready_and_the_rest_is_broken_off() -> None:
    start = time.monotonic()
    with several(2) as run:
        for nothing in run(time.sleep, [0, 600, 600]):
            assert nothing is None
            break
    assert time.monotonic() - start < SOON_S


def test_a_killed_process_is_told_in_one_sentence() -> None:
    start = time.monotonic()
    said = r"ended by the system.*\(workers 1\)"
    with pytest.raises(SonopaintError, match=said) as caught, several(2) as run:
        for _ in run(time.sleep, [0, 600, 600]):
            active_children()[0].kill()
    assert caught.value.settings == ("workers",) and time.monotonic() - start < SOON_S


def test_what_a_job_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError), several(2) as run:
        list(run((1).__floordiv__, [1, 0]))


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C goes to a group of processes")
def test_ctrl_c_ends_it_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=SOON_S)  # until all that hold its output have ended
    assert process.returncode and "KeyboardInterrupt" in said
