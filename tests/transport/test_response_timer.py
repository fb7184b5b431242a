"""How long an answer may take on a busy machine."""

import os
import subprocess
import sys
import threading
import time

import pytest

from pp1_orchestrator.transport.response_timer import ResponseTimer, queued_s

SPIN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


def test_time_without_a_processor_does_not_count():
    queued = iter((5.0, 8.0, 6.0))
    timer = ResponseTimer(usual_s=4.0, longest_s=30.0, warm=0, queued_s=lambda _: next(queued))
    timer.record(0.1)
    with timer.timed():
        began = time.monotonic()
        assert timer.overdue(began + 3.0) is None  # not late: nothing is asked
        assert timer.overdue(began + 4.5) is None  # three of them in the queue
        late = timer.overdue(began + 5.5)
    assert late is not None
    assert late.waited_s == pytest.approx(4.5, abs=0.1)


def test_a_thread_that_shares_its_processor_is_seen_to_wait():
    if queued_s(threading.get_native_id()) == 0.0:
        pytest.skip("this kernel does not count it")
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    other = subprocess.Popen([sys.executable, "-c", SPIN, str(core)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        os.sched_setaffinity(0, {core})
        thread = threading.get_native_id()
        before, cpu_s = queued_s(thread), time.thread_time() + 0.1
        while time.thread_time() < cpu_s:
            pass
        assert queued_s(thread) > before + 0.02
    finally:
        os.sched_setaffinity(0, allowed)
        other.kill()
        other.communicate()
