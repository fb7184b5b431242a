"""The parts that lose frames and prompts, each with its fault: too fast a producer, a viewer that reads nothing, an
encoder whose weights are damaged. Real parts around a real /metrics, in this process.
"""

import asyncio
import threading
import time
from pathlib import Path

import torch

import pp1_orchestrator
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.text.umt5 import CachedEncoder, TextEncoder
from pp1_orchestrator.stage0.prompt_queue import PromptQueue
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.stage0.text_routing import Rank0Encoder
from pp1_orchestrator.types import PromptUpdate
from tests.media.numbered_frames import SIZE, chunk, subscribe, unsubscribe
from tests.server.conftest import Listening, build
from tests.telemetry.factories import run

FPS, FRAMES = 16, 6
PACKETS = 32
TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"


class LossyStream:
    """Healthy until one of its faults is asked for; each then lasts until `close`."""

    def __init__(self) -> None:
        parts = build()
        self.metrics = parts.metrics
        self.metrics.health(ready=True, paused=False)
        self.metrics.media_up(True)
        self.metrics.target_fps(FPS)
        self._server = Listening(parts.app)
        self.port = self._server.port
        self._broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, FPS), self.metrics)
        self._sink = PacedSink([self._broadcaster], FPS, placeholder(SIZE, SIZE), self.metrics)
        self._book = PromptQueue(
            Rank0Encoder(CachedEncoder(damaged_encoder().encode)),
            Receipts(parts.events, self.metrics),
            read_chars=lambda _: None,
        )
        self._book.start()
        self._haste, self._stop = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._produce)]
        self._threads[0].start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._book.close(5)
        self._sink.close()
        assert self._server.stop()

    def produce_too_fast(self) -> None:
        """Chunks come though there is no room for them."""
        self._haste.set()

    def watch_without_reading(self) -> None:
        """A viewer whose queue fills, again and again."""
        self._threads.append(threading.Thread(target=lambda: asyncio.run(self._watch())))
        self._threads[-1].start()

    def lose_media_process(self) -> None:
        self.metrics.media_up(False)

    def ask_for_a_prompt(self) -> None:
        self._book.accept(PromptUpdate(prompt="a red circle"), 0)

    async def _watch(self) -> None:
        queue = subscribe(self._broadcaster, PACKETS)
        await asyncio.to_thread(self._stop.wait)
        unsubscribe(self._broadcaster, queue)

    def _produce(self) -> None:
        index = 0
        while not self._stop.wait(FRAMES / FPS / 4 if self._haste.is_set() else 0):
            if self._sink.wait_for_room(0.1) or self._haste.is_set():
                (record,) = run([0.1], [0.2], [FRAMES / FPS], FRAMES)
                record.chunk_index, record.emit_s = index, time.monotonic()
                self.metrics.observe_chunk(record)
                self._sink.put(chunk(index, FRAMES, first=0))
                index += 1


def damaged_encoder() -> TextEncoder:
    """The shipped text encoder, half of its last layer's weights lost."""
    source = TextSource(TINY / "text_encoder", TINY / "tokenizer")
    encoder = load_text_encoder(source, 48, torch.device("cpu"), torch.float32)
    norm = encoder._model.encoder.final_layer_norm
    norm.weight = torch.nn.Parameter(norm.weight[::2], requires_grad=False)
    return encoder
