"""The program with leaks on purpose, to check that a soak finds them. PP1_LEAK names them, separated by commas.

`python -m benchmarks.soak.leaking` takes the program's own arguments.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pp1_orchestrator.__main__ import main

EVERY_S = 1.0
VARIABLE = "PP1_LEAK"
LEAKS: Mapping[str, Callable[[], Any]] = {
    "memory": lambda: bytearray(os.urandom(1 << 20)),
    "fd": lambda: open(os.devnull),  # noqa: SIM115 - it is never closed, on purpose
    "thread": lambda: threading.Thread(target=threading.Event().wait, daemon=True).start(),
    "process": lambda: subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE),
}


def leak(kinds: Sequence[str]) -> None:
    """Leak one more of each every second, without end."""
    kept: list[Any] = []
    while True:
        kept += [LEAKS[kind]() for kind in kinds]
        time.sleep(EVERY_S)


if __name__ == "__main__":
    threading.Thread(target=leak, args=(os.environ[VARIABLE].split(","),), daemon=True).start()
    sys.exit(main())
