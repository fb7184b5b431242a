"""Do sweeps name a wrong winner? Repeats real sweeps on this machine, beside busy loops and without, and counts.

    python -m benchmarks.sweep_trust --tries 10 --out build/sweep_trust

`idle`: `overlap=stage0_owned` over `overlap=sync`, to be named each time; the machine must do nothing else.
`busy`: eight jobs beside busy loops. A winner that is not among the fastest of a reference sweep is wrong; a tie is
not. The reference is the same sweep without the loops.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

TWO = ["layout=inline", "overlap=sync,stage0_owned"]
EIGHT = ["layout=inline,cpu", "overlap=sync,stage0_owned,loop_ahead,decode_thread"]
EXPECTED = "overlap=stage0_owned"
ROW = "| {0} | {1} | {2} | {3} | {4} |\n"


def spin() -> None:
    """Until it is ended."""
    while True:
        pass


@contextmanager
def busy_loops(count: int) -> Generator[None]:
    """Processes that do nothing but use a core each."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def sweep(choices: Sequence[str], more: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run one and return its recommendation.json. Raises CalledProcessError if a job failed."""
    words = [sys.executable, "-m", "pp1_orchestrator", "-m", "run=bench", *choices, *more, f"hydra.sweep.dir={folder}"]
    with folder.with_suffix(".log").open("w") as log:
        subprocess.run(words, check=True, stdout=log, stderr=log)
    return json.loads((folder / "recommendation.json").read_text())


def verdict(found: dict[str, Any], right: Sequence[str]) -> str:
    """What a sweep said, held against those that may be named."""
    if found["tied"]:
        return "tie"
    return "right" if found["label"] in right else "WRONG"


def told(found: dict[str, Any]) -> str:
    return "told" if any("busy" in warning for warning in found["warnings"]) else "not told"


def row(case: str, number: int, found: dict[str, Any], right: Sequence[str]) -> str:
    fps = found["fps"]
    high = "?" if fps["high"] is None else f"{fps['high']:.1f}"
    rate = f"{found['label']}: {fps['rate']:.1f} ({fps['low']:.1f} to {high})"
    return ROW.format(case, number, verdict(found, right), f"{rate}, tied with {len(found['tied'])}", told(found))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--cases", nargs="+", choices=["idle", "busy"], default=["idle", "busy"])
    parser.add_argument("--loops", type=int, default=1, help="busy loops in the case busy")
    parser.add_argument("--out", type=Path, default=Path("build/sweep_trust"))
    parser.add_argument("--more", nargs="*", default=["run.chunks=40"], help="settings of all sweeps")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(
        f"{describe()}\n\n{ROW.format('case', 'try', 'verdict', 'recommended', 'load')}|---|---|---|---|---|\n"
    )
    counts: dict[tuple[str, str], int] = {}
    for case in options.cases:
        right = [EXPECTED]
        if case == "busy":
            reference = sweep(EIGHT, options.more, options.out / "reference")
            right = [reference["label"], *reference["tied"]]
            sys.stdout.write(row("reference", 1, reference, right))
        for number in range(1, options.tries + 1):
            with busy_loops(options.loops if case == "busy" else 0):
                found = sweep(EIGHT if case == "busy" else TWO, options.more, options.out / f"{case}-{number}")
            sys.stdout.write(row(case, number, found, right))
            sys.stdout.flush()
            key = case, verdict(found, right)
            counts[key] = counts.get(key, 0) + 1
    sys.stdout.write(
        "\n" + "".join(f"{case}: {what} {count} of {options.tries}\n" for (case, what), count in counts.items())
    )


if __name__ == "__main__":
    main()
