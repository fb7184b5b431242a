"""What takes long is told ever more rarely, and what ends soon is not."""

import logging
import threading
import time

import pytest

from pp1_orchestrator.processes.progress import progress


def progress_threads() -> int:
    return sum(thread.name == "progress" for thread in threading.enumerate())


def test_what_takes_long_is_told_until_it_ends(caplog):
    caplog.set_level(logging.INFO)
    with progress("compiling", first_s=0.01):
        end = time.monotonic() + 30
        while len(caplog.messages) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert progress_threads() == 1
    assert progress_threads() == 0
    assert len(caplog.messages) >= 3
    assert all(line.startswith("compiling: ") and line.endswith(" s so far") for line in caplog.messages)


def test_what_ends_soon_is_not_told(caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="failed"), progress("loading", first_s=60):
        raise ValueError("failed")
    assert (caplog.messages, progress_threads()) == ([], 0)
