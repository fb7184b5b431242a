"""sweep.json: what a sweep is going to measure, so that it can be continued, and in which order.

Knows nothing of Hydra or of what a job does.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pp1_orchestrator.report.jobs import records_below, without_secrets, without_sweep
from pp1_orchestrator.report.machine_load import LoadSummary

MANIFEST_FILE = "sweep.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """jobs: the overrides of each, without secrets and without those of the sweep. before: the load before it began."""

    jobs: list[list[str]]
    repeats: int
    before: LoadSummary | None = None


class RunPlace(msgspec.Struct, frozen=True):
    """A run in its turn. number: of its folder; a job's first run has the job's own."""

    job: int
    repeat: int
    number: int


def write_manifest(manifest: Manifest, folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(folder: Path) -> Manifest | None:
    """None without one. Raises msgspec.DecodeError for a file that is none."""
    path = folder / MANIFEST_FILE
    return msgspec.json.decode(path.read_bytes(), type=Manifest) if path.exists() else None


def jobs_told(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Jobs as a manifest may have them."""
    return [without_secrets(without_sweep(job)) for job in jobs]


def turns(jobs: int, repeats: int) -> Iterator[RunPlace]:
    """All jobs once, then all again: what changes slowly then meets all of them alike.

    Each round begins with another job, so that no job is always the first or always the last.
    """
    for repeat in range(repeats):
        first = round(repeat * jobs / repeats)
        for turn in range(jobs):
            job = (first + turn) % jobs
            yield RunPlace(job, repeat, repeat * jobs + job)


def place_in(folder: Path, number: int) -> tuple[int, int]:
    """The job of a run by its number, and its repeat."""
    manifest = read_manifest(folder)
    repeat, job = divmod(number, len(manifest.jobs)) if manifest and manifest.jobs else (0, number)
    return job, repeat


def done_before(folder: Path) -> dict[int, Path]:
    """The folders of the runs that ended well, which need not be made again, by the number of the run."""
    manifest, found = read_manifest(folder), dict[int, Path]()
    if manifest is None:
        return found
    for path, record in records_below(folder):
        if record.error is None:
            found[record.repeat * len(manifest.jobs) + record.number] = path.parent
    return found
