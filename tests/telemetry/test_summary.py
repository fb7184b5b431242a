"""summary.json: its exact layout, and the figures in it."""

import json

import pytest

from pp1_orchestrator.telemetry.records import UpdateRecord
from pp1_orchestrator.telemetry.summary import RunConfig, build_summary, read_summary, write_summary
from tests.telemetry.factories import run

CONFIG = RunConfig(model="tiny", routing="rank0_encoder", overlap="sync", context="clean_pass", layout="cpu", seed=7)
LAYOUT = {
    "schema": 1,
    "config": {"model", "routing", "overlap", "context", "layout", "seed", "cache", "source", "parallel"},
    "chunks": int,
    "frames": int,
    "wall_s": float,
    "warmup_chunks": int,
    "fps": float,
    "phases_ms": {"text", "build", "send", "mesh", "recv", "decode", "period"},
    "overlap_score": float,
    "hidden_ms_p50": float,
    "mesh_idle_ms_p50": float,
    "mesh_text_ms_max": float,
    "queue_depth_max": {"in_flight"},
    "prompt_updates": list,
    "memory": {"0"},
    "load_s": {"pixels", "prompts"},
    "wire_bytes": {"envelope_p50", "result_p50"},
    "pixels_sha256": str,
    "latents_sha256": str,
}


def summed(records, updates=(), warmup=2):
    memory = {"0": {"vae": 10, "peak": 20}}
    figures = {"digests": ("a" * 64, "b" * 64), "queue_depth_max": {"in_flight": 1}}
    figures["load_s"] = {"pixels": 1.5, "prompts": 3.0}
    return build_summary(CONFIG, records, updates, warmup_chunks=warmup, memory=memory, **figures)


def test_the_file_has_exactly_the_fields_of_the_interface(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(summed(run([0.2] * 6, [0.2] * 6, [0.3] * 6)), path)
    data = json.loads(path.read_text())
    assert data.keys() == LAYOUT.keys()
    for key, kind in LAYOUT.items():
        if isinstance(kind, set):
            assert data[key].keys() == kind, key
        elif isinstance(kind, type):
            assert isinstance(data[key], kind), key
    assert data["schema"] == LAYOUT["schema"]
    assert all(phase.keys() == {"p50", "p95", "max"} for phase in data["phases_ms"].values())


def test_a_written_file_reads_back_equal(tmp_path):
    summary = summed(run([0.2] * 6, [0.2] * 6, [0.3] * 6))
    write_summary(summary, tmp_path / "summary.json")
    assert read_summary(tmp_path / "summary.json") == summary


def test_warmup_chunks_are_in_the_counts_but_not_in_the_figures():
    summary = summed(run([0.2] * 6, [0.2] * 6, [3.0, 3.0, 0.3, 0.3, 0.3, 0.3]))
    assert (summary.chunks, summary.frames, summary.warmup_chunks) == (6, 72, 2)
    assert summary.fps == pytest.approx(12 / 0.3)
    assert summary.phases_ms.period.max == pytest.approx(300)
    assert summary.overlap_score == pytest.approx(0.5)
    assert summary.hidden_ms_p50 == pytest.approx(100)
    assert summary.wall_s == pytest.approx(3.0 + 4 * 0.3 + 0.402)


def test_the_overlap_score_is_a_share():
    assert summed(run([0.9] * 6, [0.2] * 6, [0.3] * 6)).overlap_score == 1.0


def test_phases_are_summed_up_in_milliseconds():
    phases = summed(run([0.2] * 12, [0.1] * 11 + [0.5], [0.3] * 12)).phases_ms
    assert phases.build.p50 == pytest.approx(10)
    assert phases.send.p50 == pytest.approx(2)
    assert phases.recv.p50 == pytest.approx(1)
    assert phases.decode.p50 == pytest.approx(185)
    assert phases.mesh.p50 == pytest.approx(100)
    assert phases.mesh.p95 == pytest.approx(320)
    assert phases.mesh.max == pytest.approx(500)
    assert (phases.text.p50, phases.text.max) == (0.0, 0.0)


def test_text_counts_only_chunks_that_encoded_a_prompt():
    records = run([0.2] * 6, [0.2] * 6, [0.3] * 6)
    records[4].text_ms = 8.0
    assert summed(records).phases_ms.text.p50 == pytest.approx(8.0)


def test_wire_bytes_are_the_medians():
    assert summed(run([0.2] * 5, [0.2] * 5, [0.3] * 5)).wire_bytes.envelope_p50 == 1003


def test_prompt_updates_have_their_latency_and_superseded_ones_have_none():
    updates = [
        UpdateRecord("u1", "a red circle", accepted_chunk=3, accepted_s=10.0, applied_chunk=5, emitted_s=10.75),
        UpdateRecord("u2", "a blue square", accepted_chunk=3, accepted_s=10.1, superseded=True),
    ]
    first, second = summed(run([0.2] * 6, [0.2] * 6, [0.3] * 6), updates).prompt_updates
    assert (first.id, first.latency_chunks) == ("u1", 2)
    assert first.latency_ms == pytest.approx(750)
    assert (second.applied_chunk, second.latency_chunks, second.latency_ms) == (None, None, None)


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_run_shorter_than_its_warmup_has_no_steady_figures(chunks):
    times = [0.2] * chunks
    summary = summed(run(times, times, times))
    assert summary.chunks == chunks
    assert (summary.fps, summary.overlap_score, summary.mesh_idle_ms_p50) == (None, None, None)


def test_without_a_warmup_the_first_chunk_counts_from_its_build():
    summary = summed(run([0.2], [0.2], [0.3]), warmup=0)
    assert summary.fps == pytest.approx(12 / 0.402)
    assert summary.overlap_score is None
