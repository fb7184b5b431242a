"""Does things as another user of this machine, in a process of its own."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

OTHER = 65534
"""A user and a group that own nothing."""


def can_change_user() -> bool:
    return os.geteuid() == 0


def as_another_user(act: Callable[[], Any], limit_s: int = 240) -> Any:
    """What `act` returns there, which JSON must be able to hold; None if it takes longer than limit_s.

    A process that this one forks does it.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the test runner may have a handler
            signal.alarm(limit_s)
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            with os.fdopen(writes, "w") as told:
                json.dump(act(), told)
            code = 0
        finally:
            os._exit(code)
    os.close(writes)
    with os.fdopen(reads) as told:
        answer = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGALRM)
    return None if code else json.loads(answer)
