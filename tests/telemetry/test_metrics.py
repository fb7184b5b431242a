"""The Prometheus metrics: the design's names, their values, and a registry of their own."""

import re
import shutil
import subprocess
from itertools import pairwise
from typing import get_args

import pytest
from prometheus_client import generate_latest

from pp1_orchestrator import __version__
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.metrics_catalogue import (
    CATALOGUE,
    EPOCH_REASONS,
    PERIOD,
    PHASE,
    PROCESS,
    STREAM_STATES,
    TO_PIXELS,
    epoch_reason,
)
from pp1_orchestrator.types import DropReason
from tests.telemetry.factories import run

DESIGN = {
    "pp1_phase_seconds", "pp1_chunk_period_seconds", "pp1_vram_bytes", "pp1_prompt_to_pixels_seconds",
    "pp1_prompt_to_pixels_chunks", "pp1_overlap_score", "pp1_frames_total", "pp1_frames_dropped_total",
    "pp1_queue_depth", "pp1_cache_epoch", "pp1_viewers", "pp1_rank_up", "pp1_mesh_restarts_total",
}  # fmt: skip


@pytest.fixture
def metrics():
    """Metrics of a run of six chunks in which everything happened once."""
    metrics = Metrics(warmup_chunks=2)
    for record in run([0.2] * 6, [0.2] * 6, [0.4, 0.4, 0.3, 0.3, 0.3, 0.3]):
        metrics.observe_chunk(record)
    metrics.prompt_to_pixels(0.42, 2)
    metrics.frames_dropped("late", 3)
    metrics.queue_depth("ready", 1)
    metrics.viewers(4)
    metrics.viewer_quality(0.04, sent=100, lost=3)
    metrics.viewer_quality(None, sent=10, lost=0)
    metrics.rank_up(1, True)
    metrics.mesh_restarts("death")
    metrics.memory(0, "resident", 99, on_gpu=False)
    metrics.memory(0, "vae", 1234, on_gpu=True)
    metrics.cpu(1, 0.5)
    return metrics


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_every_metric_of_the_catalogue_has_a_sample_and_there_is_no_other(metrics):
    text = generate_latest(metrics.registry).decode()
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)", text, re.M))
    catalogue = {spec.name: spec.kind for spec in (*CATALOGUE, *PROCESS)}
    assert families == catalogue
    assert "_created" not in text
    assert catalogue.keys() >= DESIGN
    for name in catalogue:
        assert re.search(rf"^{name}(_count|_bucket)?(\{{.*\}})? ", text, re.M), name


def test_the_version_of_the_program_is_a_label(metrics):
    assert value(metrics, "pp1_build_info", version=__version__) == 1


def test_a_chunk_is_counted_by_phase_and_rank(metrics):
    assert value(metrics, "pp1_phase_seconds_count", phase="decode", rank="0") == 6
    assert value(metrics, "pp1_phase_seconds_sum", phase="mesh", rank="1") == pytest.approx(6 * 0.2)
    assert value(metrics, "pp1_phase_seconds_count", phase="text", rank="0") is None
    assert value(metrics, "pp1_frames_total") == 72
    assert value(metrics, "pp1_chunk_period_seconds_count") == 5


def test_the_overlap_score_leaves_the_warmup_out_and_follows_recent_chunks(metrics):
    assert value(metrics, "pp1_overlap_score") == pytest.approx(0.5)
    for record in run([0.2] * 100, [0.2] * 100, [0.2] * 100):
        metrics.observe_chunk(record)
    assert value(metrics, "pp1_overlap_score") == pytest.approx(1.0)


def test_the_overlap_score_is_a_share(metrics):
    for record in run([0.3] * 100, [0.2] * 100, [0.2] * 100):
        metrics.observe_chunk(record)
    assert value(metrics, "pp1_overlap_score") == 1.0


def test_reports_of_viewers_are_counted(metrics):
    assert value(metrics, "pp1_viewer_rtt_seconds_count") == 1
    assert value(metrics, "pp1_viewer_rtt_seconds_sum") == pytest.approx(0.04)
    assert value(metrics, "pp1_viewer_packets_total", outcome="sent") == 110
    assert value(metrics, "pp1_viewer_packets_total", outcome="lost") == 3


def test_memory_of_the_host_has_its_own_name(metrics):
    assert value(metrics, "pp1_host_memory_bytes", rank="0", component="resident") == 99
    assert value(metrics, "pp1_host_memory_bytes", rank="0", component="vae") is None
    assert value(metrics, "pp1_vram_bytes", rank="0", component="resident") == 99, "until 0.4"


def test_a_stream_is_in_one_state_at_a_time(metrics):
    metrics.stream_state("starting")
    metrics.stream_state("ready")
    assert {s: value(metrics, "pp1_state", state=s) for s in STREAM_STATES} == {s: s == "ready" for s in STREAM_STATES}


def test_small_methods_set_what_they_say(metrics):
    metrics.epoch_changed(3, "update u17")
    metrics.rank_up(2, False)
    metrics.result_repeated()
    assert value(metrics, "pp1_results_repeated_total") == 1
    assert value(metrics, "pp1_cache_epoch") == 3
    assert value(metrics, "pp1_viewers", transport="webrtc") == 4
    assert value(metrics, "pp1_rank_up", rank="1") == 1
    assert value(metrics, "pp1_rank_up", rank="2") == 0
    assert value(metrics, "pp1_mesh_restarts_total", reason="death") == 1
    assert value(metrics, "pp1_frames_dropped_total", reason="late") == 3
    assert value(metrics, "pp1_queue_depth", queue="ready") == 1
    assert value(metrics, "pp1_vram_bytes", rank="0", component="vae") == 1234
    assert value(metrics, "pp1_prompt_to_pixels_chunks_sum") == 2


def test_every_drop_reason_has_a_sample_from_the_start():
    fresh, reasons = Metrics(), get_args(DropReason)
    assert [value(fresh, "pp1_frames_dropped_total", reason=reason) for reason in reasons] == [0] * len(reasons)


def test_epochs_are_counted_by_a_few_reasons(metrics):
    for number, reason in enumerate(["update u17", "update u18", "seed", "the moon"]):
        metrics.epoch_changed(number, reason)
    counts = {reason: value(metrics, "pp1_epochs_total", reason=reason) for reason in EPOCH_REASONS}
    assert counts == dict.fromkeys(EPOCH_REASONS, 0) | {"seed": 1, "update": 2, "other": 1}
    assert epoch_reason("") == "other"


def test_the_bytes_of_both_messages_are_counted(metrics):
    assert value(metrics, "pp1_wire_bytes_total", message="envelope") == sum(range(1000, 1006))
    assert value(metrics, "pp1_wire_bytes_total", message="result") == 6 * 5000


def test_health_and_target_are_shown(metrics):
    metrics.health(ready=True, paused=False)
    metrics.target_fps(16)
    metrics.cpu(1, 0.25)
    assert [value(metrics, name) for name in ("pp1_ready", "pp1_paused", "pp1_target_fps")] == [1, 0, 16]
    assert value(metrics, "pp1_cpu_seconds_total", rank="1") == 0.75


@pytest.mark.parametrize(("spec", "low", "high"), [(PHASE, 0.08, 2.0), (PERIOD, 0.08, 2.0), (TO_PIXELS, 0.2, 5.0)])
def test_buckets_are_close_where_times_are_met_in_practice(spec, low, high):
    met = [bound for bound in spec.buckets if low <= bound <= high]
    assert (met[0], met[-1]) == (low, high)
    assert max(b / a for a, b in pairwise(met)) <= 1.6


def test_two_runs_in_one_process_do_not_share_values(metrics):
    assert value(Metrics(), "pp1_frames_total") == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (package prometheus)")
def test_promtool_finds_nothing_to_mend(metrics):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(metrics.registry), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_encoding_text_counts_for_the_rank_that_did_it(metrics):
    records = run([0.2] * 2, [0.2] * 2, [0.3] * 2)
    records[0].text_ms, records[1].mesh_text_ms = 5.0, 7.0
    for record in records:
        metrics.observe_chunk(record)
    for rank, seconds in (("0", 0.005), ("1", 0.007)):
        assert value(metrics, "pp1_phase_seconds_sum", phase="text", rank=rank) == pytest.approx(seconds)
