"""What a run leaves in its folder: chunks.jsonl, trace.json, summary.json."""

from __future__ import annotations

from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.measure.summary import RunConfig, Summary, build_summary, write_summary
from pp1_orchestrator.measure.trace import merge_trace
from pp1_orchestrator.runtime.compose import Stream, run_choices
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.stage0.script import write_script


def write_results(
    settings: Settings, instruments: Instruments, digests: Digests | None, stream: Stream, out: Path
) -> Summary:
    """Write the files of a stream that has been closed, and return its summary. Raises Stage0Error when it can't."""
    try:
        return _write(settings, instruments, digests, stream, out)
    except OSError as error:
        raise Stage0Error(f"what the run measured can't be written: {error}") from error


def _write(settings: Settings, instruments: Instruments, digests: Digests | None, stream: Stream, out: Path) -> Summary:
    record = instruments.record
    heading = (
        f"run.chunks={record.chunks}: so many chunks were made; with them this script gives the same latents again"
    )
    if not record.complete:
        heading = "of a very long run only the newest changes are kept: this script can't give the same latents again"
    write_script(record.entries(), out / "recording.yaml", heading)
    instruments.chunk_log.write(out / "chunks.jsonl")
    if settings.trace:
        merge_trace(out, settings.stream.fps)
    summary = summarize(settings, instruments, digests, stream)
    write_summary(summary, out / "summary.json")
    return summary


def summarize(settings: Settings, instruments: Instruments, digests: Digests | None, stream: Stream) -> Summary:
    """A closed stream in figures. digests: None where none were computed; the summary's are then empty strings."""
    return build_summary(
        RunConfig(**run_choices(settings), seed=settings.seed),
        instruments.chunk_log.records(),
        stream.session.updates(),
        warmup_chunks=settings.run.warmup_chunks,
        memory=stream.memory(),
        load_s=stream.load_s,
        digests=("", "") if digests is None else (digests.pixels.hexdigest(), digests.latents.hexdigest()),
        queue_depth_max=instruments.queues.greatest(),
    )
