"""A real Prometheus scrapes the running program, and finds every metric that applies to it."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from tests.system.program import free_port, running

PROMETHEUS = shutil.which("prometheus")
APPLY = {
    "pp1_phase_seconds_count", "pp1_chunk_period_seconds_count", "pp1_vram_bytes", "pp1_overlap_score",
    "pp1_prompt_to_pixels_seconds_count", "pp1_prompt_to_pixels_chunks_count", "pp1_frames_total",
    "pp1_frames_dropped_total", "pp1_queue_depth", "pp1_cache_epoch", "pp1_viewers", "pp1_rank_up",
    "pp1_mesh_restarts_total", "pp1_target_fps", "pp1_epochs_total", "pp1_prompt_updates_total", "pp1_wire_bytes_total",
    "pp1_ready", "pp1_paused", "pp1_cpu_seconds_total",
}  # fmt: skip
WAIT_S = 60


@contextlib.contextmanager
def scraping(target: int, folder, rules=None):
    """A Prometheus that scrapes 127.0.0.1:target every second, and keeps rules; yields its own address."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    job = {"job_name": "pp1", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    files = [] if rules is None else [str(rules)]
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job], "rule_files": files}))
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([str(PROMETHEUS), *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def query(prometheus: str, expression: str) -> list[dict]:
    """The instant vector; empty while Prometheus does not answer yet."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def wait_for(condition, missing=lambda: "it never came true"):
    """The condition's first true value; else fails with what was missing."""
    end = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < end, missing()
        time.sleep(0.3)
    return value


@pytest.mark.skipif(PROMETHEUS is None, reason="there is no Prometheus (package prometheus)")
def test_every_metric_that_applies_has_a_sample(tmp_path):
    with (
        running("run.warmup_chunks=2", out=tmp_path / "out") as program,
        scraping(program.port, tmp_path) as prometheus,
    ):
        program.wait_until_ready()
        wait_for(lambda: program.state()["chunk"] > 8)
        wait_for(lambda: query(prometheus, 'up{job="pp1"} == 1'))

        def names() -> set[str]:
            return {row["metric"]["__name__"] for row in query(prometheus, '{__name__=~"pp1_.*"}')}

        wait_for(lambda: names() >= APPLY and query(prometheus, "pp1_frames_total > 50"))
        ranks = {row["metric"]["rank"] for row in query(prometheus, "pp1_rank_up == 1")}
        assert ranks == set(program.state()["ranks"])
        queues = {row["metric"]["queue"] for row in query(prometheus, "pp1_queue_depth")}
        assert "frames" in queues
        wait_for(lambda: query(prometheus, "rate(pp1_phase_seconds_sum[30s])"))  # two scrapes at least
