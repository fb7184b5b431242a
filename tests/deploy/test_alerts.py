"""Every alert fires on a running stream when its cause is there, and none does while the stream is well."""

import os
import re
import signal

import pytest

from deploy.__main__ import ROOT
from tests.deploy.prometheus import wait_for

pytestmark = pytest.mark.slow

PROMPT = "a green square moving right on a white background"
MESH_IS_LOST = {"PP1RankDown", "PP1MeshRestarting", "PP1NotReady", "PP1StreamStalled", "PP1BelowTarget"}
PROMPT_WAITED = {"PP1PromptLatencyHigh"}
PROGRAM_DIED = {"PP1Unreachable"}
SPEED = {"PP1StreamStalled", "PP1BelowTarget"}  # a busy machine may cause them before the test does
PARTS_LOSE = {"PP1FramesDropped", "PP1SlowViewers", "PP1PromptsFail", "PP1MediaDown"}
LONGEST_S = 15  # of watching a stream that is well; no scaled `for` is longer than 12 s


def wait_for_alerts(prometheus, port, names):
    """Each has fired at least once; they need not fire at the same time."""
    wait_for(lambda: prometheus.fired(port) >= names, lambda: names - prometheus.fired(port))


@pytest.fixture
def seen(watched):
    """All streams have been scraped for a while, and nothing fires."""
    prometheus, streams = watched.prometheus, (watched.well, watched.ill, watched.station)
    for stream in streams:
        wait_for(
            lambda port=stream.port: prometheus.query(f'rate(pp1_frames_total{{instance="127.0.0.1:{port}"}}[6s])')
        )
    return watched


def test_every_alert_has_its_fault_here():
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")))
    assert alerts == MESH_IS_LOST | PROMPT_WAITED | PROGRAM_DIED | PARTS_LOSE


def test_parts_that_lose_frames_and_prompts(seen):
    prometheus, station = seen.prometheus, seen.station
    assert prometheus.fired(station.port) == set()
    station.produce_too_fast()
    station.watch_without_reading()
    station.ask_for_a_prompt()
    station.lose_media_process()
    wait_for_alerts(prometheus, station.port, PARTS_LOSE)
    assert prometheus.fired(station.port) == PARTS_LOSE


def test_a_mesh_that_dies_again_and_again_and_a_program_that_dies(seen):
    """Two restarts at once, a third after a pause in which a prompt waits; then rank 0 is killed."""
    prometheus, program = seen.prometheus, seen.ill
    assert prometheus.fired(program.port) <= SPEED
    killed = set()
    for _ in range(3):
        program.wait_until(lambda: program.state()["ranks"]["1"]["pid"] not in killed)
        leader = program.state()["ranks"]["1"]["pid"]
        os.kill(leader, signal.SIGKILL)
        killed.add(leader)
    program.wait_until(lambda: program.state()["ranks"]["1"]["state"] == "down")
    program.post("/api/prompt", {"prompt": PROMPT})
    wait_for_alerts(prometheus, program.port, MESH_IS_LOST)
    assert not prometheus.fired(program.port) & PROGRAM_DIED
    program.wait_until(lambda: program.state()["prompt"] == PROMPT)
    wait_for_alerts(prometheus, program.port, PROMPT_WAITED)
    os.killpg(program.process.pid, signal.SIGKILL)
    wait_for_alerts(prometheus, program.port, PROGRAM_DIED)


def test_a_stream_that_is_well_is_silent(seen):
    """A machine that is too busy for any stream may make it slow for a while, nothing else."""
    prometheus, port = seen.prometheus, seen.well.port
    ratio = f'instance:pp1_fps_of_target:ratio{{instance="127.0.0.1:{port}"}}'
    watched = f"count_over_time({ratio}[{LONGEST_S}s:1s]) >= {LONGEST_S}"
    wait_for(lambda: prometheus.query(watched) and not prometheus.fired(port, f"{LONGEST_S}s"))
    assert prometheus.fired(port) <= SPEED
