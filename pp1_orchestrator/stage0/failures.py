"""What happens after chunks that are not finite, or that could not be made, and when the mesh is to blame.

The caches of generator and decoder pass such a chunk on to later ones, so the rest of its epoch is not shown. A
hard cut resets both caches. When failures repeat, the mesh is ended.
"""

import logging
import time
from collections.abc import Callable

from pp1_orchestrator.errors import ChunkError, MeshError
from pp1_orchestrator.stage0.in_flight_chunk import ReceivedChunk
from pp1_orchestrator.telemetry.records import ChunkRecord

log = logging.getLogger(__name__)
RESTART, FAILED, NOT_FINITE = "restart", "chunk", "nan"
"""Reasons of epochs: a new mesh, a chunk that the mesh could not make, a chunk that is not finite."""
KEEP_QUEUED_FRAMES = frozenset({NOT_FINITE, FAILED})
"""Before these epochs queued frames are still shown, to bridge the gap."""
REPEAT_WINDOW_S = 60.0
"""Two chunks that could not be made within this time are too many."""


class FailurePolicy:
    """Called under the lock of the pipeline.

    limit: rejected epochs in a row that make the mesh count as broken. cut: asks for a new epoch, with its reason.
    """

    def __init__(self, limit: int, cut: Callable[[str], None]) -> None:
        self._limit, self._cut = limit, cut
        self._rejected_epoch = self._failed_epoch = -1
        self._in_a_row = 0
        self._failed_s = float("-inf")

    def on_chunk_error(self, record: ChunkRecord, error: ChunkError) -> None:
        """The mesh could not make a chunk. Raises MeshError when it is the second one within a short time."""
        if record.cache_epoch == self._failed_epoch:
            return  # a consequence of the first one
        now_s = time.monotonic()
        if self._limit == 1 or now_s - self._failed_s < REPEAT_WINDOW_S:
            again = "" if self._limit == 1 else f", for the second time within {REPEAT_WINDOW_S:g} s"
            raise MeshError(f"chunk {record.chunk_index} could not be made{again}: {error}") from error
        self._failed_epoch, self._failed_s = record.cache_epoch, now_s
        log.warning("chunk %d could not be made: %s; a new epoch begins", record.chunk_index, error)
        self._cut(FAILED)

    def rejects(self, received: ReceivedChunk) -> bool:
        """True when a chunk that has been decoded must not be shown."""
        record = received.chunk.record
        if record.cache_epoch == self._rejected_epoch:
            return True
        if bool(received.finite):
            self._in_a_row = 0
            return False
        self._rejected_epoch = record.cache_epoch
        self._in_a_row += 1
        log.warning("chunk %d is not finite: it is not shown, and a new epoch begins", record.chunk_index)
        self._cut(NOT_FINITE)
        return True

    def check(self) -> None:
        """Raises MeshError when the limit is reached."""
        if self._in_a_row >= self._limit:
            raise MeshError(f"the mesh makes latents that are not finite (epochs in a row: {self._in_a_row})")

    def reset(self) -> None:
        """A new mesh starts with a clean record."""
        self._failed_s = float("-inf")
        self._in_a_row = 0
