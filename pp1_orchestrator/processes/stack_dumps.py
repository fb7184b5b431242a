"""Dumps the Python stacks of all threads of all ranks into files of the run's folder, for a run that hangs.

A signal makes a rank dump them. Its handler is C code, so it works in a rank whose interpreter is stuck.
"""

import contextlib
import faulthandler
import itertools
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pp1_orchestrator.transport import process_groups as groups

SIGNAL = signal.SIGUSR1
FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')
PRIVATE = 0o700
WRITE_S, POLL_S = 1.0, 0.02
"""Time that a rank has to write its stacks, and how often the files are read meanwhile."""


@dataclass(frozen=True, slots=True)
class StackReport:
    """folder: has a file for each rank. stopped: ranks in a stopped process. silent: ranks that wrote nothing.

    busy: the place in the code of each rank that is not waiting for another one.
    """

    folder: Path
    stopped: list[int] = field(default_factory=list[int])
    silent: list[int] = field(default_factory=list[int])
    busy: dict[int, str] = field(default_factory=dict[int, str])


def write_on_signal(run_folder: Path, rank: int) -> None:
    """Make this process, a mesh rank, ready for `dump_all`."""
    path = _pending_path(run_folder, rank, os.getpid())
    path.parent.mkdir(mode=PRIVATE, exist_ok=True)
    faulthandler.register(SIGNAL, file=path.open("wb", buffering=0))


def dump_all(run_folder: Path, name: str, pids: Mapping[int, int]) -> StackReport:
    """Dump the stacks of this process and of `pids`, by rank, into a new folder "{name}-{number}".

    Raises OSError when they can't be written.
    """
    folder = _new_folder(run_folder, name)
    with _file(folder, groups.STAGE0).open("wb") as own:
        faulthandler.dump_traceback(own)
    if pids:
        _pending_path(run_folder, 0, 0).parent.stat()  # raises if no rank could write
    stopped = [rank for rank, pid in pids.items() if _is_stopped(pid)]
    listening = [rank for rank, pid in pids.items() if _pending_path(run_folder, rank, pid).exists()]
    for rank in listening:
        _pending_path(run_folder, rank, pids[rank]).rename(_file(folder, rank))
        _send(pids[rank], SIGNAL)
    for rank in set(listening) & set(stopped):
        _send(pids[rank], signal.SIGCONT)
    texts = dict.fromkeys(pids, "") | _wait_for_texts({rank: _file(folder, rank) for rank in listening})
    silent = [rank for rank, text in texts.items() if not text]
    for rank in silent:
        why = f"wrote no stacks within {WRITE_S:g} s" if rank in listening else "was not ready to write any"
        _file(folder, rank).write_text(f"rank {rank}, process {pids[rank]}, {why}\n")
    busy = {rank: place for rank, text in texts.items() if (place := _busy_at(text))}
    return StackReport(folder, stopped, silent, busy)


def discard(run_folder: Path, pids: Mapping[int, int]) -> None:
    """Remove the unused files of ranks that have ended."""
    for rank, pid in pids.items():
        with contextlib.suppress(OSError):  # the whole folder may be gone
            _pending_path(run_folder, rank, pid).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another mesh uses the folder, or it was never made
        _pending_path(run_folder, 0, 0).parent.rmdir()


def _pending_path(run_folder: Path, rank: int, pid: int) -> Path:
    return run_folder / ".stacks" / f"rank{rank}-{pid}.txt"


def _file(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}.txt"


def _new_folder(run_folder: Path, name: str) -> Path:
    for number in itertools.count(1):
        folder = run_folder / f"{name}-{number}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE)
            return folder
    raise AssertionError("unreachable")


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_for_texts(paths: Mapping[int, Path]) -> dict[int, str]:
    """The files' contents, once none is empty and none grows, or after `WRITE_S`."""
    end, before = time.monotonic() + WRITE_S, None
    while True:
        texts = {rank: path.read_text(encoding="utf-8", errors="replace") for rank, path in paths.items()}
        if time.monotonic() >= end or (texts == before and all(texts.values())):
            return texts
        before = texts
        time.sleep(POLL_S)


def _busy_at(text: str) -> str:
    """The place of a rank's main thread, which is dumped last; "" if it is waiting for another rank."""
    frames = [
        match for line in text.rpartition("most recent call first")[2].splitlines() if (match := FRAME.match(line))
    ]
    if not frames or any(frame["file"] in groups.WAIT_FILES for frame in frames):
        return ""
    return f"{Path(frames[0]['file']).name}:{frames[0]['line']} in {frames[0]['function']}"
