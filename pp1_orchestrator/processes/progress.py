"""Says what takes long, in short log lines that come ever more rarely. Knows nothing of what it is."""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Generator

FIRST_S = 5.0
log = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(what: str, first_s: float = FIRST_S) -> Generator[None]:
    """Log `what` and its seconds after `first_s`, after twice that, four times that … while the block runs."""
    start, ended = time.monotonic(), threading.Event()

    def tell() -> None:
        for after_s in (first_s * 2**doubling for doubling in itertools.count()):
            if ended.wait(start + after_s - time.monotonic()):
                return
            log.info("%s: %.0f s so far", what, time.monotonic() - start)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
