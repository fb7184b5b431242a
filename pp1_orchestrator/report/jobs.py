"""A sweep's folder, read: each job with what it measured and, where one was made, its plan. Writes nothing.

job.json: what a sweep's job was and what became of it. Knows nothing of what the job measured.

What a figure was measured on, as far as the system tells it. Knows nothing of torch: its facts are handed in.

A job's overrides as text: which of them tell the jobs apart, and the command that runs one live. Pure functions.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pp1_orchestrator.telemetry.summary import Summary, read_summary

FILE = "job.json"
UNFINISHED = "stopped before its end"
"""The error of a job from its start on; it stays where the job never came to its end."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """error: one line, None for a job that went well. trained_context: what the model's weights were trained for.

    What follows `error` is None where the job could not be composed.
    """

    number: int
    overrides: list[str]
    error: str | None
    overlap: str | None = None
    script: str | None = None
    seed: int | None = None
    trained_context: str | None = None


def write_record(record: JobRecord, folder: Path) -> None:
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def read_record(path: Path) -> JobRecord:
    """msgspec.DecodeError where the file is no record."""
    return msgspec.json.decode(path.read_bytes(), type=JobRecord)


class JobPlan(msgspec.Struct, frozen=True):
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
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=JobPlan)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return plan.predicted_period_ms.get(overlap or "")


class MachineInfo(msgspec.Struct, frozen=True):
    """date: ISO, of the measurement."""

    processor: str
    cores: int
    gpus: tuple[str, ...]
    python: str
    torch: str
    date: str


def this_machine(date: str, torch: str, gpus: Sequence[str]) -> MachineInfo:
    return MachineInfo(processor(), os.cpu_count() or 1, tuple(gpus), platform.python_version(), torch, date)


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def key_of(override: str) -> str:
    """The key that an override sets, without Hydra's `+` or `~`."""
    return override.partition("=")[0].lstrip("+~")


def differing(jobs: Sequence[Sequence[str]]) -> set[str]:
    """Keys that not all of the jobs set alike."""
    seen = [{key_of(override): override for override in job} for job in jobs]
    keys = {key for job in seen for key in job}
    return {key for key in keys if len({job.get(key) for job in seen}) > 1}


def label(number: int, overrides: Sequence[str], keys: set[str]) -> str:
    """A job's name: the overrides that only some jobs have, or its number where all are alike."""
    return " ".join(override for override in overrides if key_of(override) in keys) or f"job {number}"


def live_command(overrides: Sequence[str]) -> str:
    """The command line that serves what a job measured: its choices without those of the bench."""
    kept = [override for override in overrides if key_of(override) != "run" and not key_of(override).startswith("run.")]
    if any(key_of(override) == "experiment" for override in kept):
        kept.append("run=serve")  # the experiment may be a bench
    return shlex.join(["python", "-m", "pp1_orchestrator", *kept])
