"""Mesh ranks that stop at a step of the rendezvous until they are killed. Few imports: they must start fast."""

import threading

from pp1_orchestrator.transport.process_groups import STAGE0, Timeouts, Topology
from pp1_orchestrator.transport.rendezvous import fetch, publish
from pp1_orchestrator.transport.tcp_store import join_store

RANKS = 2


def nobody_joins(rank, settings, config, port, folder):
    """All say that they have loaded; none comes to the groups."""
    store = join_store(port, RANKS + 1, settings.deadlines.start)
    fetch(store, "fingerprint", STAGE0)
    publish(store, "agreed", rank, True)
    publish(store, "loaded", rank, True)
    threading.Event().wait()


def one_joins(rank, settings, config, port, folder):
    """The leader takes part in making the groups, the other one never comes."""
    store = join_store(port, RANKS + 1, settings.deadlines.start)
    publish(store, "agreed", rank, True)
    publish(store, "loaded", rank, True)
    if rank == 1:
        Topology(store, rank, RANKS, "gloo", Timeouts(settings.deadlines.start, settings.deadlines.message))
    threading.Event().wait()
