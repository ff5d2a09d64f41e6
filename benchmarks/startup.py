"""Seconds from starting Studio to its first page, and the memory it then holds.

Run: python benchmarks/startup.py [--runs 3]
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PATIENCE_S = 180


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has held, from /proc (Linux); NaN elsewhere."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return float("nan")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) / 1024


def start_once() -> tuple[float, float]:
    """(seconds to the first page, peak megabytes) of one start."""
    port = free_port()
    command = [sys.executable, "-m", "sonopaint_studio", "--no-browser", "--port", str(port)]
    begin = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < PATIENCE_S:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    page.read()
                    return time.perf_counter() - begin, peak_megabytes(server.pid)
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"Studio did not answer within {PATIENCE_S} seconds.")
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    results = [start_once() for _ in range(parser.parse_args().runs)]
    seconds, megabytes = (statistics.median(column) for column in zip(*results, strict=True))
    print(f"first page after {seconds:.1f} s (median of {len(results)}), peak memory {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
