"""A served program with a viewer, and everything that watches it: its events, its log, its readiness, its processes.

Knows no fault.
"""

import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos.watcher import Watcher
from tests.fault.event_listener import EventListener
from tests.system.program import Running, running

CHUNK_DEADLINE_S = 2.0
"""Short, so that a restart is always longer and readiness must say so."""
CHOICES = (
    "layout=cpu",
    "layout.mesh_ranks=2",
    "supervision.restarts=1000",
    "supervision.pauses_s=[1]",
    "supervision.media_restarts=1000",
    f"deadlines.chunk={CHUNK_DEADLINE_S:g}",
    "stream.height=64",
    "stream.width=64",
)
POLL_S = 0.005
LOOKS, LOOK_S = 10, 0.02
WAIT_S = 240.0
"""Long: a start takes many times longer on a busy machine, and each wait ends as soon as its event comes."""
STOP_S = 30.0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
    """Raises TimeoutError, saying what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_S)


def ready(program: Running) -> None:
    """Until chunks are shown. Raises RuntimeError when the program ends before."""

    def answered() -> bool:
        if program.process.poll() is not None:
            raise RuntimeError(program.log)
        return program.get("/readyz")[0] == 200

    wait_for(answered, "chunks")


class Tail:
    """Follows a log: its lines so far, each with the time it was there."""

    def __init__(self, path: Path) -> None:
        self.lines: list[tuple[float, str]] = []
        self._path, self._stop = path, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def first(self, pattern: str, mark: int = 0) -> tuple[float, str] | None:
        """The first line from number `mark` on that matches."""
        return next((line for line in self.lines[mark:] if re.search(pattern, line[1])), None)

    def _follow(self) -> None:
        with self._path.open() as log:
            part = ""
            while not self._stop.wait(POLL_S):
                part += log.read()
                *whole, part = part.split("\n")
                self.lines += [(time.monotonic(), line) for line in whole]


@dataclass(frozen=True, slots=True)
class Usage:
    """What rank 0's process holds."""

    fds: int
    threads: int
    rss_mb: float


class Scene:
    """Everything about one running program."""

    def __init__(self, program: Running, ear: EventListener, tail: Tail, watcher: Watcher, start_s: float) -> None:
        """start_s: how long the program took to show its first chunk."""
        self.program, self.ear, self.tail, self.watcher, self.start_s = program, ear, tail, watcher, start_s

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.program.port}"

    def pids(self) -> dict[int, int]:
        return {int(rank): facts["pid"] for rank, facts in self.program.state()["ranks"].items()}

    def settle(self) -> None:
        """Until chunks are shown, the viewer sees them, and the next media process has been started ahead."""
        ready(self.program)
        wait_for(lambda: len(self.program.media_processes()) == 2, "the next media process")
        since = time.monotonic()
        wait_for(lambda: self.watcher.flows_since(since) is not None, "frames at the viewer")

    def rejoin(self) -> None:
        """The viewer connects anew, as a page does when its media process was replaced."""
        self.watcher.close()
        self.watcher = Watcher(self.url)

    def usage(self) -> Usage:
        """What stays: the probes' own requests come and go between two looks."""
        process, fds, threads = psutil.Process(self.program.process.pid), [], []
        for _ in range(LOOKS):
            fds.append(process.num_fds())
            threads.append(process.num_threads())
            time.sleep(LOOK_S)
        return Usage(min(fds), min(threads), process.memory_info().rss / 1e6)

    def end(self) -> tuple[int | None, list[int]]:
        """Stop the program: its exit code, and the pids of what it leaves behind."""
        family = self.program.family()
        self.program.process.send_signal(signal.SIGTERM)
        return self.program.process.wait(STOP_S), left_of(family)


def left_of(family: list[psutil.Process], seconds: float = 1.0) -> list[int]:
    """Which of a program's processes are still there after so long."""
    _, left = psutil.wait_procs(family[1:], timeout=seconds)
    return [process.pid for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@contextlib.contextmanager
def scene(folder: Path, *choices: str) -> Iterator[Scene]:
    """A program with the smallest frames, and a viewer that has got some."""
    begun_s = time.monotonic()
    with running(*CHOICES, *choices, out=folder) as program, contextlib.ExitStack() as stack:
        tail = stack.enter_context(contextlib.closing(Tail(folder.with_suffix(".log"))))
        ready(program)
        start_s = time.monotonic() - begun_s
        ear = stack.enter_context(contextlib.closing(EventListener(program)))
        found = Scene(program, ear, tail, Watcher(f"http://127.0.0.1:{program.port}"), start_s)
        stack.callback(lambda: found.watcher.close())
        found.settle()
        yield found
