"""What viewers cost: CPU of the serving process, and frames a second at each viewer, for one viewer and for many.

    python -m benchmarks.fanout --viewers 8 --seconds 20

The program runs as a user runs it; the viewers are WHEP clients in a process of their own, so their decoding is not
counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil

from benchmarks.machine import describe

PORT = 7871
BASE = f"http://127.0.0.1:{PORT}"
START_S = 90.0
JOIN_S = 4.0
"""Viewers get this long to connect before the measured time begins."""


@contextlib.contextmanager
def running_program(settings: list[str]) -> Iterator[psutil.Process]:
    """The program, ready, as a process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pp1_orchestrator",
            f"serving.port={PORT}",
            f"hydra.run.dir={folder}",
            *settings,
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_until_ready()
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready() -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"{BASE}/readyz"):
            return
        time.sleep(0.5)
    raise TimeoutError(f"the program was not ready within {START_S:.0f} s")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure(program: psutil.Process, viewers: int, seconds: float) -> str:
    """One line of the table."""
    command = [sys.executable, "-m", "benchmarks.viewers", BASE, str(viewers), str(seconds + JOIN_S)]
    crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(JOIN_S)
    start, used = time.monotonic(), cpu_seconds(program)
    time.sleep(seconds)
    percent = 100 * (cpu_seconds(program) - used) / (time.monotonic() - start)
    fps = json.loads(crowd.communicate()[0])
    return f"| {viewers} | {min(fps):.1f} | {sum(fps) / len(fps):.1f} | {percent:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    with running_program(options.settings) as program:
        rows = [measure(program, count, options.seconds) for count in (1, options.viewers)]
    header = ["| viewers | least FPS | mean FPS | CPU of the serving process, % of a core |", "|---|---|---|---|"]
    sys.stdout.write("\n".join([describe(), "", *header, *rows]) + "\n")


if __name__ == "__main__":
    main()
