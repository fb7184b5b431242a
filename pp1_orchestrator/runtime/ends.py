"""Acts at the first end of one of several processes, while something is waited for that can't look at them itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess


@contextmanager
def at_first_end(processes: Iterable[BaseProcess], act: Callable[[], None]) -> Iterator[None]:
    """Inside, `act` is called as soon as any of the processes ends, from a thread; afterwards it is not."""
    sentinels = [process.sentinel for process in processes]
    leaving, left = os.pipe()

    def watch() -> None:
        if leaving not in wait([leaving, *sentinels]):
            act()

    thread = threading.Thread(target=watch, name="end-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(left)
        thread.join()
        os.close(leaving)
