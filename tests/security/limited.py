"""Stands for the program where the system allows little. `environment` says how little, in variables of its own."""

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from pp1_orchestrator.__main__ import main

MODULE, VARIABLE = __name__, "PP1_TEST_LIMITS"


def environment(limits: Mapping[str, tuple[int, int]], cgroup: Path | None = None) -> dict[str, str]:
    """For a program with this as its module. limits: soft and hard, by their names in `resource`."""
    told = {"limits": dict(limits), "cgroup": cgroup and str(cgroup)}
    return os.environ | {VARIABLE: json.dumps(told)}


if __name__ == "__main__":
    told = json.loads(os.environ[VARIABLE])
    if told["cgroup"]:
        Path(told["cgroup"], "cgroup.procs").write_text(str(os.getpid()))
    for name, limit in told["limits"].items():
        resource.setrlimit(getattr(resource, name), limit)
    sys.exit(main())
