"""Decoding whose time is taken, so that a hang in it is found out (`runtime.self_watch`)."""

from __future__ import annotations

import time

from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.ports import DecodedChunk
from pp1_orchestrator.stage0.context import StreamHistory
from pp1_orchestrator.stage0.decoding import ChunkDecoding, PixelParts
from pp1_orchestrator.stage0.flight import Accepted
from pp1_orchestrator.transport.watched import AnswerClock


class WatchedDecoding(ChunkDecoding):
    """clock: of the part that is being decoded."""

    def __init__(self, parts: PixelParts, history: StreamHistory, spans: SpanRecorder, clock: AnswerClock) -> None:
        super().__init__(parts, history, spans)
        self._clock = clock

    def prepare(self, accepted: Accepted) -> None:
        with self._clock.waiting():
            super().prepare(accepted)

    def finish(self, accepted: Accepted) -> DecodedChunk:
        start = time.monotonic()
        with self._clock.waiting():
            decoded = super().finish(accepted)
        self._clock.answered(time.monotonic() - start)
        return decoded
