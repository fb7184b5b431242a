"""The rendezvous: how the ranks start together, step by step, through rank 0's store.

Rank 0 publishes its fingerprint. Each mesh rank compares its own (`agreed`), loads its weights (`loaded`), takes part
in making the process groups and publishes its memory (`memory`). A rank that fails publishes why (`failed`), and one
that has stopped its peak memory (`peak`). Keys end with the rank. Values are JSON, signed with the secret of the run,
which `multiprocessing` creates and gives to the processes that it spawns. Values of other programs are refused.
"""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any

import msgspec

from pp1_orchestrator.config.schema import Deadlines
from pp1_orchestrator.contract import handshake
from pp1_orchestrator.errors import ConfigError, ContractError, MeshError, PeerError, first_line
from pp1_orchestrator.transport.process_groups import Timeouts, Topology, forget_groups
from pp1_orchestrator.transport.tcp_store import Store

POLL_S = 0.02
GRACE_S = 0.2
"""What ends because a rank has ended nearly always does so within this time: another rank, a store, a socket."""
GROUP_TIMEOUT_FACTOR = 1.25
"""Groups time out later than the watchdogs, which can say which rank hangs."""
STEPS = {"agreed": "had agreed", "loaded": "had loaded", "memory": "had joined"}
"""What a rank has done when it publishes a key, as error messages say it."""

Dead = Callable[[], Mapping[int, str]]
"""The ranks that have ended, and how."""


def group_timeouts(deadlines: Deadlines) -> Timeouts:
    return Timeouts(GROUP_TIMEOUT_FACTOR * deadlines.start, GROUP_TIMEOUT_FACTOR * deadlines.message)


def publish(store: Store, name: str, rank: int, value: Any) -> None:
    """Publish a value of this rank."""
    key = f"{name}/{rank}"
    store.set(key, handshake.sign(_secret(), key, msgspec.json.encode(value)).decode())


def fetch(store: Store, name: str, rank: int) -> Any:
    """Wait for a value of another rank. Raises MeshError if no rank of this run has written it."""
    key = f"{name}/{rank}"
    try:
        return msgspec.json.decode(handshake.verify(_secret(), key, store.get(key)))
    except ContractError as error:
        raise MeshError(str(error)) from error


def is_published(store: Store, name: str, rank: int) -> bool:
    return store.check([f"{name}/{rank}"])


def publish_failure(store: Store, rank: int, error: Exception) -> None:
    """Publish why this rank ends, for `wait_for_all` to raise on rank 0. lost_peer: it only lost another rank."""
    kinds = {"config": isinstance(error, ConfigError), "lost_peer": isinstance(error, PeerError)}
    publish(store, "failed", rank, kinds | {"reason": first_line(error)})


def wait_for_all(store: Store, step: str, ranks: range, deadline_s: float, dead: Dead) -> None:
    """Wait until every rank has published `step`.

    Raises ConfigError or MeshError with the reason that a rank published, MeshError if a rank has ended without one,
    and PeerError after deadline_s.
    """
    end = time.monotonic() + deadline_s
    while missing := [rank for rank in ranks if not is_published(store, step, rank)]:
        _raise_failure(store, step, ranks, dead)
        if time.monotonic() > end:
            names = f"rank{'s' * (len(missing) > 1)} {' and '.join(map(str, missing))}"
            raise PeerError(f"no sign within {deadline_s:g} s that {names} {STEPS[step]}")
        time.sleep(POLL_S)


def _raise_failure(store: Store, step: str, ranks: range, dead: Dead) -> None:
    """Raise why a rank has ended, if one has.

    A rank that published a reason may have ended because of one that could not, and may be noticed first. So wait a
    moment for a rank that ended without a reason.
    """
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
        raise MeshError(f"rank {rank} {how} before it {STEPS[step]}")
    for rank, failure in failed.items():
        raise MeshError(f"rank {rank}: {failure['reason']}")


def _secret() -> bytes:
    return bytes(multiprocessing.current_process().authkey)


def make_groups(make: Callable[[], Topology], dead: Dead, deadline_s: float) -> Topology:
    """`make()`, unless a rank ends before. Afterwards new groups can be made.

    Raises MeshError if a rank has ended or the groups can't be made, and PeerError after deadline_s.
    """
    attempt: Future[Topology] = Future()
    threading.Thread(target=_run, args=(make, attempt), name="make-groups", daemon=True).start()
    end = time.monotonic() + deadline_s
    while not wait([attempt], POLL_S).done and time.monotonic() < end:
        if dead():
            wait([attempt], GRACE_S)
            break
    abandoned = attempt.cancel()  # not if it has ended
    error = None if abandoned else attempt.exception()
    if not abandoned and error is None:
        return attempt.result()
    forget_groups()
    for rank, how in dead().items():
        raise MeshError(f"rank {rank} {how} before it {STEPS['memory']}") from error
    if error is None:
        raise PeerError(f"the process groups were not made within {deadline_s:g} s")
    raise MeshError(f"the process groups could not be made: {first_line(error)}") from error


def _run(make: Callable[[], Topology], attempt: Future[Topology]) -> None:
    """Make groups on a thread of their own: a backend that waits for a rank that has ended can't be interrupted.

    An attempt that was cancelled is left alone, and ends with the backend's own time limit.
    """
    try:
        topology = make()
    except Exception as error:  # noqa: BLE001 - the thread's boundary: `make_groups` raises it
        with contextlib.suppress(InvalidStateError):
            attempt.set_exception(error)
        return
    try:
        attempt.set_result(topology)
    except InvalidStateError:
        forget_groups()
