"""The report's table: one row for each job, each cell as text, the same in Markdown and in HTML. Pure functions."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pp1_orchestrator.report.jobs import Job
from pp1_orchestrator.telemetry.summary import Summary, UpdateSummary

NONE = "–"
PEAK = "peak"
MEGA = 1e6
DIGEST_DIGITS = 8


class Latency(msgspec.Struct, frozen=True):
    """Prompt to pixels. first_only: only the first prompt was shown, which waits for the stream's start."""

    max_chunks: int
    median_ms: float
    first_only: bool

    def __str__(self) -> str:
        text = f"{self.max_chunks} / {self.median_ms:.0f} ms"
        return f"{text} (first prompt)" if self.first_only else text


def prompt_latency(updates: Sequence[UpdateSummary]) -> Latency | None:
    """Of the updates that were shown. The first prompt counts only where there is no other."""
    shown = [
        (update.accepted_chunk >= 0, update.latency_chunks, update.latency_ms)
        for update in updates
        if update.latency_chunks is not None and update.latency_ms is not None
    ]
    if not shown:
        return None
    changes = [update for update in shown if update[0]]
    counted = changes or shown
    return Latency(
        max_chunks=max(chunks for _, chunks, _ in counted),
        median_ms=statistics.median(ms for _, _, ms in counted),
        first_only=not changes,
    )


def component_bytes(parts: Mapping[str, int]) -> int:
    """A rank's weights and caches. Its process's peak is not a component."""
    return sum(size for name, size in parts.items() if name != PEAK)


def total_bytes(summary: Summary) -> int:
    """Components of all ranks."""
    return sum(component_bytes(parts) for parts in summary.memory.values())


def memory_text(memory: Mapping[str, Mapping[str, int]]) -> str:
    """MB of each rank's components, and in brackets the peak of its process."""

    def rank(parts: Mapping[str, int]) -> str:
        peak = f" (peak {parts[PEAK] / MEGA:.0f})" if PEAK in parts else ""
        return f"{component_bytes(parts) / MEGA:.1f}{peak}"

    return ", ".join(f"{name}: {rank(memory[name])}" for name in sorted(memory, key=int)) or NONE


def number_text(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


_CELLS: dict[str, Callable[[Summary], str]] = {
    "FPS": lambda s: number_text(s.fps, 1),
    "period ms": lambda s: number_text(s.phases_ms.period.p50, 1),
    "mesh ms": lambda s: number_text(s.phases_ms.mesh.p50, 1),
    "decode ms": lambda s: number_text(s.phases_ms.decode.p50, 1),
    "overlap score": lambda s: number_text(s.overlap_score, 2),
    "hidden ms": lambda s: number_text(s.hidden_ms_p50, 1),
    "mesh idle ms": lambda s: number_text(s.mesh_idle_ms_p50, 1),
    "prompt to pixels": lambda s: str(prompt_latency(s.prompt_updates) or NONE),
    "wire bytes": lambda s: f"{s.wire_bytes.envelope_p50:,} + {s.wire_bytes.result_p50:,}",
    "memory MB by rank": lambda s: memory_text(s.memory),
    "pixels": lambda s: s.pixels_sha256[:DIGEST_DIGITS],
}
_AFTER_PERIOD = 2
PREDICTED, FAR = "predicted ms", 0.15
"""A plan that is farther off than this share of the measured period is remarked upon."""


class Table(msgspec.Struct, frozen=True):
    """rows: each job with its cells, one for each column. A job that failed, or measured nothing, has dashes."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Job, tuple[str, ...]], ...]


def build_table(jobs: Sequence[Job]) -> Table:
    planned = any(job.predicted_ms is not None for job in jobs)
    columns = list(_CELLS)
    if planned:
        columns.insert(_AFTER_PERIOD, PREDICTED)
    return Table(tuple(columns), tuple((job, _cells(job, planned)) for job in jobs))


def predicted_text(job: Job) -> str:
    """The predicted period, with a remark if it is far from the measured one."""
    text, period = number_text(job.predicted_ms, 1), job.measured and job.measured.phases_ms.period.p50
    if job.predicted_ms is None or not period or abs(job.predicted_ms / period - 1) <= FAR:
        return text
    return f"{text} ({job.predicted_ms / period - 1:+.0%} off)"


def _cells(job: Job, planned: bool) -> tuple[str, ...]:
    measured = job.measured
    cells = [NONE if measured is None else cell(measured) for cell in _CELLS.values()]
    if planned:
        cells.insert(_AFTER_PERIOD, predicted_text(job))
    return tuple(cells)
