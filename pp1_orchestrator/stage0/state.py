"""The figures that a person watches while the stream runs, taken from its newest chunks."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from pp1_orchestrator.measure.chunks import ChunkLog
from pp1_orchestrator.measure.records import UpdateRecord

RECENT = 20


def recent_figures(chunk_log: ChunkLog, updates: Sequence[UpdateRecord]) -> dict[str, Any]:
    """Frames a second and median milliseconds over the last chunks, and the newest prompt's way to pixels."""
    records = chunk_log.newest(RECENT)
    figures: dict[str, Any] = {"chunks": records[-1].chunk_index + 1 if records else 0}
    if len(records) > 1:
        span = records[-1].emit_s - records[0].emit_s
        figures["fps"] = round(sum(r.frames for r in records[1:]) / span, 1) if span > 0 else None
        figures["phases_ms"] = {
            "text": round(max(r.text_ms + r.mesh_text_ms for r in records), 1),
            "denoise": round(median(r.denoise_ms for r in records), 1),
            "context": round(median(r.context_ms for r in records), 1),
            "decode": round(median((r.emit_s - r.decode_start_s) * 1e3 for r in records), 1),
        }
    shown = next((u for u in reversed(updates) if u.emitted_s is not None and u.applied_chunk is not None), None)
    if shown is not None and shown.emitted_s is not None and shown.applied_chunk is not None:
        figures["prompt_to_pixels_ms"] = round((shown.emitted_s - shown.accepted_s) * 1e3, 1)
        figures["prompt_to_pixels_chunks"] = shown.applied_chunk - shown.accepted_chunk
    return figures
