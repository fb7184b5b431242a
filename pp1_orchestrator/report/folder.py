"""A sweep's folder, read: each job with what it measured and, where one was made, its plan. Writes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pp1_orchestrator.measure.summary import Summary, read_summary

from .job import FILE, JobRecord, read_record


class Plan(msgspec.Struct, frozen=True):
    """The part of plan.json that can be held against a measurement: milliseconds a chunk, by overlap."""

    predicted_period_ms: dict[str, float] = {}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """error: why its figures don't count, None for a job that went well. A job without a bench has no summary."""

    record: JobRecord
    summary: Summary | None
    error: str | None
    predicted_ms: float | None

    @property
    def figures(self) -> Summary | None:
        """The summary, where it counts: of a job that went well."""
        return self.summary if self.error is None else None


def read_jobs(folder: Path) -> list[Job]:
    """Every job below the sweep's folder, in the order in which they ran."""
    jobs = [_read_job(path) for path in folder.rglob(FILE)]
    return sorted(jobs, key=lambda job: job.record.number)


def _read_job(path: Path) -> Job:
    record = read_record(path)
    summary, error = None, record.error
    try:
        summary = read_summary(path.parent / "summary.json")
    except FileNotFoundError:
        pass
    except msgspec.DecodeError as problem:
        error = error or f"summary.json can't be read: {problem}"
    return Job(record=record, summary=summary, error=error, predicted_ms=_predicted_ms(path.parent, record.overlap))


def _predicted_ms(folder: Path, overlap: str | None) -> float | None:
    """None where there is no plan, none for this overlap, or one that can't be read: it is an extra, not a result."""
    try:
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return plan.predicted_period_ms.get(overlap or "")
