"""A follower (ranks 2..N): runs the envelopes that the leader broadcasts, in order, and sends nothing."""

from __future__ import annotations

import torch

from pp1_orchestrator.contract import Action, Envelope
from pp1_orchestrator.mesh.text_conditioning import Resolved
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.transport.link import receive_message
from pp1_orchestrator.transport.process_groups import MeshShard


class Follower:
    """Runs until SHUTDOWN. device: where the broadcast messages live."""

    def __init__(self, shard: MeshShard, worker: MeshWorker, device: torch.device) -> None:
        self._shard, self._worker, self._device = shard, worker, device

    def run(self) -> None:
        while True:
            envelope: Envelope = receive_message(self._shard.broadcast, self._device).message
            if envelope.meta.action is Action.SHUTDOWN:
                return
            if envelope.meta.action is Action.INFER:
                self._worker.infer(Resolved(envelope), idle_ms=0.0)
                self._worker.run_context_pass()
