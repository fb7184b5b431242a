"""job.json: what a sweep's job was and what became of it. Knows nothing of what the job measured."""

from __future__ import annotations

from pathlib import Path

import msgspec

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
