"""run=bench from the command line: every file of the run, and the same pixels from every overlap."""

import json
import threading
from pathlib import Path

import av
import pytest
import yaml

from pp1_orchestrator.app.bench import run_bench
from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.planning.make_plan import read_plan
from pp1_orchestrator.telemetry.summary import Summary, read_summary
from tests.system.in_process import SMALL, make_settings
from tests.system.program import run_to_end

CHUNKS, WARMUP = 7, 2
SCRIPT = """\
- {chunk: 0, prompt: "a red circle moving left on a blue background"}
- {chunk: 3, prompt: "a green square moving right on a white background"}
- {chunk: 5, prompt: "a yellow triangle moving up on a black background", cut: hard}
"""
FRAMES = (9 + 4 * 12) + (9 + 12)
"""3 latent frames a chunk; the first chunk of an epoch has 1 + 4·2 pixel frames, any other 4·3."""
RUNS = [(layout, overlap) for layout in ("cpu", "inline") for overlap in ("sync", "stage0_owned")]

Run = tuple[Path, Summary]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Runs a bench once for each (layout, overlap, repetition, options) that a test asks for."""
    made: dict[tuple[str, str, int, tuple[str, ...]], Run] = {}
    script = tmp_path_factory.mktemp("script") / "script.yaml"
    script.write_text(SCRIPT)

    def run(layout: str, overlap: str, repetition: int = 0, options: tuple[str, ...] = ()) -> Run:
        key = (layout, overlap, repetition, options)
        if key not in made:
            out = tmp_path_factory.mktemp("run") / "out"
            done = run_to_end(
                "run=bench",
                f"layout={layout}",
                f"overlap={overlap}",
                f"run.chunks={CHUNKS}",
                f"run.warmup_chunks={WARMUP}",
                f"run.script={script}",
                *options,
                out=out,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            made[key] = out, read_summary(out / "summary.json")
        return made[key]

    return run


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_the_summary_tells_what_was_run(bench, layout, overlap):
    _, summary = bench(layout, overlap)
    assert (summary.config.layout, summary.config.overlap) == (layout, overlap)
    assert (summary.config.model, summary.config.routing, summary.config.context) == (
        "tiny",
        "rank0_encoder",
        "clean_pass",
    )
    assert (summary.chunks, summary.frames, summary.warmup_chunks) == (CHUNKS, FRAMES, WARMUP)
    assert summary.fps is not None
    assert summary.fps > 0
    assert summary.overlap_score is not None
    phases = summary.phases_ms
    assert min(phases.build.p50, phases.mesh.p50, phases.decode.p50, phases.period.p50, phases.text.p50) > 0
    assert summary.wire_bytes.result_p50 > 0


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_each_scripted_prompt_is_applied_in_its_chunk(bench, layout, overlap):
    _, summary = bench(layout, overlap)
    assert [update.applied_chunk for update in summary.prompt_updates] == [0, 3, 5]
    assert all(update.latency_chunks is not None and update.latency_chunks <= 2 for update in summary.prompt_updates)
    assert all(update.latency_ms is not None and update.latency_ms > 0 for update in summary.prompt_updates)


@pytest.mark.parametrize(("layout", "ranks"), [("cpu", {"0", "1", "2"}), ("inline", {"0", "1"})])
def test_memory_is_told_for_each_rank_and_component(bench, layout, ranks):
    memory = bench(layout, "sync")[1].memory
    assert memory.keys() == ranks
    assert {"text_encoder", "vae", "peak"} <= memory["0"].keys()
    assert {"generator", "kv_cache"} <= memory["1"].keys()
    assert all(count > 0 for parts in memory.values() for count in parts.values())


@pytest.mark.parametrize("layout", ["cpu", "inline"])
def test_the_plan_beside_the_summary_knew_the_memory(bench, layout):
    out, summary = bench(layout, "sync")
    planned = read_plan(out / "plan.json").memory
    assert planned.keys() == summary.memory.keys()
    for rank, parts in planned.items():
        for name, count in parts.items():
            assert summary.memory[rank][name] == pytest.approx(count, rel=0.1), (rank, name)


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_a_line_a_chunk_with_frames_and_epoch(bench, layout, overlap):
    out, _ = bench(layout, overlap)
    lines = [json.loads(line) for line in (out / "chunks.jsonl").read_text().splitlines()]
    assert [line["chunk_index"] for line in lines] == list(range(CHUNKS))
    assert [line["cache_epoch"] for line in lines] == [0, 0, 0, 0, 0, 1, 1]
    assert [line["frames"] for line in lines] == [9, 12, 12, 12, 12, 9, 12]
    assert all(line["decode_ms"] > 0 and line["denoise_ms"] > 0 for line in lines)


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_the_video_has_every_frame(bench, layout, overlap):
    out, _ = bench(layout, overlap)
    with av.open(str(out / "stream.mp4")) as video:
        frames = list(video.decode(video=0))
    assert len(frames) == FRAMES
    assert (frames[0].height, frames[0].width) == (128, 128)


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_the_trace_has_an_arrow_each_way_for_each_chunk(bench, layout, overlap):
    out, _ = bench(layout, overlap)
    events = json.loads((out / "trace.json").read_text())["traceEvents"]
    phases = {(e["pid"], e["name"]) for e in events if e["ph"] == "X"}
    assert {(0, "build"), (0, "decode"), (1, "denoise"), (1, "context")} <= phases
    assert not list(out.glob("*.part.json"))
    if layout == "cpu":
        assert (2, "denoise") in phases
        arrows = [(e["name"], e["id"]) for e in events if e["ph"] == "f"]
        assert len([name for name, _ in arrows if name == "envelope"]) == CHUNKS
        assert len([name for name, _ in arrows if name == "result"]) == CHUNKS


@pytest.mark.parametrize(("layout", "overlap"), RUNS)
def test_the_trace_tells_at_a_glance_why_a_chunk_was_late(bench, layout, overlap):
    """By its waits, curves and marks; a chunk's number is everywhere."""
    events = json.loads((bench(layout, overlap)[0] / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    waits = {(event["pid"], event["name"]) for event in spans if event["name"].startswith("wait")}
    assert waits >= {(0, "wait for room"), (0, "wait for link"), (0, "wait for decode")}
    assert (1, "wait") in waits or layout == "inline"
    assert [event for event in spans if event["name"] != "wait" and "chunk" not in event["args"]] == []
    assert {event["name"] for event in events if event["ph"] == "C"} == {
        "period (ms)", "queue: in flight", "queue: results",
    }  # fmt: skip
    periods = [event["args"] for event in events if event["ph"] == "C" and event["name"] == "period (ms)"]
    late = [event["args"] for event in events if event["ph"] == "i"]
    assert len(periods) == CHUNKS - 1
    assert len(late) == sum(args["period"] > 1.1 * args["allowed"] for args in periods)
    assert all(0 < args["ms"] <= args["period_ms"] for args in late)
    names = [event["args"]["name"] for event in events if event["ph"] == "M" and event["name"] == "process_name"]
    assert names == [f"rank {rank} ({role})" for rank, role in enumerate(["stage 0", "leader", "mesh"])][: len(names)]
    assert len(names) == (3 if layout == "cpu" else 2)


def test_a_run_without_a_trace_makes_the_same_video(bench):
    out, summary = bench("inline", "sync", options=("trace=false",))
    assert not (out / "trace.json").exists()
    assert summary.pixels_sha256 == bench("inline", "sync")[1].pixels_sha256


def test_the_resolved_configuration_is_kept(bench):
    out, _ = bench("cpu", "sync")
    config = yaml.safe_load((out / ".hydra" / "config.yaml").read_text())
    assert config["run"]["chunks"] == CHUNKS
    assert config["layout"]["name"] == "cpu"


@pytest.mark.parametrize("layout", ["cpu", "inline"])
def test_both_overlaps_give_the_same_pixels_and_latents(bench, layout):
    one, other = bench(layout, "sync")[1], bench(layout, "stage0_owned")[1]
    assert one.pixels_sha256 == other.pixels_sha256
    assert one.latents_sha256 == other.latents_sha256
    assert one.pixels_sha256 != one.latents_sha256


def test_the_same_script_and_seed_give_the_same_latents_again(bench):
    first, again = bench("cpu", "stage0_owned")[1], bench("cpu", "stage0_owned", repetition=1)[1]
    assert first.latents_sha256 == again.latents_sha256
    assert first.pixels_sha256 == again.pixels_sha256


def test_a_start_that_fails_leaves_no_recorder_to_the_next_job_of_a_sweep(tmp_path):
    settings, config = make_settings(*SMALL, "run.chunks=1", "layout=cpu", "deadlines.start=0.01")
    with pytest.raises(MeshError):
        run_bench(settings, config, Registry(settings), StreamStart([]), tmp_path)
    assert (tmp_path / "stream.mp4").exists()  # it had begun
    assert [thread for thread in threading.enumerate() if thread.name == "recorder"] == []
