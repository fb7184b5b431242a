"""Random schedules of kills, stops, cuts, seeds, pauses, timelines, clips and viewers: what must hold after each.

`python -m benchmarks.chaos --schedules 200` plays more of them.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.chaos.scene import scene
from benchmarks.chaos.schedules import Played, broken, open_updates, play, unpaused
from tests.fault.event_listener import Probe
from tests.system.program import is_listening, shared_memory

SEEDS = range(8)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """One program for all schedules; afterwards nothing of it is left."""
    folder, memory = tmp_path_factory.mktemp("chaos") / "out", shared_memory()
    with scene(folder) as found:
        yield found
        assert found.end() == (0, [])
        assert not is_listening(found.program.port)
    assert shared_memory() <= memory
    assert "Traceback" not in folder.with_suffix(".log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_after_a_random_schedule(live, seed):
    live.settle()
    played = play(live, seed)
    assert broken(live, played) == [], played.acts


def test_what_breaks_an_invariant_is_found():
    """The schedules can fail."""
    events = [
        {"id": 1, "event": "accepted", "update": "u1"},
        {"id": 2, "event": "accepted", "update": "u2"},
        {"id": 3, "event": "visible", "update": "u2"},
    ]
    assert open_updates(events) == {"u1"}
    state = {"prompt": "another"}
    program = SimpleNamespace(state=lambda: state, family=lambda: [1, 2], get=lambda _: (200, "…_total 1.0"))
    silent = [Probe(float(second), 200, 5, second + 0.1) for second in range(9)]
    ear = SimpleNamespace(events=[*events, {"id": 5, "event": "visible", "update": "u2"}], probes=silent)
    live: Any = SimpleNamespace(program=program, ear=ear, watcher=SimpleNamespace(connected=False))
    assert len(broken(live, Played(seed=0, events=0, probes=0, processes=1, last="the last"))) == 8


def test_a_pause_needs_no_chunks():
    pause, resume = (
        {"event": "control", "action": act, "heard_s": at} for act, at in (("pause", 1.0), ("resume", 5.0))
    )
    probes = [Probe(float(second), 200, 5, second + 0.1) for second in range(8)]
    numbers = [probe.chunk for probe in unpaused(probes, [pause, resume])]
    assert [number == 5 for number in numbers] == [True, False, False, False, False, False, True, True]
