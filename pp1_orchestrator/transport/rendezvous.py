"""Makes process groups on a thread of their own: a backend's wait for a rank that has ended can't be cut short.

It can only be left alone, until its own time limit ends it. Knows nothing of why a rank ends.

How the ranks meet: facts are compared, weights loaded, groups made, in that order, each step told through the store.

Keys of the store, by rank r: `facts/0`, `generation/0`, `agreed/r`, `loaded/r`, `failed/r`, `memory/r`, `peak/r`.
Values are JSON, sealed with the secret of the run, which `multiprocessing` makes and hands to the processes
that it spawns. What another program writes into the store is not believed.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from pp1_orchestrator.config.schema import Deadlines
from pp1_orchestrator.contract import handshake
from pp1_orchestrator.errors import ConfigError, ContractError, MeshError, PeerError, first_line
from pp1_orchestrator.transport.process_groups import Timeouts, Topology, forget_groups
from pp1_orchestrator.transport.tcp_store import Store

POLL_S = 0.02
JOIN_GRACE_S = 0.2
"""A store or socket that ended with a rank lets the thread go within this, nearly always."""


def join_groups(make: Callable[[], Topology], dead: Callable[[], Mapping[int, str]], deadline_s: float) -> Topology:
    """`make()`, unless a rank ends before. Raises MeshError; the next groups can then be made.

    PeerError: nobody has ended, and it was not done within deadline_s.
    """
    attempt, end = _Attempt(make), time.monotonic() + deadline_s
    while not attempt.done.wait(POLL_S) and time.monotonic() < end:
        if dead():
            attempt.done.wait(JOIN_GRACE_S)
            break
    return attempt.take(dead(), deadline_s)


class _Attempt:
    def __init__(self, make: Callable[[], Topology]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Topology | None = None
        self._error: Exception | None = None
        self._left_alone = False
        self.done = threading.Event()
        threading.Thread(target=self._run, name="join-groups", daemon=True).start()

    def take(self, dead: Mapping[int, str], deadline_s: float) -> Topology:
        with self._lock:
            if self._made is not None:
                return self._made
            self._left_alone = not self.done.is_set()
            forget_groups()
        for rank, how in dead.items():
            raise MeshError(f"rank {rank} {how} before it had joined") from self._error
        if self._error is None:
            raise PeerError(f"the process groups were not made within {deadline_s:g} s")
        raise MeshError(f"the process groups could not be made: {first_line(self._error)}") from self._error

    def _run(self) -> None:
        try:
            made = self._make()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits is told
            self._error = error
        else:
            with self._lock:
                self._made = None if self._left_alone else made
                if self._left_alone:
                    forget_groups()
        self.done.set()


GRACE_S = 0.2
"""From the end of a rank to the last word of another one that needed it, and back, nearly always."""
LATER = 1.25
"""A group gives up so much later than whoever watches over it, who can say why."""
STEPS = {"agreed": "had agreed", "loaded": "had loaded", "memory": "had joined"}
"""What a rank has done when it tells a key, in words."""


def group_timeouts(deadlines: Deadlines) -> Timeouts:
    return Timeouts(LATER * deadlines.start, LATER * deadlines.message)


def publish(store: Store, key: str, rank: int, value: Any) -> None:
    place = f"{key}/{rank}"
    store.set(place, handshake.seal(_secret(), place, msgspec.json.encode(value)).decode())


def fetch(store: Store, key: str, rank: int) -> Any:
    """Wait for and return another rank's value. Raises MeshError when no rank of this run has written it."""
    place = f"{key}/{rank}"
    try:
        return msgspec.json.decode(handshake.unseal(_secret(), place, store.get(place)))
    except ContractError as error:
        raise MeshError(str(error)) from error


def is_published(store: Store, key: str, rank: int) -> bool:
    return store.check([f"{key}/{rank}"])


def tell_failure(store: Store, rank: int, error: Exception) -> None:
    """Leave a reason that `wait_for_all` can raise again on rank 0. misses: another rank has ended, or was silent."""
    text = first_line(error)
    kinds = {"config": isinstance(error, ConfigError), "misses": isinstance(error, PeerError)}
    publish(store, "failed", rank, kinds | {"reason": text})


def wait_for_all(
    store: Store, key: str, ranks: range, deadline_s: float, dead: Callable[[], Mapping[int, str]]
) -> None:
    """Wait until every rank has told `key`. dead: ranks that ended, and how, in words.

    Raises ConfigError or MeshError with the reason that a rank left, MeshError when one died, PeerError when time's up.
    """
    end = time.monotonic() + deadline_s
    while missing := [r for r in ranks if not is_published(store, key, r)]:
        _raise_failure(store, key, ranks, dead)
        if time.monotonic() > end:
            raise late(deadline_s, missing, STEPS[key])
        time.sleep(POLL_S)


def _raise_failure(store: Store, key: str, ranks: range, dead: Callable[[], Mapping[int, str]]) -> None:
    """Raise why a rank has ended, if one has. One that could still say why may have ended because of one that could
    not, and is noticed first: it is waited for a moment."""
    failed = {rank: fetch(store, "failed", rank) for rank in ranks if is_published(store, "failed", rank)}
    for failure in failed.values():
        if failure["config"]:
            raise ConfigError(failure["reason"])
    end = time.monotonic() + (GRACE_S if failed else 0.0)
    while not (silent := {r: how for r, how in dead().items() if not is_published(store, "failed", r)}):
        if time.monotonic() >= end:
            break
        time.sleep(POLL_S)
    for rank, how in silent.items():
        raise MeshError(f"rank {rank} {how} before it {STEPS[key]}")
    for rank, failure in failed.items():
        raise MeshError(f"rank {rank}: {failure['reason']}")


def late(deadline_s: float, missing: Sequence[int], had: str) -> PeerError:
    """Ranks that did not come so far in time."""
    ranks = " and ".join(map(str, missing))
    return PeerError(f"no sign within {deadline_s:g} s that rank{'s' * (len(missing) > 1)} {ranks} {had}")


def _secret() -> bytes:
    return bytes(multiprocessing.current_process().authkey)
