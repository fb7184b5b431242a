"""Little memory, few processes and threads: one line and exit code 2 or 1, or a lost rank that is replaced."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pp1_orchestrator.processes.resource_limits import LEAST_ADDRESS_SPACE_KB, shortage
from tests.deploy.prometheus import wait_for
from tests.fault.test_restart import pids
from tests.security import limited
from tests.system.program import Running, running

SMALL = ("stream.height=64", "stream.width=64")
CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def cgroup(kind: str, file: str, value: str) -> Iterator[Path]:
    """A control group of version 1 with this limit, if this process may make one."""
    path = CGROUPS / kind / f"pp1-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / file).write_text(value)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        yield path
    finally:
        wait_for(lambda: not (path / "cgroup.procs").read_text(), lambda: f"{path} is in use")
        path.rmdir()


def said(program: Running, code: int) -> str:
    """What a program says that has to end with this code, and in a few lines."""
    assert program.process.wait(240) == code, program.log
    assert "Traceback" not in program.log
    return program.log


@pytest.mark.parametrize("allowed_kb", [LEAST_ADDRESS_SPACE_KB // 2, LEAST_ADDRESS_SPACE_KB - 1])
def test_too_little_address_space_is_one_line(tmp_path, allowed_kb):
    limits = {"RLIMIT_AS": (allowed_kb * 1024, allowed_kb * 1024)}
    with running(
        "run=bench", out=tmp_path / "out", module=limited.MODULE, environment=limited.environment(limits)
    ) as p:
        assert said(p, 2).splitlines()[-1] == (
            f"configuration error: ulimit -v: {allowed_kb} KB of address space are too few; "
            f"at least {LEAST_ADDRESS_SPACE_KB} KB must be allowed"
        )


@pytest.mark.slow
def test_just_enough_address_space_is_enough(tmp_path):
    limits = {"RLIMIT_AS": (LEAST_ADDRESS_SPACE_KB * 1024, LEAST_ADDRESS_SPACE_KB * 1024)}
    words = (*SMALL, "layout=inline", "run=bench", "run.chunks=3")
    with running(*words, out=tmp_path / "out", module=limited.MODULE, environment=limited.environment(limits)) as p:
        said(p, 0)


@pytest.mark.slow
def test_no_thread_beside_the_main_one_is_one_line(tmp_path):
    """RLIMIT_NPROC does not hold for root; this limit has the same effect. A few more, and torch's own code aborts."""
    words = (*SMALL, "layout=cpu", "run=bench", "run.chunks=3")
    with (
        cgroup("pids", "pids.max", "3") as group,
        running(*words, out=tmp_path / "out", module=limited.MODULE, environment=limited.environment({}, group)) as p,
    ):
        assert "failed: the system gives this process no more memory, threads or processes" in said(p, 1)


def test_a_rank_that_gets_no_more_memory_is_replaced(tmp_path):
    """The kernel kills it: its group may not have a page more."""
    words = (*SMALL, "layout=cpu", "layout.mesh_ranks=1", "supervision.restarts=3", "supervision.pauses_s=[0]")
    with running(*words, out=tmp_path / "out") as program:
        program.wait_until_ready()
        old = pids(program)["1"]
        with cgroup("memory", "memory.limit_in_bytes", "4096") as group:
            (group / "cgroup.procs").write_text(str(old))
            program.wait_until(lambda: pids(program)["1"] != old)
            program.wait_until_ready()
        assert "rank 1 ended with exit code -9" in program.log
        assert program.state()["epoch"] == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        BlockingIOError(11, "Resource temporarily unavailable"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_each_form_of_shortage_is_told_as_one(error):
    assert str(shortage(error)).startswith("the system gives this process no more memory, threads or processes (")
    assert shortage(ValueError("anything else")) is None
