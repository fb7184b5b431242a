"""The report's table: one row for each job, each cell as text, the same in Markdown and in HTML. Pure functions."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pp1_orchestrator.report.comparison import Estimate, interval
from pp1_orchestrator.report.job_plan import Pair, compare_with_plan
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
Estimates = Mapping[int, Estimate]
"""By number of the job; of those with a rate."""


class Table(msgspec.Struct, frozen=True):
    """rows: each job with its cells, one for each column. A job that failed, or measured nothing, has dashes."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Job, tuple[str, ...]], ...]


def build_table(jobs: Sequence[Job], estimates: Estimates) -> Table:
    rows = {job.record.number: _cells(job, estimates.get(job.record.number)) for job in jobs}
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    texts = [(job, tuple(rows[job.record.number].get(name, NONE) for name in columns)) for job in jobs]
    return Table(tuple(columns), tuple(texts))


def build_plan_table(jobs: Sequence[Job]) -> Table | None:
    """Each job's planned figures beside the measured ones, with a remark where they are far apart; None without any."""
    pairs = {job.record.number: _pairs(job) for job in jobs}
    planned = [job for job in jobs if pairs[job.record.number]]
    if not planned:
        return None
    names = list(dict.fromkeys(f"{pair.name}, {pair.unit}" for job in planned for pair in pairs[job.record.number]))
    rows: list[tuple[Job, tuple[str, ...]]] = []
    for job in planned:
        told = {f"{pair.name}, {pair.unit}": _pair_text(pair) for pair in pairs[job.record.number]}
        limit = job.plan.limited_by if job.plan else ""
        rows.append((job, (*(told.get(name, NONE) for name in names), limit or NONE)))
    return Table((*names, "limited by"), tuple(rows))


def far_plans(jobs: Sequence[Job]) -> list[str]:
    """The labels of the jobs whose plan is far off in one of its figures."""
    return [job.label for job in jobs if any(pair.far for pair in _pairs(job))]


def _pairs(job: Job) -> list[Pair]:
    if job.plan is None or job.measured is None:
        return []
    return compare_with_plan(job.plan, job.record.overlap or "", job.measured)


def _pair_text(pair: Pair) -> str:
    text = f"{pair.planned:.1f} / {pair.measured:.1f}"
    return f"{text} ({pair.off:+.0%} off)" if pair.far else text


def _cells(job: Job, estimate: Estimate | None) -> dict[str, str]:
    summary = job.measured
    cells = {
        "FPS": NONE if estimate is None else f"{estimate.rate:.1f}",
        "FPS, 95 %": NONE if estimate is None else interval(estimate),
        "runs": str(len(job.runs)) if job.runs else NONE,
    }
    cells |= {name: NONE if summary is None else cell(summary) for name, cell in _CELLS.items()}
    loads = [run.load for run in job.runs if run.load is not None]
    if loads:
        cells["others' cores"] = f"{statistics.mean(load.others + load.stolen for load in loads):.2f}"
    return cells
