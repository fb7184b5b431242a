"""What the leader records between chunks."""

from itertools import pairwise

import msgspec

from pp1_orchestrator.contract import Action
from pp1_orchestrator.telemetry.spans import TracePart
from tests.config.test_conf import settings
from tests.fault.bare_mesh import exit_codes, first_envelope, mesh, message
from tests.fault.faulty_stream import MESH

TRACED = settings("run=bench", *MESH, "layout.mesh_ranks=1", "trace=true")


def test_heartbeats_do_not_fill_the_trace_with_waits_that_overlap(tmp_path):
    with mesh(TRACED, folder=tmp_path) as (made, link):
        for call_id in (1, 2, 3):
            link.send(message(Action.NOOP, call_id))
        link.send(first_envelope(call_id=4))
        assert link.receive().message.meta.ok
        link.send(message(Action.SHUTDOWN, 5))
        assert exit_codes(made) == {0}
    (path,) = tmp_path.glob("trace-rank1-*.json")
    waits = [span for span in msgspec.json.decode(path.read_bytes(), type=TracePart).spans if span.phase == "wait"]
    assert 4 in [span.ids["call_id"] for span in waits]
    assert all(before.end_ns <= after.start_ns for before, after in pairwise(waits))
