"""Runs the same bench for several choices and prints one Markdown table: `python -m benchmarks.compare [key=value …]`.

Each row is a run of the real program in a process of its own; its figures come from that run's summary.json. Further
arguments go to every run, for example `run.chunks=60 run.script=script.yaml`.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import psutil
from rich.console import Console

from pp1_orchestrator.measure.summary import Summary, read_summary

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = ("cpu", "inline")
OVERLAPS = ("sync", "stage0_owned")
HEADER = (
    "layout",
    "overlap",
    "FPS",
    "period p50 ms",
    "mesh p50 ms",
    "decode p50 ms",
    "overlap score",
    "pixels SHA-256",
)


def run_bench(layout: str, overlap: str, options: list[str], out: Path) -> Summary:
    """One run; raises subprocess.CalledProcessError when it fails."""
    choices = ["run=bench", f"layout={layout}", f"overlap={overlap}", f"hydra.run.dir={out}", *options]
    subprocess.run([sys.executable, "-m", "pp1_orchestrator", *choices], cwd=ROOT, check=True)
    return read_summary(out / "summary.json")


def row(summary: Summary) -> tuple[str, ...]:
    """One line of the table."""
    phases = summary.phases_ms
    times = (f"{quantiles.p50:.0f}" for quantiles in (phases.period, phases.mesh, phases.decode))
    figures = (_figure(summary.fps, 1), *times, _figure(summary.overlap_score, 2))
    return (summary.config.layout, summary.config.overlap, *figures, summary.pixels_sha256[:12])


def table(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table under `HEADER`."""
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """What the figures belong to."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    memory = psutil.virtual_memory().total / 2**30
    return f"commit {commit.strip()}, {psutil.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB"


def main(options: list[str]) -> None:
    """Run everything, then print."""
    with tempfile.TemporaryDirectory() as folder:
        runs = product(LAYOUTS, OVERLAPS)
        rows = [row(run_bench(*choice, options, Path(folder) / "-".join(choice))) for choice in runs]
    console = Console(soft_wrap=True, markup=False)
    console.print(machine())
    console.print(table(rows))


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main(sys.argv[1:])
