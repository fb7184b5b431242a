"""Figures of the newest chunks, for `/api/state` and the page. Knows nothing of how they were measured."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from pp1_orchestrator.telemetry.records import ChunkLog, UpdateRecord

RECENT_CHUNKS = 20


def recent_figures(chunk_log: ChunkLog, updates: Sequence[UpdateRecord]) -> dict[str, Any]:
    """Frames per second and median milliseconds of the newest chunks, and the newest update's prompt-to-pixels time."""
    records = chunk_log.newest(RECENT_CHUNKS)
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
    for update in reversed(updates):
        if update.latency_ms is not None:
            figures["prompt_to_pixels_ms"] = round(update.latency_ms, 1)
            figures["prompt_to_pixels_chunks"] = update.latency_chunks
            break
    return figures
