"""The process of a mesh rank, from its first line to its exit. Loads only what the mesh needs."""

import logging
import os
import sys
from pathlib import Path

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import handshake
from pp1_orchestrator.errors import Pp1Error, named_line
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator, make_recipe_resolver
from pp1_orchestrator.mesh.fingerprint import fingerprint_rank
from pp1_orchestrator.mesh.leader import Leader, follow
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.tensor_parallel import Place
from pp1_orchestrator.processes import process_tuning
from pp1_orchestrator.processes.cuda_clock import make_recorder
from pp1_orchestrator.processes.log_setup import set_format
from pp1_orchestrator.processes.parent_watch import exit_with_parent
from pp1_orchestrator.processes.progress import progress
from pp1_orchestrator.processes.signals import ignore_signals
from pp1_orchestrator.processes.stack_dumps import write_on_signal
from pp1_orchestrator.testing.faults import apply_start_fault, with_answer_fault
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.process_groups import LEADER, MESSAGE_DEVICE, STAGE0, MeshShard, Topology, open_channel
from pp1_orchestrator.transport.rendezvous import fetch, group_timeouts, publish, publish_failure
from pp1_orchestrator.transport.tcp_store import Store, join_store

log = logging.getLogger(__name__)
EXIT_FAILED = 1


def main(rank: int, settings: Settings, config: WanConfig, port: int, folder: Path | None) -> None:
    """The target of a spawned process. Ignores what asks it to stop: only rank 0 decides when."""
    ignore_signals()
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s %(levelname)-7s rank {rank}: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    set_format(settings.log, rank)
    exit_with_parent(EXIT_FAILED)
    if folder is not None:
        try:
            write_on_signal(folder, rank)
        except OSError as error:
            log.warning("stacks can't be written: %s", error)
    process_tuning.limit_threads(settings.layout.threads)
    process_tuning.use_loopback_for_gloo()
    process_tuning.set_environment(settings.layout.environment, rank)
    store = join_store(port, settings.layout.mesh_ranks + 1, settings.deadlines.start)
    try:
        _run(rank, settings, config, store, folder)
    except Exception as error:  # noqa: BLE001 - the process's boundary: reports to rank 0 and ends
        log.error("%s", named_line(error))
        try:
            publish_failure(store, rank, error)
        except (RuntimeError, Pp1Error):
            log.info("rank 0 is gone")
        sys.stderr.flush()
        # A collective may be half done, so no clean-up may wait for peers.
        os._exit(EXIT_FAILED)


def _run(rank: int, settings: Settings, config: WanConfig, store: Store, folder: Path | None) -> None:
    fingerprint = fingerprint_rank(settings)
    handshake.compare(rank, fingerprint, STAGE0, fetch(store, "fingerprint", STAGE0))
    set_format(settings.log, rank, fetch(store, "generation", STAGE0))
    publish(store, "agreed", rank, True)
    log.info("agreed on what must be equal")
    apply_start_fault(settings, rank, "load")
    device = torch.device(settings.layout.device_of(rank))
    process_tuning.select_device(device, settings.layout.memory_share)
    spans = make_recorder(settings, rank, device)
    place = Place(rank - LEADER, settings.layout.mesh_ranks)
    resolver, text_bytes = None, {}
    with progress("loading weights"):
        state = load_weights(settings, config, place, device)
        if rank == LEADER:
            resolver, text_bytes = make_recipe_resolver(settings, config, device, MESSAGE_DEVICE, spans)
    publish(store, "loaded", rank, True)
    log.info("loaded")
    apply_start_fault(settings, rank, "join")
    layout = settings.layout
    topology = Topology(store, rank, layout.mesh_ranks, layout.backend, group_timeouts(settings.deadlines))
    shard = MeshShard(topology)
    generator, components = make_generator(state, settings, config, shard)
    publish(store, "memory", rank, components | text_bytes)
    log.info("joined the others")
    worker = MeshWorker(generator, spans, device, only_rank=layout.mesh_ranks == 1)
    if resolver is not None:
        link = MeshLink(with_answer_fault(open_channel(topology), settings))
        Leader(link, shard, resolver, worker, spans).run()
    else:
        follow(shard, worker)
    if folder is not None:
        spans.write_part(folder)
    publish(store, "peak", rank, process_tuning.peak_bytes(device))
    generator.close()
    topology.close()
