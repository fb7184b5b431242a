"""Frames per second of every layout and overlap. Benches run one after the other, in another order in each round.

python -m benchmarks.speed --chunks 60 --rounds 3
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe
from pp1_orchestrator.telemetry.summary import Summary, read_summary

CHOICES = [(layout, overlap) for layout in ("cpu", "inline") for overlap in ("stage0_owned", "sync")]
Choice = tuple[str, str]


def bench(choice: Choice, chunks: int, folder: Path) -> Summary:
    """One run of the program. Raises CalledProcessError when it fails."""
    layout, overlap = choice
    command = [sys.executable, "-m", "pp1_orchestrator", "run=bench", f"run.chunks={chunks}"]
    command += [f"layout={layout}", f"overlap={overlap}", f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, capture_output=True)
    return read_summary(folder / "summary.json")


def row(choice: Choice, runs: list[Summary]) -> str:
    """One line of the table: medians over the runs, and the spread of the frames a second."""
    fps = sorted(run.fps for run in runs if run.fps is not None)
    score = statistics.median(run.overlap_score for run in runs if run.overlap_score is not None)
    mesh, decode, period = (
        statistics.median(getattr(run.phases_ms, phase).p50 for run in runs) for phase in ("mesh", "decode", "period")
    )
    fps_text = f"{statistics.median(fps):.1f} ({fps[0]:.1f}–{fps[-1]:.1f})"
    return f"| {choice[0]} | {choice[1]} | {fps_text} | {period:.0f} | {mesh:.0f} | {decode:.0f} | {score:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs: dict[Choice, list[Summary]] = {choice: [] for choice in CHOICES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for choice in CHOICES[turn % len(CHOICES) :] + CHOICES[: turn % len(CHOICES)]:
                out = Path(folder) / f"{turn}-{choice[0]}-{choice[1]}"
                runs[choice].append(bench(choice, options.chunks, out))
    lines = [
        f"{describe()}; {options.chunks} chunks, {options.rounds} rounds, medians",
        "",
        "| layout | overlap | FPS (min–max) | period ms | waiting for the mesh ms | decode ms | overlap score |",
        "|---|---|---|---|---|---|---|",
        *(row(choice, runs[choice]) for choice in CHOICES),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
