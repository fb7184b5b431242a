"""Of two ranks that end almost together, the one is named that the other only missed, in whatever order it is seen."""

from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.supervision import mesh_watchdog as watching
from pp1_orchestrator.transport.response_timer import ResponseTimer
from tests.fault.exiting_ranks import EXIT_CODE, LATER_S, MET, RANKS, leader_first
from tests.system.in_process import make_settings

WAIT_S = 240


def test_the_rank_that_was_missed_is_named_though_it_is_seen_to_end_later(tmp_path, monkeypatch):
    assert LATER_S < watching.GRACE_S
    monkeypatch.setattr(watching, "GRACE_S", WAIT_S)  # a busy machine may take longer
    settings, config = make_settings("layout=cpu", f"layout.mesh_ranks={RANKS}")
    mesh = SpawnedLayout(settings, config, leader_first).start(tmp_path, 0)
    try:
        mesh.connect()
        (tmp_path / MET).touch()
        guard = watching.MeshWatchdog(mesh, ResponseTimer(usual_s=WAIT_S, longest_s=WAIT_S, warm=0), None)
        guard.close(WAIT_S)
        assert guard.failure is not None
        assert (guard.failure.reason, guard.failure.text) == ("death", f"rank 2 ended with exit code {EXIT_CODE}")
    finally:
        mesh.stop(None, 0.0)
