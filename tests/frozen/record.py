"""Records today's behaviour anew: `python -m tests.frozen.record [PART …]`; `git diff` then shows what has changed.

PART: digests, bench, serve, settings, wire; all of them by default.
"""

import os
import sys
import tempfile
from pathlib import Path

from . import capture, expected, internals
from .capture import Texts

PARTS = ("digests", "bench", "serve", "settings", "wire")


def main(parts: list[str]) -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # as in tests
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"digests", "bench"} & set(parts):
            of_bench, texts = capture.bench(folder)
            if "bench" in parts:
                replace("bench/", texts)
            if "digests" in parts:
                values = capture.digest_values(capture.strategies(folder), of_bench)
                expected.write_digests(internals.machine_key(), values)
        if "serve" in parts:
            replace("serve/", capture.serve(folder))
        if "settings" in parts:
            replace("settings/", capture.settings(folder))
        if "wire" in parts:
            replace("wire.json", capture.wire())


def replace(part: str, texts: Texts) -> None:
    for name in expected.names(part) - texts.keys():
        (expected.FOLDER / name).unlink()
    for name, text in texts.items():
        expected.write(name, text)


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    main(chosen)
