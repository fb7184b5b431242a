"""Every expression of the dashboards, asked of a real Prometheus that scrapes the running program."""

import json
import math
import shutil
import urllib.request

import pytest

from deploy.__main__ import ROOT
from tests.server.test_prometheus import query, scraping, wait_for
from tests.system.program import Running, running

BOARDS = sorted((ROOT / "deploy/grafana/json").glob("*.json"))
RULES = ROOT / "deploy/prometheus/rules.yml"
pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no Prometheus")


def expressions() -> dict[str, str]:
    """Expressions by dashboard, panel and query, annotations too."""
    found = {}
    for path in BOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found[f"{path.stem} / {panel['title']} / {target['refId']}"] = target["expr"]
        for mark in board["annotations"].get("list", []):
            found[f"{path.stem} / marks: {mark['name']}"] = mark["expr"]
    return found


def post(program: Running, path: str, body: dict) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{program.port}{path}",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status in (200, 202)


def has_data(prometheus: str, expression: str) -> bool:
    """At least one series, and a number in it."""
    return any(math.isfinite(float(row["value"][1])) for row in query(prometheus, expression))


def labels(prometheus: str, expression: str, name: str) -> set[str]:
    return {row["metric"][name] for row in query(prometheus, expression)}


def test_every_panel_has_data_and_no_alert_is_near(tmp_path):
    with (
        running("layout=inline", "run.warmup_chunks=2", out=tmp_path / "out") as program,
        scraping(program.port, tmp_path, rules=RULES) as prometheus,
    ):
        program.wait_until_ready()
        wait_for(lambda: query(prometheus, 'rate(pp1_frames_total{job="pp1"}[30s]) > 0'))
        post(program, "/api/prompt", {"prompt": "a green square moving right on a white background"})
        post(program, "/api/control", {"action": "hard_cut"})
        stream = f"127.0.0.1:{program.port}"
        missing = expressions()
        assert len(missing) > 25

        def all_have_data() -> bool:
            for name, expression in list(missing.items()):
                if has_data(prometheus, expression.replace("$instance", stream).replace("$__rate_interval", "30s")):
                    del missing[name]
            return not missing

        wait_for(all_have_data, lambda: missing)
        happened = {"accepted", "applied", "visible"}  # the scrape that tells of the last may be yet to come
        wait_for(lambda: happened <= labels(prometheus, "pp1_prompt_updates_total > 0", "outcome"))
        wait_for(lambda: labels(prometheus, "pp1_epochs_total > 0", "reason") == {"requested"})
        wait_for(lambda: query(prometheus, "instance:pp1_fps_of_target:ratio"))
        # Not even pending, but for those that depend on how fast this machine is.
        speed = "PP1BelowTarget|PP1PromptLatencyHigh|PP1FramesDropped"
        wait_for(lambda: query(prometheus, f'(count(ALERTS{{alertname!~"{speed}"}}) or vector(0)) == 0'))
