"""What no input may do, whatever the target: take long, make the process grow, leave a thread or file, log an error.

Knows no target.
"""

import gc
import logging
import resource
import threading
import time
from collections.abc import Callable

import psutil

from tests.timing import scaled

CPU_S = 2.0
"""Of one input, on an idle machine. Instrumented code takes several times longer than usual."""
ONE_INPUT_MB, ALL_INPUTS_MB = 256, 200
THREADS, FILES = 16, 48
EVERY = 100
"""Inputs between two looks at the process."""
LINE_CHARS = 1000


class Finding(AssertionError):
    """An input that broke a rule."""


def check_line(error: BaseException, given: int = 0) -> None:
    """An error's text is one line, and not empty. given: characters of the input, which the line may repeat."""
    text = str(error)
    if not text.strip() or len(text.splitlines()) != 1:
        raise Finding(f"{type(error).__name__} is not one line: {text[:200]!r}") from error
    if len(text) > LINE_CHARS + given:
        raise Finding(f"{type(error).__name__} has {len(text)} characters") from error


class Complaints(logging.Handler):
    """Keeps what is logged as an error. asyncio logs the exceptions that no task has fetched."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said: list[logging.LogRecord] = []
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record)

    def check(self) -> None:
        if self._said:
            first, *_ = said = self._said
            self._said = []
            cause = first.exc_info[1] if first.exc_info else None
            raise Finding(f"{len(said)} errors were logged, first {first.name}: {first.getMessage()[:500]}") from cause


class Guard:
    """A target under the rules of this module."""

    def __init__(self, fuzz_one: Callable[[bytes], None], still_works: Callable[[], None]) -> None:
        self._fuzz_one, self._still_works = fuzz_one, still_works
        self._complaints, self._process = Complaints(), psutil.Process()
        self._done, self._baseline = 0, (0, 0, 0)

    def __call__(self, data: bytes) -> None:
        """Raises Finding, or what the target raised."""
        peak_kb, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
        self._fuzz_one(data)
        spent_s = time.thread_time() - start_s
        if spent_s > CPU_S and spent_s > scaled(CPU_S):
            raise Finding(f"one input took {spent_s:.1f} s of processor time")
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb) >> 10
        if self._done and grown_mb > ONE_INPUT_MB:
            raise Finding(f"one input took {grown_mb} MB")
        self._done += 1
        if self._done % EVERY == 0:
            self.look()
        self._complaints.check()

    def look(self) -> None:
        """Check that the target still works, and that nothing has piled up."""
        self._still_works()
        gc.collect()
        self._complaints.check()
        now = (self._process.memory_info().rss >> 20, threading.active_count(), self._process.num_fds())
        if self._done <= EVERY:
            self._baseline = now
            return
        limits = (ALL_INPUTS_MB, THREADS, FILES)
        for what, was, is_, limit in zip(("MB", "threads", "files"), self._baseline, now, limits, strict=True):
            if is_ > was + limit:
                self._baseline = now
                raise Finding(f"{what} have grown from {was} to {is_} in {self._done} inputs")
