"""summary.json: one run in figures, with the digests of its pixels and latents. Other programs read this file.

The quantiles and `fps` leave out the first `warmup_chunks` chunks; `chunks`, `frames` and `wall_s` count the whole run.
Knows nothing of how the records were collected.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from pp1_orchestrator.telemetry.overlap_score import hidden_s, overlap_score
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord, periods_s

SCHEMA = 1
"""Counts the incompatible changes of the file."""


class RunConfig(msgspec.Struct, frozen=True):
    """The options that were chosen."""

    model: str
    routing: str
    overlap: str
    context: str
    layout: str
    seed: int
    cache: str = "ring"
    source: str = "none"
    parallel: str = "tensor"
    """These three: what runs had before there was a choice."""


class Quantiles(msgspec.Struct, frozen=True):
    """Milliseconds of one phase; all 0 if it never ran."""

    p50: float
    p95: float
    max: float


class PhasesMs(msgspec.Struct, frozen=True):
    """`text` is a part of `build`, and covers only chunks that encoded a prompt."""

    text: Quantiles
    build: Quantiles
    send: Quantiles
    mesh: Quantiles
    recv: Quantiles
    decode: Quantiles
    period: Quantiles


class UpdateSummary(msgspec.Struct, frozen=True):
    """One prompt update. The last three are None if a newer update replaced it before it was applied."""

    id: str
    prompt: str
    accepted_chunk: int
    applied_chunk: int | None
    latency_chunks: int | None
    latency_ms: float | None


class WireBytes(msgspec.Struct, frozen=True):
    """Median bytes of the messages between rank 0 and the leader."""

    envelope_p50: int
    result_p50: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. overlap_score, hidden_ms_p50 and mesh_idle_ms_p50 are None if no chunk followed the warm-up.

    mesh_text_ms_max: how long text encoding held the mesh up at most. queue_depth_max: by queue. load_s: by part.
    """

    schema: int = SCHEMA
    config: RunConfig
    chunks: int
    frames: int
    wall_s: float
    warmup_chunks: int
    fps: float | None
    phases_ms: PhasesMs
    overlap_score: float | None
    hidden_ms_p50: float | None
    mesh_idle_ms_p50: float | None
    mesh_text_ms_max: float
    queue_depth_max: dict[str, int]
    prompt_updates: list[UpdateSummary]
    memory: dict[str, dict[str, int]]
    load_s: dict[str, float] = {}
    wire_bytes: WireBytes
    pixels_sha256: str
    latents_sha256: str


def build_summary(
    config: RunConfig,
    records: Sequence[ChunkRecord],
    updates: Sequence[UpdateRecord],
    *,
    warmup_chunks: int,
    memory: Mapping[str, Mapping[str, int]],
    digests: tuple[str, str],
    queue_depth_max: Mapping[str, int] | None = None,
    load_s: Mapping[str, float] | None = None,
) -> Summary:
    """Summarize a run. A run without chunks has zeros and Nones.

    Args:
        records: every decoded chunk, in order.
        memory: bytes by rank and component.
        digests: SHA-256 of all pixels, and of all latents.
        queue_depth_max: the largest depth by queue.
        load_s: seconds of loading by part.
    """
    steady, periods = records[warmup_chunks:], periods_s(records)[warmup_chunks:]
    times = [(r.stage0_s, r.mesh_s, period) for r, period in zip(steady, periods, strict=True) if period is not None]
    return Summary(
        config=config,
        chunks=len(records),
        frames=sum(record.frames for record in records),
        wall_s=records[-1].emit_s - records[0].build_start_s if records else 0.0,
        warmup_chunks=warmup_chunks,
        fps=_fps(records, warmup_chunks),
        phases_ms=_phases(steady, [period for *_, period in times]),
        overlap_score=overlap_score(times),
        hidden_ms_p50=_median([1e3 * hidden_s(*of_chunk) for of_chunk in times]),
        mesh_idle_ms_p50=_median([record.mesh_idle_ms for record in steady]),
        mesh_text_ms_max=max((record.mesh_text_ms for record in records), default=0.0),
        queue_depth_max=dict(queue_depth_max or {}),
        prompt_updates=[msgspec.convert(update, UpdateSummary, from_attributes=True) for update in updates],
        memory={rank: dict(parts) for rank, parts in memory.items()},
        load_s=dict(load_s or {}),
        wire_bytes=WireBytes(
            round(_median([record.envelope_bytes for record in steady]) or 0),
            round(_median([record.result_bytes for record in steady]) or 0),
        ),
        pixels_sha256=digests[0],
        latents_sha256=digests[1],
    )


def write_summary(summary: Summary, path: Path) -> None:
    """Write the file, indented."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def read_summary(path: Path) -> Summary:
    """Read a file. Raises msgspec.ValidationError if it is not a summary."""
    return msgspec.json.decode(path.read_bytes(), type=Summary)


def _fps(records: Sequence[ChunkRecord], warmup: int) -> float | None:
    """Frames after the warm-up, divided by the time from the end of the warm-up to the end of the last chunk."""
    if len(records) <= warmup:
        return None
    start_s = records[warmup - 1].emit_s if warmup else records[0].build_start_s
    seconds = records[-1].emit_s - start_s
    return sum(record.frames for record in records[warmup:]) / seconds if seconds > 0 else None


def _phases(records: Sequence[ChunkRecord], period_s: Sequence[float]) -> PhasesMs:
    seconds: dict[str, list[float]] = {"period": list(period_s)}
    for record in records:
        for phase, spent_s in record.phases_s().items():
            seconds.setdefault(phase, []).append(spent_s)
    return PhasesMs(**{phase: _quantiles_ms(seconds.get(phase, [])) for phase in PhasesMs.__struct_fields__})


def _quantiles_ms(seconds: Sequence[float]) -> Quantiles:
    if not seconds:
        return Quantiles(0.0, 0.0, 0.0)
    p50, p95, largest = (1e3 * float(q) for q in np.percentile(seconds, (50, 95, 100)))
    return Quantiles(p50, p95, largest)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
