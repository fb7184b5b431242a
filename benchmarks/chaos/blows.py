"""Mesh ranks that are killed or stopped at a moment of their lives, and how the stream took it.

The moments are those that the ranks tell in their log: a blow lands when the line is there, as exact as can be.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil

from benchmarks.chaos.scene import CHUNK_DEADLINE_S, Scene, Usage, wait_for

PROBE_SLACK_S = 0.5
"""Between a chunk's result and its pixels, and between two probes."""
NOTICED = r"ending the whole mesh|restarting the mesh"


@dataclass(frozen=True, slots=True)
class Blow:
    """When it fell, and how many lines of log, events and probes there were before. old: the pids of the mesh."""

    at_s: float
    lines: int
    events: int
    probes: int
    old: tuple[int, ...]
    prompt: str
    before: Usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds after the blow. unready_s: until /readyz said 503; lies: probes that said ready while there were no
    chunks; kept: prompt and peer connection."""

    detected_s: float
    status_s: float
    again_s: float
    unready_s: float | None
    words: str
    kept: bool
    orphans: int
    lies: int
    before: Usage
    after: Usage


def strike(scene: Scene, rank: int, number: signal.Signals = signal.SIGKILL) -> Blow:
    """Signal a mesh rank, now."""
    return _strike(scene, scene.pids()[rank], number)


def steady(scene: Scene, rank: int) -> Blow:
    """While chunks are made."""
    return strike(scene, rank)


def stopped(scene: Scene, rank: int) -> Blow:
    """While chunks are made; the rank is there, and does nothing more."""
    return strike(scene, rank, signal.SIGSTOP)


def loading(scene: Scene, rank: int) -> Blow:
    """While a new mesh loads its weights."""
    return _in_restart(scene, rank, "agreed on what must be equal")


def handshake(scene: Scene, rank: int) -> Blow:
    """While a new mesh makes its groups."""
    return _in_restart(scene, rank, "loaded")


def first_chunk(scene: Scene, rank: int) -> Blow:
    """As soon as a new mesh has its first envelope."""
    events = len(scene.ear.of("restarted"))
    before = scene.usage()
    strike(scene, 1)
    wait_for(lambda: len(scene.ear.of("restarted")) > events, "another mesh")
    return replace(strike(scene, rank), before=before)


PHASES: Mapping[str, Callable[[Scene, int], Blow]] = {
    "load": loading,
    "handshake": handshake,
    "first chunk": first_chunk,
    "steady": steady,
}


def outcome(scene: Scene, blow: Blow) -> Outcome:
    """Wait until the stream is back at the viewer, and say how it went."""
    wait_for(lambda: _heard(scene, blow, "restarted") is not None, "another mesh")
    up_s = _heard(scene, blow, "restarted") or 0.0
    wait_for(lambda: scene.watcher.flows_since(up_s) is not None, "new frames at the viewer")
    scene.settle()
    noticed = scene.tail.first(NOTICED, blow.lines)
    status_s = _heard(scene, blow, "restarting")
    assert noticed is not None
    assert status_s is not None
    state = scene.program.state()
    probes = scene.ear.probes[blow.probes :]
    told = next(event for event in scene.ear.events[blow.events :] if event["event"] == "restarting")
    return Outcome(
        detected_s=noticed[0] - blow.at_s,
        status_s=status_s - blow.at_s,
        again_s=(scene.watcher.flows_since(up_s) or 0.0) - blow.at_s,
        unready_s=next((probe.at_s - blow.at_s for probe in probes if probe.status == 503), None),
        words=told["text"],
        kept=scene.watcher.connected and state["prompt"] == blow.prompt,
        orphans=sum(psutil.pid_exists(pid) for pid in blow.old),
        lies=lies(scene.ear.probes),
        before=blow.before,
        after=scene.usage(),
    )


def lies(probes: Sequence[Any], deadline_s: float = CHUNK_DEADLINE_S) -> int:
    """How many probes said ready while no chunk had come for longer than the deadline.

    A chunk may be as new as the answer that names it, however long that answer took.
    """
    found, newest, since_s = 0, None, 0.0
    for probe in probes:
        if probe.chunk is not None and probe.chunk != newest:
            newest, since_s = probe.chunk, probe.until_s
        found += probe.status == 200 and probe.at_s - since_s > deadline_s + PROBE_SLACK_S
    return found


def _in_restart(scene: Scene, rank: int, line: str) -> Blow:
    """Kill a rank of the next mesh when it says so."""
    before, old, mark = scene.usage(), scene.pids()[rank], len(scene.tail.lines)
    strike(scene, 1)
    wait_for(lambda: scene.pids()[rank] != old, "another process")
    new = scene.pids()[rank]
    wait_for(lambda: scene.tail.first(rf"rank {rank}: {line}$", mark) is not None, line)
    return replace(_strike(scene, new, signal.SIGKILL), before=before)


def _strike(scene: Scene, pid: int, number: signal.Signals) -> Blow:
    """Time first: everything else may take its time."""
    lines, events, probes = len(scene.tail.lines), len(scene.ear.events), len(scene.ear.probes)
    at_s = time.monotonic()
    os.kill(pid, number)
    state = scene.program.state()
    old = tuple(facts["pid"] for rank, facts in state["ranks"].items() if rank != "0")
    return Blow(at_s, lines, events, probes, old, state["prompt"], scene.usage())


def _heard(scene: Scene, blow: Blow, kind: str) -> float | None:
    """When the viewer's page heard of it first, after the blow."""
    return next((e["heard_s"] for e in scene.ear.events[blow.events :] if e["event"] == kind), None)
