"""Faults after which the program is gone: a rank that is killed while the stream ends, and kill -9 of rank 0."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import psutil

from benchmarks.chaos.scene import STOP_S, Scene, left_of, wait_for
from tests.system.program import is_listening

GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class End:
    """exit_code: negative for a signal; gone_s: seconds until the last process was gone; left: pids that stay."""

    exit_code: int | None
    gone_s: float
    left: list[int]
    listening: bool


def drained(scene: Scene, rank: int) -> End:
    """SIGTERM for the program; the mesh rank is killed as soon as it ends its stream."""
    pid, mark, family = scene.pids()[rank], len(scene.tail.lines), scene.program.family()
    start = time.monotonic()
    scene.program.process.send_signal(signal.SIGTERM)
    wait_for(lambda: scene.tail.first("the stream is draining", mark) is not None, "draining")
    if psutil.pid_exists(pid):
        os.kill(pid, signal.SIGKILL)
    return _end(scene, family, start)


def beheaded(scene: Scene) -> End:
    """kill -9 of rank 0."""
    family, start = scene.program.family(), time.monotonic()
    scene.program.process.send_signal(signal.SIGKILL)
    return _end(scene, family, start)


def _end(scene: Scene, family: list[psutil.Process], start: float) -> End:
    code = scene.program.process.wait(STOP_S)
    left = left_of(family, GONE_S)
    return End(code, time.monotonic() - start, left, is_listening(scene.program.port))
