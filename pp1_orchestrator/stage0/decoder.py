"""From a chunk's latents to its pixels, in one part or two: the one that the next plan waits for, then the rest.

Owns the decoder's streaming state. One thread at a time; the overlap strategy says which.
"""

import time

import torch
from torch import Tensor

from pp1_orchestrator.contract.envelope import CONTEXT_FRAMES
from pp1_orchestrator.models.vae.base import DecodeState, FrameEncoder, StreamingDecoder
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, to_host
from pp1_orchestrator.stage0.context_policies import LatentHistory
from pp1_orchestrator.stage0.in_flight_chunk import ReceivedChunk
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import DecodedChunk


class ChunkDecoder:
    """Decodes the chunks of one stream, in order. encoder: for anchor frames. timer: lets a watchdog notice a hang."""

    def __init__(
        self,
        decoder: StreamingDecoder,
        encoder: FrameEncoder | None,
        pixel_format: PixelFormat,
        history: LatentHistory,
        spans: SpanRecorder,
        timer: ResponseTimer,
    ) -> None:
        self._decoder, self._encoder, self._pixel_format = decoder, encoder, pixel_format
        self._history, self._spans, self._timer = history, spans, timer
        self.state = DecodeState()

    @property
    def needs_pixels(self) -> bool:
        """True when `prepare` has something to do."""
        return self._encoder is not None

    def prepare(self, received: ReceivedChunk) -> None:
        """Decode the first latent frame and encode its last pixel frame: the anchor that the next plan needs."""
        record = received.chunk.record
        if self._encoder is None or not received.chunk.plan.current_start_frame:
            return  # an epoch's first frames are used as they are
        with self._timer.timed():
            start = time.monotonic_ns()
            pixels = self._decode(received, received.latents[0, :1])
            decoded = time.monotonic_ns()
            anchor = self._encoder.encode(pixels[-1])
            self._history.set_anchor(anchor.to(received.latents.device))  # it is sent together with the latents
            end = time.monotonic_ns()
        record.anchor_ms = (end - start) / 1e6
        self._spans.add("decode", start, decoded, chunk=record.chunk_index)
        self._spans.add("encode", decoded, end, chunk=record.chunk_index)

    def finish(self, received: ReceivedChunk) -> DecodedChunk:
        """All pixels of the chunk, as a viewer gets them."""
        record = received.chunk.record
        ready = len(received.pixels)  # at most one part, of one latent frame
        with self._timer.timed():
            start = time.monotonic_ns()
            with self._spans.on_device("decode", chunk=record.chunk_index):
                rest = self._decode(received, received.latents[0, ready:])
                frames = to_host(self._pixel_format(torch.cat(received.pixels) if ready else rest))
            end = time.monotonic_ns()
        self._timer.record((end - start) / 1e9)
        self._spans.add("decode", start, end, chunk=record.chunk_index, frames=len(frames))
        if not ready:
            self._spans.add("wait for decode", round(record.recv_end_s * 1e9), start, chunk=record.chunk_index)
        record.decode_start_s = start / 1e9 - record.anchor_ms / 1e3
        record.emit_s, record.frames = end / 1e9, len(frames)
        ids = tuple(update.id for update in received.chunk.updates)
        return DecodedChunk(record.chunk_index, record.cache_epoch, frames, ids, end / 1e9)

    def _decode(self, received: ReceivedChunk, latents: Tensor) -> Tensor:
        """Decode the chunk's next latent frames, [n, z, h, w]."""
        if received.chunk.plan.init_cache and not received.pixels:
            self.state = DecodeState()
            before = received.chunk.envelope.tensors.get(CONTEXT_FRAMES)
            if before is not None:  # what the epoch continues: not shown, but decoded, for the frames after it
                self._decoder.decode(before[0], self.state)
        pixels = self._decoder.decode(latents, self.state)
        received.pixels.append(pixels)
        return pixels
