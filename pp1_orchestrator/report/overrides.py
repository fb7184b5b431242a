"""A job's overrides as text: which of them tell the jobs apart, and the command that runs one live. Pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


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
