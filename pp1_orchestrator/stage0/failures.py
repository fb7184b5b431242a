"""Chunks that are not finite or could not be made: none of their epoch is shown any more, and when that happens again
and again, the mesh is ended.

A cache that has seen such a chunk, the generator's or the decoder's, gives nothing else from then on; a hard cut resets
both. Whoever finishes chunks tells, under the lock that goes with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pp1_orchestrator.errors import ChunkError, MeshError
from pp1_orchestrator.stage0.chunk import FAILED, ReceivedChunk
from pp1_orchestrator.telemetry.records import ChunkRecord

log = logging.getLogger(__name__)
NOT_FINITE = "nan"
"""The reason of the new epoch."""
KEEP_QUEUED_FRAMES = frozenset({NOT_FINITE, FAILED})
"""Reasons with which what still waits to be shown bridges the gap."""
REPEAT_WINDOW_S = 60.0
"""Two chunks that could not be made within so long are too many."""


class FailurePolicy:
    """limit: spoiled epochs in a row that are too many; 1: nothing is forgiven. cut: asks for a new epoch."""

    def __init__(self, limit: int, cut: Callable[[str], None]) -> None:
        self._limit, self._cut = limit, cut
        self._epoch = -1
        self._in_a_row = 0
        self._failed_epoch = -1
        self._failed_s = float("-inf")

    def failed(self, record: ChunkRecord, error: ChunkError) -> None:
        """The mesh could not make a chunk. Raises MeshError when it is not the first one for a while."""
        if record.cache_epoch == self._failed_epoch:
            return  # it went with the one before
        now_s = time.monotonic()
        if self._limit == 1 or now_s - self._failed_s < REPEAT_WINDOW_S:
            again = "" if self._limit == 1 else f", for the second time within {REPEAT_WINDOW_S:g} s"
            raise MeshError(f"chunk {record.chunk_index} could not be made{again}: {error}") from error
        self._failed_epoch, self._failed_s = record.cache_epoch, now_s
        log.warning("chunk %d could not be made: %s; a new epoch begins", record.chunk_index, error)
        self._cut(FAILED)

    def spoils(self, accepted: ReceivedChunk) -> bool:
        """True when a chunk that has been decoded must not be shown."""
        record = accepted.flight.record
        if record.cache_epoch == self._epoch:
            return True
        if bool(accepted.finite):
            self._in_a_row = 0
            return False
        self._epoch = record.cache_epoch
        self._in_a_row += 1
        log.warning("chunk %d is not finite: it is not shown, and a new epoch begins", record.chunk_index)
        self._cut(NOT_FINITE)
        return True

    def check(self) -> None:
        """Raises MeshError when the limit is reached."""
        if self._in_a_row >= self._limit:
            raise MeshError(f"the mesh makes latents that are not finite (epochs in a row: {self._in_a_row})")

    def forgive(self) -> None:
        """The mesh is another one."""
        self._failed_s = float("-inf")
        self._in_a_row = 0
