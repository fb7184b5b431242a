"""Encodes what the next chunk takes from an input on a thread of its own, while the mesh makes the chunk before it.

Owns the encoder's streaming state and the frames that have been read and not been taken. Knows nothing of files.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.errors import Stage0Error, named_line
from pp1_orchestrator.models.vae.base import EncodeState, StreamingEncoder
from pp1_orchestrator.stage0.input_modes import InputChunk
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.cuda_streams import StreamFence, dedicated_stream
from pp1_orchestrator.transport.response_timer import ResponseTimer

POLL_S = 0.5
"""How long the planner's thread waits for an encoded chunk before it looks for a failure."""


@dataclass(frozen=True, slots=True)
class InputFrames:
    """Pixel frames that an epoch's first chunk takes, and each later one. 0: it takes none.

    repeated: how many times the epoch's first frame is encoded before them.
    """

    first: int
    later: int
    repeated: int = 0

    def of(self, first: bool) -> int:
        return self.first if first else self.later


@dataclass(frozen=True, slots=True)
class _Encoded:
    first: bool
    chunk: InputChunk
    fence: StreamFence


class InputEncoder:
    """One chunk is encoded ahead. An epoch begins where the last chunk that was taken ended, so no frame is lost.

    frames: endless, [H, W, 3] uint8 each. with_motion: also compare neighbouring frames. timer: lets a watchdog notice
    a hang.
    """

    def __init__(
        self,
        frames: Iterator[Tensor],
        encoder: StreamingEncoder,
        counts: InputFrames,
        device: torch.device,
        spans: SpanRecorder,
        timer: ResponseTimer,
        with_motion: bool = False,
    ) -> None:
        self._frames, self._encoder, self._counts, self._device = frames, encoder, counts, device
        self._spans, self._timer, self._with_motion = spans, timer, with_motion
        self.state = EncodeState()
        self._waiting: deque[Tensor] = deque()
        """Frames that have been read and not been encoded for a chunk that was taken."""
        self._newest: list[Tensor] = []
        """The frames of the chunk that was encoded last."""
        self._before: Tensor | None = None
        """The last frame of the chunk that was taken last."""
        self._jobs: queue.Queue[tuple[bool, bool] | None] = queue.Queue()
        """Whether the chunk begins an epoch, and whether the one before it was not taken."""
        self._done: queue.Queue[_Encoded | Exception] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="encode-input", daemon=True)
        self._thread.start()
        self._jobs.put((True, False))

    def take(self, first: bool) -> InputChunk | None:
        """What the next chunk takes, and begin with the one after it. None if it takes nothing.

        first: it begins an epoch. Raises Stage0Error when encoding has failed.
        """
        if not self._counts.of(first):
            return None
        encoded = self._next()
        if encoded.first != first:
            self._jobs.put((first, True))
            encoded = self._next()
        self._jobs.put((not self._counts.later, False))
        before = encoded.chunk.before
        encoded.fence.wait([encoded.chunk.latents] if before is None else [encoded.chunk.latents, before])
        return encoded.chunk

    def close(self, timeout_s: float) -> bool:
        """End the thread after its current chunk; True when it ended in time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _next(self) -> _Encoded:
        start = time.monotonic_ns()
        while True:
            try:
                found = self._done.get(timeout=POLL_S)
            except queue.Empty:
                if not self._thread.is_alive():
                    raise Stage0Error("the thread that encodes the input has ended") from None
                continue
            if isinstance(found, Exception):
                raise Stage0Error(f"the input can't be encoded: {named_line(found)}") from found
            self._spans.add("wait for input", start, time.monotonic_ns())
            return found

    def _run(self) -> None:
        try:
            with dedicated_stream(self._device):
                while (job := self._jobs.get()) is not None:
                    with self._timer.timed():
                        self._done.put(self._encode(*job))
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it is raised again in the session's thread
            self._done.put(error)

    def _encode(self, first: bool, again: bool) -> _Encoded:
        start = time.monotonic_ns()
        if again:
            self._waiting.extendleft(reversed(self._newest))
        elif self._newest:
            self._before = self._newest[-1]
        self._newest = [self._read() for _ in range(self._counts.of(first))]
        if first:
            self.state, self._before = EncodeState(), None
        pixels, before = to_pixels(self._newest, self._device), None
        if first and self._counts.repeated:
            before = self._encoder.encode(pixels[:1].expand(self._counts.repeated, -1, -1, -1), self.state)[None]
        latents = self._encoder.encode(pixels, self.state)[None]
        motion = self._motion(pixels) if self._with_motion else 0.0
        end = time.monotonic_ns()
        self._timer.record((end - start) / 1e9)
        self._spans.add("encode input", start, end, frames=len(self._newest))
        return _Encoded(first, InputChunk(latents, motion, before), StreamFence(latents.device))

    def _read(self) -> Tensor:
        return self._waiting.popleft() if self._waiting else next(self._frames)

    def _motion(self, pixels: Tensor) -> float:
        before = [] if self._before is None else [to_pixels([self._before], self._device)]
        return largest_difference(torch.cat([*before, pixels]))


def to_pixels(frames: list[Tensor], device: torch.device) -> Tensor:
    """Frames [H, W, 3] uint8 -> pixels [T, 3, H, W] in −1…1 on the device."""
    return torch.stack(frames).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def largest_difference(pixels: Tensor) -> float:
    """The largest root mean square of the difference of neighbouring frames, of pixels [T, 3, H, W]; 0 for one."""
    if len(pixels) < 2:
        return 0.0
    return float(pixels.diff(dim=0).square().mean(dim=(1, 2, 3)).sqrt().max())
