"""A sweep's jobs as their folders hold them: what each was, how it ended, what it measured and what was predicted.

Knows nothing of torch or of what a job's figures mean.
"""

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pp1_orchestrator.errors import SECRET_KEYS
from pp1_orchestrator.telemetry.summary import Summary, read_summary

RECORD_FILE = "job.json"
UNFINISHED = "stopped before its end"
"""The error of a job that has begun. It stays if the job never ends."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """job.json: what a job was, and its error in one line. What follows is None where it could not be composed.

    trained_context, trained_cache: what the model's weights were trained for.
    """

    number: int
    overrides: list[str]
    error: str | None
    overlap: str | None = None
    script: str | None = None
    seed: int | None = None
    trained_context: str | None = None
    trained_cache: str | None = None


class JobPlan(msgspec.Struct, frozen=True):
    """The part of plan.json that is compared with the measurement: ms per chunk, by overlap."""

    predicted_period_ms: dict[str, float] = {}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. label: what tells it from the others, see `label`. measured: None if it failed, or was no bench."""

    record: JobRecord
    label: str
    measured: Summary | None
    error: str | None
    predicted_ms: float | None


class MachineInfo(msgspec.Struct, frozen=True):
    """What the sweep ran on, and when (ISO date)."""

    processor: str
    cores: int
    gpus: tuple[str, ...]
    python: str
    torch: str
    date: str


def write_record(record: JobRecord, folder: Path) -> None:
    (folder / RECORD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def read_record(path: Path) -> JobRecord:
    return msgspec.json.decode(path.read_bytes(), type=JobRecord)


def read_jobs(folder: Path) -> list[Job]:
    """All jobs below the sweep's folder, in the order in which they ran."""
    records = {path.parent: read_record(path) for path in folder.rglob(RECORD_FILE)}
    keys = differing_keys([record.overrides for record in records.values()])
    jobs = [_read_job(job_folder, record, keys) for job_folder, record in records.items()]
    return sorted(jobs, key=lambda job: job.record.number)


def _read_job(folder: Path, record: JobRecord, keys: set[str]) -> Job:
    summary, error = None, record.error
    try:
        summary = read_summary(folder / "summary.json")
    except FileNotFoundError:
        pass
    except msgspec.DecodeError as problem:
        error = error or f"summary.json can't be read: {problem}"
    name, predicted_ms = label(record.number, record.overrides, keys), _predicted_ms(folder, record.overlap)
    measured = summary if error is None else None
    return Job(record=record, label=name, measured=measured, error=error, predicted_ms=predicted_ms)


def _predicted_ms(folder: Path, overlap: str | None) -> float | None:
    """None without a readable plan for this overlap: a prediction is optional."""
    try:
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=JobPlan)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return plan.predicted_period_ms.get(overlap or "")


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


def without_secrets(overrides: Sequence[object]) -> list[str]:
    """Overrides as a record may have them."""
    texts = [str(override) for override in overrides]
    return [f"{text.partition('=')[0]}=***" if key_of(text).startswith(SECRET_KEYS) else text for text in texts]


def differing_keys(jobs: Sequence[Sequence[str]]) -> set[str]:
    """The keys that are not set alike in all jobs, each given by its overrides."""
    by_key = [{key_of(override): override for override in job} for job in jobs]
    keys = {key for job in by_key for key in job}
    return {key for key in keys if len({job.get(key) for job in by_key}) > 1}


def label(number: int, overrides: Sequence[str], keys: set[str]) -> str:
    """A job's name: its overrides of the keys that differ, or its number where none does."""
    return " ".join(override for override in overrides if key_of(override) in keys) or f"job {number}"


def live_command(overrides: Sequence[str]) -> str:
    """The command that serves what a job measured: its overrides without those of `run`."""
    kept = [override for override in overrides if key_of(override) != "run" and not key_of(override).startswith("run.")]
    if any(key_of(override) == "experiment" for override in kept):
        kept.append("run=serve")  # an experiment may set run=bench
    return shlex.join(["python", "-m", "pp1_orchestrator", *kept])
