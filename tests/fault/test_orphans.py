"""kill -9 of rank 0: nothing of the run is left, whatever its mesh was doing."""

import signal

import psutil
import pytest

from tests.system.program import is_listening, running
from tests.timing import scaled

GONE_S = 5
"""On an idle machine."""


def busy(program):
    return program.get("/readyz")[0] == 200


def loading(program):
    return len(mesh_of(program)) == 2


def mesh_of(program):
    """The processes of the mesh: those that multiprocessing's helper has forked."""
    return [p for helper in program.family()[0].children() for p in helper.children()]


@pytest.mark.parametrize("when", [loading, busy])
def test_the_mesh_ends_with_rank_0(tmp_path, when):
    with running("layout=cpu", "layout.mesh_ranks=2", out=tmp_path / "out") as program:
        program.wait_until(lambda: when(program))
        family = program.family()
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
        _, left = psutil.wait_procs(family[1:], timeout=scaled(GONE_S))
        assert [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
        assert not is_listening(program.port)
