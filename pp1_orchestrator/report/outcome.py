"""recommendation.json, for programs, and the last line of a sweep, for people."""

import math
from pathlib import Path

import msgspec

from pp1_orchestrator.report.comparison import Estimate, interval
from pp1_orchestrator.report.content import Content

OUTCOME_FILE = "recommendation.json"
BUSY = "; the machine was busy"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. job: number of the recommended one, null where nothing was measured. tied: labels of those that
    could as well be the fastest; empty where there is a winner. fps: its rate and interval, high is null where it can't
    be told. lead: over the next, relative; null in a tie.
    """

    schema: int = 1
    job: int | None
    label: str | None
    fps: dict[str, float | None] | None
    lead: dict[str, float | None] | None
    tied: tuple[str, ...]
    command: str | None
    warnings: tuple[str, ...]


def outcome_of(content: Content) -> Outcome:
    best = content.recommendation
    return Outcome(
        job=best and best.number,
        label=best and best.label,
        fps=_plain(best.fps if best else None),
        lead=_plain(best.lead if best else None),
        tied=best.tied if best else (),
        command=best and best.command,
        warnings=content.warnings,
    )


def write_outcome(outcome: Outcome, folder: Path) -> None:
    (folder / OUTCOME_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")


def last_line(content: Content) -> str:
    """The recommendation with its interval and the command, in one line."""
    best = content.recommendation
    if best is None:
        return "recommended: none; no job was measured"
    fps = f"{best.fps.rate:.1f} FPS ({interval(best.fps)})"
    if best.tied:
        count = len(best.tied)
        rank = f"a tie with {best.tied[0] if count == 1 else f'{count} others'}"
    elif best.lead is not None:
        rank = f"{100 * best.lead.rate:.0f} % more ({interval(best.lead, 100, 0)}) than the next"
    else:
        rank = "the only job with a frame rate"
    busy = BUSY if any("busy" in warning for warning in content.warnings) else ""
    return f"recommended: {best.label}, {fps}, {rank}{busy}: {best.command}"


def _plain(found: Estimate | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"rate": found.rate, "low": found.low, "high": found.high if math.isfinite(found.high) else None}
