"""One run of a job, from its folder: the summary without the warm-up that was found, the rate, the load meanwhile."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from pp1_orchestrator.report.machine_load import LoadSummary, read_load, summarize_load
from pp1_orchestrator.report.steady_rate import SteadyRate, steady_rate
from pp1_orchestrator.telemetry.records import ChunkRecord
from pp1_orchestrator.telemetry.summary import Summary, build_summary, read_summary

SEED = 2026


class MeasuredRun(msgspec.Struct, frozen=True, kw_only=True):
    """rate: None for a run without figures. load: None where none was sampled."""

    repeat: int
    summary: Summary
    rate: SteadyRate | None
    load: LoadSummary | None


def read_run(folder: Path, repeat: int) -> MeasuredRun | None:
    """None without a summary, which only a bench leaves. Raises msgspec.DecodeError for files that can't be read.

    The summary's own warm-up is a fixed number of chunks. Where the chunks are there, it is made anew with the warm-up
    that they show.
    """
    try:
        summary = read_summary(folder / "summary.json")
    except FileNotFoundError:
        return None
    chunks = _read_chunks(folder / "chunks.jsonl")
    rate = steady_rate(chunks, np.random.default_rng(SEED))
    start_s = None
    if rate is not None:
        summary, start_s = _without_warm_up(summary, chunks, rate.warmup), chunks[rate.warmup].build_start_s
    elif summary.fps:
        rate = SteadyRate(math.log(summary.fps), 0.0, summary.warmup_chunks, True)
    return MeasuredRun(repeat=repeat, summary=summary, rate=rate, load=summarize_load(read_load(folder), start_s))


def median_run(runs: Sequence[MeasuredRun]) -> Summary:
    """The summary of the run with the median rate, with the prompt updates of all of them."""
    order = sorted(runs, key=lambda run: -math.inf if run.rate is None else run.rate.log_fps)
    updates = [update for run in runs for update in run.summary.prompt_updates]
    return msgspec.structs.replace(order[len(order) // 2].summary, prompt_updates=updates)


def _read_chunks(path: Path) -> list[ChunkRecord]:
    return msgspec.json.Decoder(ChunkRecord).decode_lines(path.read_bytes()) if path.exists() else []


def _without_warm_up(summary: Summary, chunks: Sequence[ChunkRecord], warmup: int) -> Summary:
    anew = build_summary(
        summary.config,
        chunks,
        [],
        warmup_chunks=warmup,
        memory=summary.memory,
        digests=(summary.pixels_sha256, summary.latents_sha256),
        queue_depth_max=summary.queue_depth_max,
        load_s=summary.load_s,
    )
    return msgspec.structs.replace(anew, prompt_updates=summary.prompt_updates)
