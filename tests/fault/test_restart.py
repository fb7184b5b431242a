"""A mesh rank of the running program is killed: the stream comes back, with everything that rank 0 had."""

import contextlib
import os
import re
import signal

import psutil
import pytest

from tests.fault.event_listener import EventListener
from tests.system.program import running

PROMPT = "a green square moving right on a yellow background"
CHOICES = (
    "layout=cpu",
    "layout.mesh_ranks=2",
    "supervision.restarts=100",
    "supervision.pauses_s=[0.3]",
    "stream.height=64",
    "stream.width=64",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with running(*CHOICES, out=tmp_path_factory.mktemp("restart") / "out") as program:
        program.wait_until_ready()
        with contextlib.closing(EventListener(program)) as ear:
            yield program, ear


def metric(program, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", program.get("/metrics")[1], re.M)
    assert found, name
    return float(found[1])


def pids(program):
    return {rank: facts["pid"] for rank, facts in program.state()["ranks"].items()}


def until_back(program, ear, generations):
    """Wait until another mesh is up and shows chunks."""
    program.wait_until(lambda: len(ear.of("restarted")) > generations)
    program.wait_until_ready()
    program.wait_until(lambda: ear.probes[-1].status == 200)


@pytest.mark.parametrize("rank", ["1", "2"])
def test_a_killed_rank_costs_a_pause_and_nothing_else(live, rank):
    program, ear = live
    program.post("/api/prompt", {"prompt": PROMPT})
    program.wait_until(lambda: program.state()["prompt"] == PROMPT)
    program.post("/api/control", {"action": "seed", "value": 7})
    program.wait_until(lambda: program.state()["seed"] == 7)
    program.wait_until_ready()
    before, old, generations = program.state(), pids(program), len(ear.of("restarted"))
    deaths = metric(program, 'pp1_mesh_restarts_total{reason="death"}')
    probes = len(ear.probes)
    os.kill(old[rank], signal.SIGKILL)
    until_back(program, ear, generations)
    after, new = program.state(), pids(program)
    assert (after["prompt"], after["seed"], after["state"]) == (PROMPT, 7, "ready")
    assert after["epoch"] == before["epoch"] + 1
    assert after["chunk"] > before["chunk"]
    assert new["0"] == old["0"]
    assert not {old["1"], old["2"]} & {new["1"], new["2"]}
    assert not any(psutil.pid_exists(old[r]) for r in ("1", "2"))
    assert metric(program, 'pp1_mesh_restarts_total{reason="death"}') == deaths + 1
    assert metric(program, 'pp1_state{state="ready"}') == 1
    statuses = [probe.status for probe in ear.probes[probes:]]
    assert 503 in statuses
    assert statuses[-1] == 200
    told = ear.of("restarting")[-1]
    assert told["reason"] == "death"
    assert re.fullmatch(r"rank [12] ended with exit code -?\d+", told["text"])
    assert ear.of("epoch")[-1]["reason"] == "restart"
