"""Sweep folders as a sweep would leave them, from the few figures that a test wants to see."""

from pathlib import Path

import msgspec

from pp1_orchestrator.report.jobs import JobRecord, MachineInfo, write_record
from pp1_orchestrator.report.machine_load import LoadSample, write_load
from pp1_orchestrator.telemetry.records import UpdateRecord
from pp1_orchestrator.telemetry.summary import RunConfig, Summary, build_summary, write_summary
from tests.telemetry.factories import run

MACHINE = MachineInfo("A Processor", 2, (), "3.11.7", "2.9.0", "2026-11-23")
COMMON = ["run=bench", "run.chunks=6", "run.warmup_chunks=2"]
PIXELS = "ab" * 32


def summary(
    overlap: str = "sync",
    period_s: float = 0.3,
    latency_s: float | None = 0.75,
    memory: int = 10_000_000,
    pixels: str = PIXELS,
    chunks: int = 6,
) -> Summary:
    """Of a run whose frames a second are 12 / period_s. latency_s: of one change of the prompt; None for no change."""
    times = [0.2] * chunks
    updates = [UpdateRecord("u1", "a red circle", accepted_chunk=-1, accepted_s=1, applied_chunk=0, emitted_s=3.5)]
    if latency_s is not None:
        updates.append(UpdateRecord("u2", "a blue square", 3, 10.0, applied_chunk=5, emitted_s=10.0 + latency_s))
    return build_summary(
        RunConfig("tiny", "rank0_encoder", overlap, "clean_pass", "cpu", seed=7),
        run(times, times, [period_s] * chunks),
        updates,
        warmup_chunks=2,
        memory={"0": {"vae": memory, "peak": 300_000_000}, "1": {"generator": 2_500_000}},
        digests=(pixels, "cd" * 32),
    )


def add_job(
    sweep: Path,
    number: int,
    *overrides: str,
    measured: Summary | None = None,
    error: str | None = None,
    repeat: int = 0,
) -> Path:
    """The folder of one run of a job. The overrides that all jobs of these tests share come first."""
    folder = sweep / f"{number}.{repeat}"
    folder.mkdir(parents=True)
    overlap = measured.config.overlap if measured else None
    record = JobRecord(
        number=number, repeat=repeat, overrides=[*COMMON, *overrides], error=error, overlap=overlap, seed=7
    )
    write_record(record, folder)
    if measured is not None:
        write_summary(measured, folder / "summary.json")
    return folder


def add_plan(folder: Path, predicted_ms: dict[str, float], memory: dict[str, dict[str, int]] | None = None) -> None:
    ranks = {rank: {"memory": parts} for rank, parts in (memory or {}).items()}
    plan = {"schema": 2, "predicted_period_ms": predicted_ms, "ranks": ranks, "limited_by": "decode"}
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))


def add_load(folder: Path, others: float, idle: float, samples: int = 3) -> None:
    """Of a machine with two cores."""
    took = LoadSample(
        time_s=1e9, cores=2, own=2 - others - idle, others=others, stolen=0.0, idle=idle, load_average=3.0
    )
    write_load([took] * samples, folder)
