"""Chunks that are not finite: none of their epoch is shown any more, and when one epoch after the other is spoiled, the
mesh is.

A cache that has seen such a chunk, the generator's or the decoder's, gives nothing else from then on; a hard cut resets
both. Whoever finishes chunks tells, under the lock that goes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.stage0.flight import Accepted

log = logging.getLogger(__name__)
NOT_FINITE = "nan"
"""The reason of the new epoch."""


class Spoilage:
    """limit: spoiled epochs in a row that are too many. cut: asks for a new epoch."""

    def __init__(self, limit: int, cut: Callable[[], None]) -> None:
        self._limit, self._cut = limit, cut
        self._epoch = -1
        self._in_a_row = 0

    def spoils(self, accepted: Accepted) -> bool:
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
        self._cut()
        return True

    def check(self) -> None:
        """Raises MeshError when the limit is reached."""
        if self._in_a_row >= self._limit:
            raise MeshError(f"the mesh makes latents that are not finite (epochs in a row: {self._in_a_row})")

    def forgive(self) -> None:
        """The mesh is another one."""
        self._in_a_row = 0
