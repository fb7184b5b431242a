"""Every metric and every expression of the dashboards, asked of a real Prometheus that scrapes the running program."""

import json
import math

import pytest

from deploy.__main__ import ROOT
from tests.deploy.prometheus import Prometheus, wait_for

pytestmark = pytest.mark.slow

BOARDS = sorted((ROOT / "deploy/grafana/json").glob("*.json"))
APPLY = {
    "pp1_phase_seconds_count", "pp1_chunk_period_seconds_count", "pp1_vram_bytes", "pp1_host_memory_bytes",
    "pp1_overlap_score",
    "pp1_prompt_to_pixels_seconds_count", "pp1_prompt_to_pixels_chunks_count", "pp1_frames_total",
    "pp1_frames_dropped_total", "pp1_queue_depth", "pp1_cache_epoch", "pp1_viewers", "pp1_rank_up",
    "pp1_mesh_restarts_total", "pp1_target_fps", "pp1_epochs_total", "pp1_prompt_updates_total", "pp1_wire_bytes_total",
    "pp1_ready", "pp1_paused", "pp1_cpu_seconds_total", "pp1_results_repeated_total", "pp1_build_info",
}  # fmt: skip


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


def has_data(prometheus: Prometheus, expression: str) -> bool:
    """At least one series, and a number in it."""
    return any(math.isfinite(float(row["value"][1])) for row in prometheus.query(expression))


def test_every_metric_that_applies_has_a_sample(watched):
    prometheus, program = watched.prometheus, watched.well
    stream = f'instance="127.0.0.1:{program.port}"'
    wait_for(lambda: prometheus.labels(f'{{__name__=~"pp1_.*",{stream}}}', "__name__") >= APPLY)
    wait_for(lambda: prometheus.query(f"pp1_frames_total{{{stream}}} > 50"))
    assert prometheus.labels(f"pp1_rank_up{{{stream}}} == 1", "rank") == set(program.state()["ranks"])
    assert "frames" in prometheus.labels(f"pp1_queue_depth{{{stream}}}", "queue")
    wait_for(lambda: prometheus.query(f"rate(pp1_phase_seconds_sum{{{stream}}}[30s])"))  # two scrapes


def test_every_panel_has_data(watched):
    prometheus, program = watched.prometheus, watched.well
    stream = f"127.0.0.1:{program.port}"
    program.post("/api/prompt", {"prompt": "a green square moving right on a white background"})
    program.post("/api/control", {"action": "hard_cut"})
    missing = expressions()
    assert len(missing) > 25

    def all_have_data() -> bool:
        for name, expression in list(missing.items()):
            if has_data(prometheus, expression.replace("$instance", stream).replace("$__rate_interval", "30s")):
                del missing[name]
        return not missing

    wait_for(all_have_data, lambda: missing)
    happened = {"accepted", "applied", "visible"}  # the scrape that tells of the last may be yet to come
    updates = f'pp1_prompt_updates_total{{instance="{stream}"}} > 0'
    wait_for(lambda: happened <= prometheus.labels(updates, "outcome"))
    epochs = f'pp1_epochs_total{{instance="{stream}"}} > 0'
    wait_for(lambda: prometheus.labels(epochs, "reason") == {"requested"})
