"""One benchmark of two checkouts in turns, so that both see the same machine: before a change and after it.

    python -m benchmarks.in_turns --before ../old --rounds 2 -- kernels --case 14B-320x576 --way captured

After `--` stand a benchmark's name and its arguments. Of each run the lines that `--show` matches are printed.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def runs(before: Path, rounds: int, command: Sequence[str], show: str) -> Iterator[tuple[str, int, str]]:
    """Which checkout, which round and the matching lines, run after run. Raises CalledProcessError when one fails."""
    for turn in range(1, rounds + 1):
        for name, folder in (("before", before), ("after", HERE)):
            words = [sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:]]
            done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
            yield name, turn, "\n".join(line for line in done.stdout.splitlines() if re.search(show, line))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--show", default="ms per chunk|^\\| (attention|products|copies|the rest|cpu|inline) ")
    parser.add_argument("command", nargs="+", metavar="BENCHMARK ARGUMENT")
    options = parser.parse_args(words)
    for name, turn, lines in runs(options.before, options.rounds, options.command, options.show):
        sys.stdout.write(f"== {name}, round {turn}\n{lines}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
