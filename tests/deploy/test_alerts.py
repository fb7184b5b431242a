"""Alerts fire on the running program when their cause is there, and only then; their durations are scaled down."""

import json
import os
import shutil
import signal
import urllib.request

import pytest

from deploy.prometheus.rules import rules_page
from tests.deploy.test_live import post
from tests.server.test_prometheus import query, scraping, wait_for
from tests.system.program import running

SCALE = 0.1
SLOW_MESH_S = 8  # longer than PP1StreamStalled's and PP1NotReady's scaled durations, and than 5 s to a prompt's picture
LONGEST_S = 15  # of watching a healthy stream; no scaled `for` is longer than 12 s
pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no Prometheus")


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yml"
    path.write_text(rules_page(SCALE), encoding="utf-8")
    return path


def firing(prometheus: str) -> set[str]:
    """Names of the alerts that fire now; none while Prometheus does not answer yet."""
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
    except OSError:
        return set()
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def wait_for_alerts(prometheus: str, *names: str) -> None:
    """Each has fired at least once; they need not fire at the same time."""
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.update(firing(prometheus))
        return seen >= set(names)

    wait_for(all_seen, lambda: f"{set(names) - seen} never fired; {seen} did")


def test_a_mesh_that_sleeps_and_a_program_that_dies(tmp_path, rules):
    slow = (f"debug.mesh_s={SLOW_MESH_S}", "deadlines.chunk=1", "run.warmup_chunks=0")
    with running("layout=inline", *slow, out=tmp_path / "out") as program:
        program.wait_until_ready()
        with scraping(program.port, tmp_path, rules=rules) as prometheus:
            post(program, "/api/prompt", {"prompt": "a green square moving right on a white background"})
            wait_for_alerts(prometheus, "PP1StreamStalled", "PP1NotReady", "PP1BelowTarget", "PP1PromptLatencyHigh")
            assert "PP1Unreachable" not in firing(prometheus)
            os.killpg(program.process.pid, signal.SIGKILL)
            wait_for_alerts(prometheus, "PP1Unreachable")


def test_a_mesh_rank_that_is_killed(tmp_path, rules):
    with running("layout=cpu", "run.warmup_chunks=0", "supervision.restarts=0", out=tmp_path / "out") as program:
        program.wait_until_ready()
        with scraping(program.port, tmp_path, rules=rules) as prometheus:
            wait_for(lambda: query(prometheus, "min(pp1_rank_up) == 1"))
            assert "PP1Unreachable" not in firing(prometheus)
            mesh = [process for process in program.family()[1:] if "spawn_main" in " ".join(process.cmdline())]
            mesh[-1].kill()
            wait_for_alerts(prometheus, "PP1Unreachable")  # no restart is allowed: the program ends
            assert program.process.wait(20) != 0


def test_a_healthy_stream_is_silent(tmp_path, rules):
    with running("layout=inline", "stream.fps=8", "run.warmup_chunks=2", out=tmp_path / "out") as program:
        program.wait_until_ready()
        with scraping(program.port, tmp_path, rules=rules) as prometheus:
            watched = f"count_over_time(instance:pp1_fps_of_target:ratio[{LONGEST_S}s:1s]) >= {LONGEST_S}"
            wait_for(lambda: query(prometheus, watched))
            ever = f'max_over_time((count(ALERTS{{alertstate="firing"}}))[{2 * LONGEST_S}s:500ms])'
            assert query(prometheus, ever) == [], query(prometheus, "ALERTS")
