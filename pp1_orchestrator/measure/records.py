"""What is kept of every chunk and every prompt update while a stream runs. Plain data, monotonic seconds."""

from __future__ import annotations

import msgspec


class ChunkRecord(msgspec.Struct):
    """Times of one chunk. `*_s` are monotonic seconds on rank 0's clock, `*_ms` are durations.

    build: planner and conditioning; text_ms: encoding text on rank 0, beside the stream; send: envelope on its way;
    anchor_ms: what the next plan had to wait for of this chunk's pixels. The mesh's own figures come with the result:
    denoise_ms (this chunk), context_ms (the previous chunk's context pass), mesh_idle_ms, and mesh_text_ms, by which
    encoding text held the mesh up.
    """

    chunk_index: int
    cache_epoch: int
    call_id: int
    build_start_s: float
    build_end_s: float
    text_ms: float = 0.0
    send_start_s: float = 0.0
    send_end_s: float = 0.0
    recv_start_s: float = 0.0
    recv_end_s: float = 0.0
    recv_ms: float = 0.0
    """Moving the result after its header arrived; waiting for the mesh is not in it."""
    decode_start_s: float = 0.0
    emit_s: float = 0.0
    """Decode done, before any pacing."""
    denoise_ms: float = 0.0
    context_ms: float = 0.0
    anchor_ms: float = 0.0
    mesh_idle_ms: float = 0.0
    mesh_text_ms: float = 0.0
    envelope_bytes: int = 0
    result_bytes: int = 0
    frames: int = 0
    update_ids: tuple[str, ...] = ()

    @property
    def stage0_s(self) -> float:
        return (self.build_end_s - self.build_start_s) + (self.emit_s - self.recv_end_s)

    @property
    def mesh_s(self) -> float:
        """Time the mesh was busy between two results."""
        return (self.denoise_ms + self.context_ms + self.mesh_text_ms) / 1e3

    def phases_s(self) -> dict[str, float]:
        """Seconds of each phase that this chunk went through; `text` only where a prompt was encoded."""
        phases = {
            "build": self.build_end_s - self.build_start_s,
            "send": self.send_end_s - self.send_start_s,
            "mesh": self.mesh_s,
            "recv": self.recv_ms / 1e3,
            "decode": self.emit_s - self.decode_start_s,
        }
        text_ms = self.text_ms + self.mesh_text_ms
        return {"text": text_ms / 1e3} | phases if text_ms > 0 else phases


class UpdateRecord(msgspec.Struct):
    """The life of one prompt update. accepted_chunk: newest chunk whose result had reached rank 0 at acceptance."""

    id: str
    prompt: str
    accepted_chunk: int
    accepted_s: float
    applied_chunk: int | None = None
    emitted_s: float | None = None
    superseded: bool = False
    truncated: bool = False
    """The text encoder reads only the beginning of a prompt in it."""
