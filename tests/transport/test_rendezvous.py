"""Groups that can't be made: whoever waits is told why, and soon."""

import pytest

from pp1_orchestrator.errors import MeshError, PeerError
from pp1_orchestrator.transport.rendezvous import make_groups
from tests.timing import stopwatch


@pytest.mark.parametrize("error", [OSError("no memory can be shared"), PeerError("the leader has ended"), ValueError()])
def test_the_reason_is_told_at_once(error):
    def fail():
        raise error

    with stopwatch() as watch, pytest.raises(MeshError, match=f"could not be made: {error}"):
        make_groups(fail, dict, 60.0)
    assert watch.within(5)
