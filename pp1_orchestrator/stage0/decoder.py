"""Decoding whose time is taken, so that a hang in it is found out (`runtime.self_watch`).

From a chunk's latents to its pixels, in one go or in two: the part that the next plan waits for, then the rest.

Owns the decoder's streaming state and the one-frame encoder. One thread at a time: the overlap strategy says which.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.models.vae.base import DecodeState, FrameEncoder, StreamingDecoder
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, to_host
from pp1_orchestrator.stage0.chunk import ReceivedChunk
from pp1_orchestrator.stage0.context import LatentHistory
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import DecodedChunk


@dataclass(frozen=True, slots=True)
class PixelParts:
    """What makes pixels. encoder: for anchor pictures; None where the context needs none. pictures: what codecs get."""

    decoder: StreamingDecoder
    encoder: FrameEncoder | None
    pictures: PixelFormat


class ChunkDecoder:
    """Uses the parts of one stream."""

    def __init__(self, parts: PixelParts, history: LatentHistory, spans: SpanRecorder) -> None:
        self._decoder, self._encoder, self._pictures = parts.decoder, parts.encoder, parts.pictures
        self._history, self._spans = history, spans
        self._state = DecodeState()

    @property
    def cache_bytes(self) -> int:
        return self._state.nbytes

    @property
    def needs_pixels(self) -> bool:
        """True when `prepare` has something to do."""
        return self._encoder is not None

    def prepare(self, accepted: ReceivedChunk) -> None:
        """What the next plan needs of these pixels: decode the first latent frame, encode its last picture."""
        if self._encoder is None or accepted.flight.plan.init_cache:
            return  # an epoch's first chunk is used as it is
        start = time.monotonic_ns()
        pixels = self._part(accepted, accepted.latents[0, :1])
        decoded = time.monotonic_ns()
        anchor = self._encoder.encode(pixels[-1])
        self._history.set_anchor(anchor.to(accepted.latents.device))  # with the latents that it goes out with
        end = time.monotonic_ns()
        accepted.flight.record.anchor_ms = (end - start) / 1e6
        self._spans.add("decode", start, decoded, chunk=accepted.flight.record.chunk_index)
        self._spans.add("encode", decoded, end, chunk=accepted.flight.record.chunk_index)

    def finish(self, accepted: ReceivedChunk) -> DecodedChunk:
        """All pixels of the chunk, as a viewer gets them."""
        record = accepted.flight.record
        start = time.monotonic_ns()
        ready = len(accepted.pixels)  # at most one part, of one latent frame
        with self._spans.on_device("decode", chunk=record.chunk_index):
            rest = self._part(accepted, accepted.latents[0, ready:])
            frames = to_host(self._pictures(torch.cat(accepted.pixels) if ready else rest))
        end = time.monotonic_ns()
        self._spans.add("decode", start, end, chunk=record.chunk_index, frames=len(frames))
        if not ready:
            self._spans.add("wait for decode", round(record.recv_end_s * 1e9), start, chunk=record.chunk_index)
        record.decode_start_s = start / 1e9 - record.anchor_ms / 1e3
        record.emit_s, record.frames = end / 1e9, len(frames)
        ids = tuple(update.id for update in accepted.flight.updates)
        return DecodedChunk(record.chunk_index, record.cache_epoch, frames, ids, end / 1e9)

    def _part(self, accepted: ReceivedChunk, latents: Tensor) -> Tensor:
        """Decode some more latent frames of a chunk, [n, z, h, w], in order."""
        if accepted.flight.plan.init_cache and not accepted.pixels:
            self._state = DecodeState()
        pixels = self._decoder.decode(latents, self._state)
        accepted.pixels.append(pixels)
        return pixels


class TimedDecoder(ChunkDecoder):
    """clock: of the part that is being decoded."""

    def __init__(self, parts: PixelParts, history: LatentHistory, spans: SpanRecorder, clock: ResponseTimer) -> None:
        super().__init__(parts, history, spans)
        self._clock = clock

    def prepare(self, accepted: ReceivedChunk) -> None:
        with self._clock.waiting():
            super().prepare(accepted)

    def finish(self, accepted: ReceivedChunk) -> DecodedChunk:
        start = time.monotonic()
        with self._clock.waiting():
            decoded = super().finish(accepted)
        self._clock.answered(time.monotonic() - start)
        return decoded
