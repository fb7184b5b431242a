"""Groups that can't be made: the error says why, without delay."""

import pytest

from pp1_orchestrator.errors import MeshError, PeerError
from pp1_orchestrator.transport.rendezvous import make_groups
from tests.timing import stopwatch


@pytest.mark.parametrize("error", [OSError("no memory can be shared"), PeerError("the leader has ended"), ValueError()])
def test_the_reason_is_raised_without_delay(error):
    def fail():
        raise error

    with stopwatch() as watch, pytest.raises(MeshError, match=f"could not be made: {error}"):
        make_groups(fail, dict, 60.0)
    assert watch.within(5)
