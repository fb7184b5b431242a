"""Faults that end the program: a rank is killed while the stream drains, and rank 0 is killed."""

import os
import signal
import time
from dataclasses import dataclass

import psutil

from benchmarks.chaos.scene import STOP_S, Scene, left_of, wait_for
from tests.system.program import is_listening

GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """exit_code: negative for a signal. gone_s: seconds until the last process was gone. left: pids that stayed."""

    exit_code: int | None
    gone_s: float
    left: list[int]
    listening: bool


def kill_while_draining(scene: Scene, rank: int) -> Shutdown:
    """SIGTERM for the program. The mesh rank is killed as soon as the stream drains."""
    pid, mark, family = scene.pids()[rank], len(scene.tail.lines), scene.program.family()
    start = time.monotonic()
    scene.program.process.send_signal(signal.SIGTERM)
    wait_for(lambda: scene.tail.first("the stream is draining", mark) is not None, "draining")
    if psutil.pid_exists(pid):
        os.kill(pid, signal.SIGKILL)
    return _end(scene, family, start)


def kill_rank0(scene: Scene) -> Shutdown:
    """kill -9 of rank 0."""
    family, start = scene.program.family(), time.monotonic()
    scene.program.process.send_signal(signal.SIGKILL)
    return _end(scene, family, start)


def _end(scene: Scene, family: list[psutil.Process], start: float) -> Shutdown:
    code = scene.program.process.wait(STOP_S)
    left = left_of(family, GONE_S)
    return Shutdown(code, time.monotonic() - start, left, is_listening(scene.program.port))
