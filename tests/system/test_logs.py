"""What a whole run logs, on every rank: lines for programs, and nothing that is private."""

import json
import os
import signal

import pytest

from tests.system.program import Running, running

TOKEN, FIRST, SECOND = "a-token-of-the-logs", "a private red unicorn", "a private green dragon"
CHOICES = (
    "layout=cpu", "stream.height=64", "stream.width=64", "run.warmup_chunks=0", "routing=mesh_encoder",
    f"serving.token={TOKEN}", f"run.prompt={FIRST}", "supervision.pauses_s=[0]",
)  # fmt: skip


def live_through_it(program: Running) -> None:
    """A prompt, a killed follower and its mesh's restart, a stop."""
    program.wait_until(lambda: state(program) == "ready")
    leader = pid_of(program, "1")
    program.post("/api/prompt", {"prompt": SECOND}, TOKEN)
    os.kill(pid_of(program, "2"), signal.SIGKILL)
    program.wait_until(lambda: pid_of(program, "1") != leader and state(program) == "ready")
    program.interrupt()
    assert program.process.wait(240) == 0, program.log


def state(program):
    return program.state(TOKEN)["state"] if program.get("/healthz")[0] == 200 else None


def pid_of(program, rank):
    return program.state(TOKEN)["ranks"][rank]["pid"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Everything that all ranks wrote in such a run."""
    out = tmp_path_factory.mktemp("logged") / "out"
    with running(*CHOICES, "log.format=json", out=out) as program:
        live_through_it(program)
        return program.log, out


def lines_of(told):
    return [json.loads(line) for line in told[0].splitlines()]


def test_every_line_is_an_object_with_its_place(told):
    for line in lines_of(told):
        assert {"time", "level", "logger", "rank", "pid", "message"} <= line.keys()


def test_every_rank_of_both_meshes_tells_its_place(told):
    meshes = {(line["rank"], line["generation"], line["pid"]) for line in lines_of(told) if line["rank"] > 0}
    assert sorted((rank, generation) for rank, generation, _ in meshes) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_rank_0_tells_of_updates_by_id_and_of_the_new_generation(told):
    lines = lines_of(told)
    assert [line["update"] for line in lines if line["message"].endswith("is accepted")] == ["u1", "u2"]
    assert [line["generation"] for line in lines if line["message"] == "mesh generation 1 is up"] == [1]


def test_nothing_private_is_in_any_log(told):
    text, out = told
    logged = text + "".join(path.read_text() for path in out.rglob("*.log"))
    assert "is accepted" in logged
    assert [secret for secret in (TOKEN, FIRST, SECOND) if secret in logged] == []
