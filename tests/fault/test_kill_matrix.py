"""A mesh rank is killed at every moment of its life: seen at once, told at once, and the stream comes back.

The moments and what is measured are `benchmarks.chaos`'s.
"""

import pytest

from benchmarks.chaos.mesh_faults import PHASES, false_ready, outcome
from benchmarks.chaos.scene import scene
from benchmarks.chaos.shutdowns import kill_while_draining
from tests.fault.event_listener import Probe
from tests.timing import stopwatch

DETECTED_S, STATUS_S, RESUMED_S, DRAINED_S = 1.0, 2.0, 15.0, 10.0
"""On an idle machine; what a start takes is compared with the first one's."""


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with scene(tmp_path_factory.mktemp("matrix") / "out") as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "rank"),
    [("load", 2), ("handshake", 1), ("handshake", 2), ("first chunk", 1), ("first chunk", 2), ("steady", 1)],
)
def test_a_killed_rank_costs_a_pause_whatever_it_was_doing(live, phase, rank):
    live.settle()
    with stopwatch() as watch:
        found = outcome(live, PHASES[phase](live, rank))
    assert found.detected_s <= DETECTED_S * watch.scale
    assert found.status_s <= STATUS_S * watch.scale
    assert found.again_s <= max(RESUMED_S, live.start_s) * watch.scale
    assert found.kept
    assert found.orphans == 0
    assert found.false_ready == 0
    assert found.words.startswith(f"rank {rank} ended with exit code -9")


@pytest.mark.slow
def test_restarts_leave_nothing_behind(live):
    """Whatever was killed before, or one more kill where this test is the only one."""
    live.settle()
    outcome(live, PHASES["steady"](live, 1))
    once = live.usage()
    found = outcome(live, PHASES["steady"](live, 2)).after
    assert (found.fds, found.threads) == (once.fds, once.threads)


@pytest.mark.slow
def test_a_rank_that_is_killed_while_the_stream_ends_changes_nothing(tmp_path):
    with scene(tmp_path / "out") as ending, stopwatch() as watch:
        found = kill_while_draining(ending, 2)
    assert found.exit_code == 0, ending.program.log
    assert found.gone_s <= DRAINED_S * watch.scale
    assert found.left == []
    assert not found.listening


def test_a_probe_that_says_ready_without_chunks_is_counted():
    """The matrix can fail."""
    good = [Probe(float(n), 200, n, n + 0.1) for n in range(5)]
    assert false_ready(good, deadline_s=2) == 0
    assert false_ready([*good, Probe(9.0, 503, 4, 9.1), Probe(9.5, 200, 4, 9.6)], deadline_s=2) == 1
