"""`python -m tests.fuzz TARGET [--seconds N] [--engine E]`. Findings and new inputs stay in build/fuzz/TARGET.

Exit codes: 0 nothing was found, 1 something was.
"""

import argparse
import logging
import os
import secrets
import sys
from pathlib import Path

from tests.fuzz import engines

ENGINES = {"atheris": engines.fuzz_with_atheris, "hypothesis": engines.fuzz_with_hypothesis}


def main() -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.getLogger("pp1_orchestrator").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=engines.NAMES)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=ENGINES, default="atheris" if engines.has_atheris() else "hypothesis")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    seed = options.seed or secrets.randbelow(1 << 31)
    return ENGINES[options.engine](options.target, options.seconds, (options.folder / options.target).resolve(), seed)


if __name__ == "__main__":
    sys.exit(main())
