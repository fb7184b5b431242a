"""Kills or stops a mesh rank at a given phase, and reports how the stream recovered.

Phases are recognised by lines of the ranks' logs: a rank is killed as soon as its line appears.
"""

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
class Injection:
    """When a rank was hit, the lengths of log, events and probes before, and the pids of the mesh (old)."""

    at_s: float
    lines: int
    events: int
    probes: int
    old: tuple[int, ...]
    prompt: str
    before: Usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds after the injection. unready_s: until /readyz answered 503. false_ready: probes that answered 200 while
    there were no chunks. kept: whether prompt and peer connection survived."""

    detected_s: float
    status_s: float
    again_s: float
    unready_s: float | None
    words: str
    kept: bool
    orphans: int
    false_ready: int
    before: Usage
    after: Usage


def inject(scene: Scene, rank: int, number: signal.Signals = signal.SIGKILL) -> Injection:
    """Send a signal to a mesh rank."""
    return _signal(scene, scene.pids()[rank], number)


def steady(scene: Scene, rank: int) -> Injection:
    """While chunks are made."""
    return inject(scene, rank)


def stopped(scene: Scene, rank: int) -> Injection:
    """While chunks are made; the rank stays, but does nothing."""
    return inject(scene, rank, signal.SIGSTOP)


def loading(scene: Scene, rank: int) -> Injection:
    """While a new mesh loads its weights."""
    return _in_restart(scene, rank, "agreed on what must be equal")


def handshake(scene: Scene, rank: int) -> Injection:
    """While a new mesh makes its process groups."""
    return _in_restart(scene, rank, "loaded")


def first_chunk(scene: Scene, rank: int) -> Injection:
    """As soon as a new mesh has its first envelope."""
    events = len(scene.ear.of("restarted"))
    before = scene.usage()
    inject(scene, 1)
    wait_for(lambda: len(scene.ear.of("restarted")) > events, "another mesh")
    return replace(inject(scene, rank), before=before)


PHASES: Mapping[str, Callable[[Scene, int], Injection]] = {
    "load": loading,
    "handshake": handshake,
    "first chunk": first_chunk,
    "steady": steady,
}


def outcome(scene: Scene, injection: Injection) -> Outcome:
    """Wait until the viewer gets new frames, and report how the stream recovered."""
    wait_for(lambda: _first_event(scene, injection, "restarted") is not None, "another mesh")
    up_s = _first_event(scene, injection, "restarted") or 0.0
    wait_for(lambda: scene.watcher.flows_since(up_s) is not None, "new frames at the viewer")
    scene.settle()
    noticed = scene.tail.first(NOTICED, injection.lines)
    status_s = _first_event(scene, injection, "restarting")
    assert noticed is not None
    assert status_s is not None
    state = scene.program.state()
    probes = scene.ear.probes[injection.probes :]
    event = next(e for e in scene.ear.events[injection.events :] if e["event"] == "restarting")
    return Outcome(
        detected_s=noticed[0] - injection.at_s,
        status_s=status_s - injection.at_s,
        again_s=(scene.watcher.flows_since(up_s) or 0.0) - injection.at_s,
        unready_s=next((probe.at_s - injection.at_s for probe in probes if probe.status == 503), None),
        words=event["text"],
        kept=scene.watcher.connected and state["prompt"] == injection.prompt,
        orphans=sum(psutil.pid_exists(pid) for pid in injection.old),
        false_ready=false_ready(scene.ear.probes),
        before=injection.before,
        after=scene.usage(),
    )


def false_ready(probes: Sequence[Any], deadline_s: float = CHUNK_DEADLINE_S) -> int:
    """How many probes answered 200 while no chunk had come for longer than the deadline.

    A chunk may be as new as the answer that names it, however long the answer took.
    """
    found, newest, since_s = 0, None, 0.0
    for probe in probes:
        if probe.chunk is not None and probe.chunk != newest:
            newest, since_s = probe.chunk, probe.until_s
        found += probe.status == 200 and probe.at_s - since_s > deadline_s + PROBE_SLACK_S
    return found


def _in_restart(scene: Scene, rank: int, line: str) -> Injection:
    """Kill a rank of the next mesh when this line is in its log."""
    before, old, mark = scene.usage(), scene.pids()[rank], len(scene.tail.lines)
    inject(scene, 1)
    wait_for(lambda: scene.pids()[rank] != old, "another process")
    new = scene.pids()[rank]
    wait_for(lambda: scene.tail.first(rf"rank {rank}: {line}$", mark) is not None, line)
    return replace(_signal(scene, new, signal.SIGKILL), before=before)


def _signal(scene: Scene, pid: int, number: signal.Signals) -> Injection:
    """The time is read first, since everything else may be slow."""
    lines, events, probes = len(scene.tail.lines), len(scene.ear.events), len(scene.ear.probes)
    at_s = time.monotonic()
    os.kill(pid, number)
    state = scene.program.state()
    old = tuple(facts["pid"] for rank, facts in state["ranks"].items() if rank != "0")
    return Injection(at_s, lines, events, probes, old, state["prompt"], scene.usage())


def _first_event(scene: Scene, injection: Injection, kind: str) -> float | None:
    """When the event listener first got an event of this kind after the injection."""
    return next((e["heard_s"] for e in scene.ear.events[injection.events :] if e["event"] == kind), None)
