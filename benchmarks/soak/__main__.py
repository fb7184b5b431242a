"""Serves for many chunks while viewers come and go and prompts change. Reports whether any process grows.

python -m benchmarks.soak --chunks 2000
python -m benchmarks.soak --chunks 200 --leak fd    # with a leak on purpose: must end with exit code 1
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.soak.growth import grown, slope_mb
from benchmarks.soak.leaking import LEAKS
from benchmarks.soak.run import soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--warmup", type=int, default=400, help="chunks before the first sample that counts")
    parser.add_argument("--leak", choices=sorted(LEAKS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ranks = soak(Path(folder) / "out", options.warmup, options.chunks, options.leak)
    sys.stdout.write(f"{describe()}; {options.chunks} chunks after {options.warmup}\n\n")
    sys.stdout.write(
        "| rank | MB for each 1000 chunks | fds | threads | children | grown |\n|---|---|---|---|---|---|\n"
    )
    faults = 0
    for rank, samples in ranks.items():
        first, last, found = samples[0], samples[-1], grown(samples)
        faults += len(found)
        counts = " | ".join(
            f"{getattr(first, name)} → {getattr(last, name)}" for name in ("fds", "threads", "children")
        )
        sys.stdout.write(f"| {rank} | {slope_mb(samples):.2f} | {counts} | {'; '.join(found) or 'nothing'} |\n")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
