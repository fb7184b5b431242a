"""Overlaps that a plug-in might bring: they raise, never return, or make no chunk."""

import threading

from pp1_orchestrator.plugin_api import ChunkPipeline, InFlightChunk, Overlap


class Raising(Overlap):
    """Raises in its first step."""

    def step(self, pipeline: ChunkPipeline) -> bool:
        raise LookupError("nothing here")


class Stuck(Overlap):
    """Never returns from its first step."""

    def step(self, pipeline: ChunkPipeline) -> bool:
        threading.Event().wait()
        return True


class Idle(Overlap):
    """Claims to make chunks."""

    def step(self, pipeline: ChunkPipeline) -> bool:
        return True


class Forgetful(Overlap):
    """Plans a chunk, and neither sends it nor anything after it."""

    planned: InFlightChunk | None = None

    def step(self, pipeline: ChunkPipeline) -> bool:
        self.planned = self.planned or pipeline.plan(block=True)
        return False
