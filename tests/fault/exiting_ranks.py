"""Mesh ranks that start and then end: the leader first, because it lost the other one, whose end is noticed later.

They end once rank 0 has connected to them: before that, it would be a failed start.
"""

import os
import time

from pp1_orchestrator.errors import PeerError
from pp1_orchestrator.transport.process_groups import LEADER, Timeouts, Topology, open_channel
from pp1_orchestrator.transport.rendezvous import publish, publish_failure
from pp1_orchestrator.transport.tcp_store import join_store

RANKS, EXIT_CODE, LATER_S = 2, 3, 0.2
MET = "met"


def leader_first(rank, settings, config, port, folder):
    """As where the kernel tells of two ends in another order than they came."""
    store = join_store(port, RANKS + 1, settings.deadlines.start)
    publish(store, "agreed", rank, True)
    publish(store, "loaded", rank, True)
    topology = Topology(store, rank, RANKS, "gloo", Timeouts(settings.deadlines.start, settings.deadlines.message))
    publish(store, "memory", rank, {})
    if rank == LEADER:
        open_channel(topology)
        while not (folder / MET).exists():
            time.sleep(0.01)
        publish_failure(store, rank, PeerError("a rank of the mesh has ended"))
        os._exit(1)
    while not store.check([f"failed/{LEADER}"]):
        time.sleep(0.01)
    time.sleep(LATER_S)
    os._exit(EXIT_CODE)
