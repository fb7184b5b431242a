"""Chunks of numbered frames, what makes them in real time, and metrics that keep what the media parts report."""

import threading
import time

import numpy as np
import torch

from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk

BITS = 12
SIZE = 128
LEVEL_ON, LEVEL_OFF = 220, 30


def numbered(number: int, size: int = SIZE, background: tuple[int, int, int] = (40, 40, 160)) -> np.ndarray:
    """A frame with `number` as a row of bright and dark bars in its upper half, so that order and loss can be read."""
    frame = np.full((size, size, 3), background, dtype=np.uint8)
    width = size // BITS
    for bit in range(BITS):
        frame[: size // 2, bit * width : (bit + 1) * width] = LEVEL_ON if number >> bit & 1 else LEVEL_OFF
    return frame


def read_number(rgb: np.ndarray) -> int:
    height, width = rgb.shape[0] // 4, rgb.shape[1] // BITS
    return sum(1 << bit for bit in range(BITS) if rgb[height, bit * width + width // 2].mean() > 125)


def subscribe(broadcaster: Broadcaster, limit: int) -> PacketQueue:
    """The queue of a viewer that is connected."""
    queue = PacketQueue(limit, broadcaster.on_overflow)
    broadcaster.resume(queue)
    return queue


def unsubscribe(broadcaster: Broadcaster, queue: PacketQueue) -> None:
    queue.close()
    broadcaster.pause(queue)


def chunk(index: int, frames: int = 6, first: int | None = None, update_ids=(), epoch: int = 0) -> DecodedChunk:
    """Frames numbered from `first`; by default from where the chunk before ended."""
    start = index * frames if first is None else first
    pixels = np.stack([numbered(start + i) for i in range(frames)])
    return DecodedChunk(index, epoch, torch.from_numpy(pixels), tuple(update_ids), time.monotonic())


class NumberedChunks:
    """Puts chunks into a paced sink on a thread of its own, whenever there is room: their frames count from 1 up.

    made: how many chunks there were.
    """

    def __init__(self, sink: PacedSink) -> None:
        self.made = 0
        self._sink, self._stop = sink, threading.Event()
        self._thread = threading.Thread(target=self._produce, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _produce(self) -> None:
        while not self._stop.is_set():
            if self._sink.wait_for_room(0.1):
                self._sink.put(chunk(self.made, first=(self.made * 6 + 1) % 4000))
                self.made += 1


class Counted(Metrics):
    """Keeps every number that the media parts report."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: dict[str, int] = {}
        self.depths: dict[str, int] = {}
        self.viewer_counts: list[int] = []
        self.limits: list[str] = []

    def frames_dropped(self, reason, count=1) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + count

    def queue_depth(self, queue, depth) -> None:
        self.depths[queue] = depth

    def viewers(self, count, transport="webrtc") -> None:
        self.viewer_counts.append(count)

    def limited(self, limit, count=1) -> None:
        self.limits += [limit] * count
