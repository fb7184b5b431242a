"""Attacks a running program in one way after the other, and measures what others notice of it.

python -m benchmarks.attacks                     # all of them, as a table
python -m benchmarks.attacks nacks cuts          # some; --seconds: of each, and of the time without it before

Each row has two figures of each kind: before the attack, and during it, of the same program in the same minute.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.attackers import ATTACKS
from benchmarks.attacks.viewer import CountingClient
from benchmarks.chaos.scene import ready
from benchmarks.chaos.watcher import Watcher
from benchmarks.machine import describe
from tests.system.program import Running, running

PROBE_S, SETTLE_S = 0.05, 3.0
SMALL = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64")
HEAD = (
    "| attack | longest gap s | packets lost | `/healthz` p99 s | log KB a minute | extra KB/s to the attacker |\n"
    "|---|---|---|---|---|---|\n"
)


class Health:
    """Asks for `/healthz` on connections of its own, 20 times a second. took_s: with the time of each request."""

    def __init__(self, url: str) -> None:
        self.took_s: list[tuple[float, float]] = []
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _probe(self) -> None:
        while not self._stop.wait(PROBE_S):
            start = time.monotonic()
            try:
                with urllib.request.urlopen(f"{self._url}/healthz", timeout=30) as answer:
                    answer.read()
            except OSError:
                self.took_s.append((start, float("inf")))
            else:
                self.took_s.append((start, time.monotonic() - start))


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one stretch of time, as another viewer and a monitor see it."""

    gap_s: float
    lost: int
    health_s: float
    log_kb: float


class Observed:
    """A running program with a viewer who does not attack."""

    def __init__(self, program: Running, log: Path) -> None:
        self._program, self._log = program, log
        self.url = f"http://127.0.0.1:{program.port}"
        self.client: CountingClient | None = None
        self.watcher, self.health = Watcher(self.url, self._make), Health(self.url)

    def close(self) -> None:
        self.health.close()
        self.watcher.close()

    def figures(self, start_s: float, end_s: float, log_bytes: int) -> Figures:
        assert self.client is not None
        at_s = [start_s, *(at_s for at_s in self.watcher.frames if start_s <= at_s <= end_s), end_s]
        took_s = sorted(took_s for asked_s, took_s in self.health.took_s if start_s <= asked_s <= end_s)
        return Figures(
            max(later - earlier for earlier, later in itertools.pairwise(at_s)),
            self.client.lost(start_s, end_s),
            took_s[int(len(took_s) * 0.99)] if took_s else float("inf"),
            log_bytes / 1e3 / (end_s - start_s) * 60,
        )

    def log_bytes(self) -> int:
        return self._log.stat().st_size

    def _make(self) -> CountingClient:
        self.client = CountingClient()
        return self.client


def measure(observed: Observed, name: str | None, seconds: float) -> tuple[Figures, str]:
    """The figures of some seconds with an attack, or without one; and what the attacker has to say."""
    before = observed.log_bytes()
    said, start_s = "", time.monotonic()
    if name is None:
        time.sleep(seconds)
    else:
        words = [sys.executable, "-m", "benchmarks.attacks.attackers", name, observed.url, str(seconds)]
        attacker = subprocess.run(words, capture_output=True, text=True, check=False)
        if attacker.returncode:
            raise RuntimeError(f"the attack {name} failed: {attacker.stderr.strip()[-2000:]}")
        said = attacker.stdout.strip()
    end_s = time.monotonic()
    time.sleep(SETTLE_S)
    return observed.figures(start_s, end_s, observed.log_bytes() - before), said


def row(name: str, before: Figures, during: Figures, said: str) -> str:
    extra = f"{int(said) / 1e3:.0f}" if said.isdigit() else "–"
    pairs = (
        f"{before.gap_s:.2f}, {during.gap_s:.2f}",
        f"{before.lost}, {during.lost}",
        f"{before.health_s:.3f}, {during.health_s:.3f}",
        f"{before.log_kb:.0f}, {during.log_kb:.0f}",
    )
    return f"| {name.replace('_', ' ')} | {' | '.join(pairs)} | {extra} |\n"


def run(names: Sequence[str], seconds: float, settings: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        with running(*SMALL, *settings, out=out) as program:
            ready(program)
            observed = Observed(program, out.with_suffix(".log"))
            sys.stdout.write(f"{describe()}\n\n{HEAD}")
            for name in names:
                before, _ = measure(observed, None, seconds)
                sys.stdout.write(row(name, before, *measure(observed, name, seconds)))
                sys.stdout.flush()
            observed.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*ATTACKS, []], help="the attacks; all of them if none is named")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--settings", nargs="*", default=[], help="of the program")
    options = parser.parse_args()
    run(options.names or list(ATTACKS), options.seconds, options.settings)


if __name__ == "__main__":
    main()
