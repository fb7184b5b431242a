"""Figures of one job that its summary holds only in parts, and how figures are written. Pure functions.

The report's table: a row a job, every cell as text, the same in Markdown and in HTML. Pure functions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pp1_orchestrator.report.jobs import Job, differing, label
from pp1_orchestrator.telemetry.summary import Summary, UpdateSummary

NONE = "–"
PEAK = "peak"
MEGA = 1e6


class Latency(msgspec.Struct, frozen=True):
    """Prompt to pixels. first_only: no prompt changed while chunks were made, so this is the first prompt's."""

    max_chunks: int
    median_ms: float
    first_only: bool

    def __str__(self) -> str:
        text = f"{self.max_chunks} / {self.median_ms:.0f} ms"
        return f"{text} (first prompt)" if self.first_only else text


def prompt_latency(updates: Sequence[UpdateSummary]) -> Latency | None:
    """Over the updates that were shown. The first prompt waits for the start and counts where there is no other."""
    shown = [
        (update.accepted_chunk >= 0, update.latency_chunks, update.latency_ms)
        for update in updates
        if update.latency_chunks is not None and update.latency_ms is not None
    ]
    if not shown:
        return None
    counted = [update for update in shown if update[0]]
    chosen = counted or shown
    return Latency(
        max_chunks=max(chunks for _, chunks, _ in chosen),
        median_ms=statistics.median(ms for _, _, ms in chosen),
        first_only=not counted,
    )


def component_bytes(parts: Mapping[str, int]) -> int:
    """What a rank's weights and caches take; the peak of its process is no component."""
    return sum(size for name, size in parts.items() if name != PEAK)


def total_bytes(summary: Summary) -> int:
    """Components of all ranks."""
    return sum(component_bytes(parts) for parts in summary.memory.values())


def memory_text(memory: Mapping[str, Mapping[str, int]]) -> str:
    """MB by rank, with the peak of the rank's process behind it."""

    def rank(parts: Mapping[str, int]) -> str:
        peak = f" (peak {parts[PEAK] / MEGA:.0f})" if PEAK in parts else ""
        return f"{component_bytes(parts) / MEGA:.1f}{peak}"

    return ", ".join(f"{name}: {rank(memory[name])}" for name in sorted(memory, key=int)) or NONE


def figure(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


PIXEL_DIGITS = 8

Cell = Callable[[Summary], str]
_CELLS: dict[str, Cell] = {
    "FPS": lambda s: figure(s.fps, 1),
    "period ms": lambda s: figure(s.phases_ms.period.p50, 1),
    "mesh ms": lambda s: figure(s.phases_ms.mesh.p50, 1),
    "decode ms": lambda s: figure(s.phases_ms.decode.p50, 1),
    "overlap score": lambda s: figure(s.overlap_score, 2),
    "hidden ms": lambda s: figure(s.hidden_ms_p50, 1),
    "mesh idle ms": lambda s: figure(s.mesh_idle_ms_p50, 1),
    "prompt to pixels": lambda s: str(prompt_latency(s.prompt_updates) or NONE),
    "wire bytes": lambda s: f"{s.wire_bytes.envelope_p50:,} + {s.wire_bytes.result_p50:,}",
    "memory MB by rank": lambda s: memory_text(s.memory),
    "pixels": lambda s: s.pixels_sha256[:PIXEL_DIGITS],
}
_AFTER_PERIOD = 2
PREDICTED = "predicted ms"


class Row(msgspec.Struct, frozen=True):
    """cells: one a column."""

    number: int
    label: str
    failed: bool
    cells: tuple[str, ...]


class Table(msgspec.Struct, frozen=True):
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def labels(jobs: Sequence[Job]) -> list[str]:
    """Each job's name: what it does differently."""
    keys = differing([job.record.overrides for job in jobs])
    return [label(job.record.number, job.record.overrides, keys) for job in jobs]


def build_table(jobs: Sequence[Job]) -> Table:
    """Every job has a row; one that failed, or measured nothing, has dashes in it."""
    planned = any(job.predicted_ms is not None for job in jobs)
    columns = list(_CELLS)
    if planned:
        columns.insert(_AFTER_PERIOD, PREDICTED)
    rows = [_row(job, name, planned) for job, name in zip(jobs, labels(jobs), strict=True)]
    return Table(tuple(columns), tuple(rows))


def _row(job: Job, name: str, planned: bool) -> Row:
    figures = job.figures
    cells = [NONE if figures is None else cell(figures) for cell in _CELLS.values()]
    if planned:
        cells.insert(_AFTER_PERIOD, figure(job.predicted_ms, 1))
    return Row(job.record.number, name, job.error is not None, tuple(cells))
