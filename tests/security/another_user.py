"""Does things as another user of this machine, in a process of its own."""

import json
import os
from collections.abc import Callable
from typing import Any

OTHER = 65534
"""A user and a group that own nothing."""


def can_change_user() -> bool:
    return os.geteuid() == 0


def as_another_user(act: Callable[[], Any]) -> Any:
    """What `act` returns there, which JSON must be able to hold. A process that this one forks does it."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        code = 1
        try:
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
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(answer)
