"""A sweep's jobs as their folders hold them: what each was, how it ended, and what its runs measured.

Knows nothing of torch or of what a job's figures mean.
"""

import contextlib
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pp1_orchestrator.errors import SECRET_KEYS
from pp1_orchestrator.report.job_plan import JobPlan, read_job_plan
from pp1_orchestrator.report.measured_runs import MeasuredRun, median_run, read_run
from pp1_orchestrator.telemetry.summary import Summary

RECORD_FILE = "job.json"
SWEEP_KEYS = "sweep."
"""How the sweep is done, which is no choice of a job."""
UNFINISHED = "stopped before its end"
"""The error of a job that has begun. It stays if the job never ends."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """job.json of one run: what its job was, and its error in one line. repeat: counts the job's runs from 0.

    The fields after it are None where the job could not be composed. trained_context, trained_cache: what the model's
    weights were trained for. config_dir: of the command line's `--config-dir`.
    """

    number: int
    overrides: list[str]
    error: str | None
    repeat: int = 0
    overlap: str | None = None
    script: str | None = None
    seed: int | None = None
    trained_context: str | None = None
    trained_cache: str | None = None
    config_dir: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job with all its runs. label: what tells it from the others, see `label`. runs: those that were measured.

    measured: the median run's figures; None if the job failed, or was no bench. plan: what its first run left, or None.
    """

    record: JobRecord
    label: str
    runs: tuple[MeasuredRun, ...] = ()
    measured: Summary | None
    error: str | None
    plan: JobPlan | None

    @property
    def predicted_ms(self) -> float | None:
        """The planned period."""
        return None if self.plan is None else self.plan.predicted_period_ms.get(self.record.overlap or "")


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
    """Raises msgspec.DecodeError for a file that is none."""
    return msgspec.json.decode(path.read_bytes(), type=JobRecord)


def records_below(folder: Path) -> list[tuple[Path, JobRecord]]:
    """All records of a sweep with their files. One that a power cut or a full disk has spoilt stands for no run."""
    found: list[tuple[Path, JobRecord]] = []
    for path in folder.rglob(RECORD_FILE):
        with contextlib.suppress(msgspec.DecodeError):
            found.append((path, read_record(path)))
    return found


def read_jobs(folder: Path) -> list[Job]:
    """All jobs below the sweep's folder, in the order in which they were asked for."""
    records = {path.parent: record for path, record in records_below(folder)}
    keys = differing_keys([record.overrides for record in records.values()])
    by_job: dict[int, list[tuple[JobRecord, Path]]] = {}
    for place, record in sorted(records.items(), key=lambda item: item[1].repeat):
        by_job.setdefault(record.number, []).append((record, place))
    return [_read_job(by_job[number], keys) for number in sorted(by_job)]


def _read_job(places: Sequence[tuple[JobRecord, Path]], keys: set[str]) -> Job:
    """Of all its runs. A run that failed fails the job; one that was stopped only adds nothing."""
    first, runs, errors = places[0][0], list[MeasuredRun](), list[str]()
    for record, place in places:
        if record.error is not None:
            errors.append(record.error)
            continue
        try:
            run = read_run(place, record.repeat)
        except msgspec.DecodeError as problem:
            errors.append(f"summary.json can't be read: {problem}")
        else:
            runs += [] if run is None else [run]
    failures = [error for error in errors if error != UNFINISHED] or ([] if runs else errors)
    error = failures[0] if failures else None
    return Job(
        record=first,
        label=label(first.number, first.overrides, keys),
        runs=() if error else tuple(runs),
        measured=median_run(runs) if runs and error is None else None,
        error=error,
        plan=next((plan for _, place in places if (plan := read_job_plan(place))), None),
    )


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


def without_sweep(overrides: Sequence[str]) -> list[str]:
    """Overrides without those of how the sweep itself is done."""
    return [override for override in overrides if not key_of(override).startswith(SWEEP_KEYS)]


def differing_keys(jobs: Sequence[Sequence[str]]) -> set[str]:
    """The keys that are not set alike in all jobs, each given by its overrides."""
    by_key = [{key_of(override): override for override in job} for job in jobs]
    keys = {key for job in by_key for key in job}
    return {key for key in keys if len({job.get(key) for job in by_key}) > 1}


def label(number: int, overrides: Sequence[str], keys: set[str]) -> str:
    """A job's name: its overrides of the keys that differ, or its number where none does."""
    return " ".join(override for override in overrides if key_of(override) in keys) or f"job {number}"


def live_command(overrides: Sequence[str], config_dir: str | None = None) -> str:
    """The command that serves what a job measured: its overrides without those of `run`."""
    choices = without_sweep(overrides)
    kept = [override for override in choices if key_of(override) != "run" and not key_of(override).startswith("run.")]
    if any(key_of(override) == "experiment" for override in kept):
        kept.append("run=serve")  # an experiment may set run=bench
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    return shlex.join(["python", "-m", "pp1_orchestrator", *flags, *kept])
