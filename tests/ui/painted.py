"""A stream that paints the colour its prompt names, through the real pacer, encoder and viewers."""

import itertools
import threading
import time
from collections.abc import Sequence

import numpy as np
import torch

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.metrics import Metrics
from pp1_orchestrator.media.broadcast import Broadcaster
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.peers import WhepPeers
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.settings import PeerLimits, VideoSettings
from pp1_orchestrator.ports import Control, DecodedChunk, PromptUpdate, TimelineEntry

SIZE, FPS, FRAMES = 128, 16, 6
COLOURS = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210), "start": (90, 90, 90)}


class PaintedStream:
    """Implements ports.StreamControl; `sink` and `peers` are the real ones."""

    def __init__(self) -> None:
        self.events, self.metrics = EventBus(), Metrics()
        video = VideoSettings(SIZE, SIZE, FPS)
        self.broadcaster = Broadcaster(video, self.metrics)
        self.sink = PacedSink(self.broadcaster, FPS, placeholder(SIZE, SIZE), self.metrics, self._shown)
        self.commands: list[Control] = []
        self.prompt, self.chunk, self.paused = "start", -1, False
        self._new: list[str] = []
        self._ids = itertools.count(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._thread.start()

    def make_peers(self) -> WhepPeers:
        """One server's peers."""
        return WhepPeers(self.broadcaster, "vp8", PeerLimits(), CandidatePolicy("127.0.0.1"), self.metrics)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()

    def update_prompt(self, update: PromptUpdate) -> str:
        update_id = f"u{next(self._ids)}"
        self.prompt = update.prompt or ""
        self.events.publish("accepted", update=update_id, prompt=self.prompt, chunk=self.chunk)
        self._new.append(update_id)
        return update_id

    def control(self, command: Control) -> None:
        self.commands.append(command)
        if command.action in ("pause", "resume"):
            self.paused = command.action == "pause"
        self.events.publish("control", action=command.action, value=command.value)

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        raise RequestError("a painted stream has no timeline")

    def timeline(self) -> list[TimelineEntry]:
        return []

    def recording(self) -> list[TimelineEntry]:
        return []

    def state(self) -> dict:
        config = {"model": "paint", "routing": "none", "overlap": "none", "context": "none", "layout": "inline"}
        figures = {"fps": 16.0, "phases_ms": {"text": 1.0, "denoise": 2.0, "context": 3.0, "decode": 4.0}}
        return {
            "config": config, "prompt": self.prompt, "seed": 42, "paused": self.paused, "epoch": 0,
            "chunk": self.chunk, "figures": figures, "ranks": {}, "failed": None,
        }  # fmt: skip

    def ready(self) -> bool:
        return self.chunk >= 0

    def _produce(self) -> None:
        while not self._stop.is_set():
            if self.paused:
                time.sleep(0.02)
            elif self.sink.wait_for_room(0.1):
                self._paint()

    def _paint(self) -> None:
        colour = next((value for name, value in COLOURS.items() if name in self.prompt), COLOURS["start"])
        ids, self._new = tuple(self._new), []
        self.chunk += 1
        for update_id in ids:
            self.events.publish("applied", update=update_id, chunk=self.chunk, epoch=0)
        frames = np.empty((FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        frames[:] = colour
        self.sink.put(DecodedChunk(self.chunk, 0, torch.from_numpy(frames), ids, time.monotonic()))

    def _shown(self, chunk: DecodedChunk, shown_at_s: float) -> None:
        for update_id in chunk.update_ids:
            self.events.publish(
                "visible", update=update_id, chunk=chunk.chunk_index, latency_ms=123.4, latency_chunks=1
            )
