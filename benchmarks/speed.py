"""Frames per second of layouts, splits of the model and overlaps. Benches run in turns, each round in another order.

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

OVERLAPS = ("stage0_owned", "sync")
SPLITS = (("cpu", "tensor"), ("cpu", "sequence"), ("inline", "tensor"))
"""Layouts and how they split the model; one process splits nothing."""
COLUMNS = ("FPS (min–max)", "period ms", "waiting for the mesh ms", "decode ms", "overlap score")
Choice = tuple[str, str, str]


def bench(choice: Choice, chunks: int, folder: Path) -> Summary:
    """One run of the program. Raises CalledProcessError when it fails."""
    layout, parallel, overlap = choice
    command = [sys.executable, "-m", "pp1_orchestrator", "run=bench", f"run.chunks={chunks}"]
    command += [f"layout={layout}", f"parallel={parallel}", f"overlap={overlap}", f"hydra.run.dir={folder}"]
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
    return f"| {' | '.join(choice)} | {fps_text} | {period:.0f} | {mesh:.0f} | {decode:.0f} | {score:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overlaps", nargs="+", choices=OVERLAPS, default=list(OVERLAPS))
    options = parser.parse_args()
    choices = [(*split, overlap) for split in SPLITS for overlap in options.overlaps]
    runs: dict[Choice, list[Summary]] = {choice: [] for choice in choices}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for choice in choices[turn % len(choices) :] + choices[: turn % len(choices)]:
                out = Path(folder) / f"{turn}-{'-'.join(choice)}"
                runs[choice].append(bench(choice, options.chunks, out))
    lines = [
        f"{describe()}; {options.chunks} chunks, {options.rounds} rounds, medians",
        "",
        f"| layout | parallel | overlap | {' | '.join(COLUMNS)} |",
        f"|---|---|---|{'---|' * len(COLUMNS)}",
        *(row(choice, runs[choice]) for choice in choices),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
