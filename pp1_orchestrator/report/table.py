"""The report's table: a row a job, every cell as text, the same in Markdown and in HTML. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from pp1_orchestrator.measure.summary import Summary

from .figures import NONE, figure, memory_text, prompt_latency
from .folder import Job
from .overrides import differing, label

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
