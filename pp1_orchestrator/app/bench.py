"""run=bench: makes a number of chunks as fast as possible. Also writes what any run leaves in its folder."""

import logging
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pp1_orchestrator.app.plan import make_plan
from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.app.stream import Instruments, Stream, run_choices
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.mp4_sink import Mp4Recorder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.make_plan import write_plan
from pp1_orchestrator.processes.signals import StopRequested, on_signals
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.stage0.timeline import write_script
from pp1_orchestrator.telemetry.summary import RunConfig, Summary, build_summary, write_summary
from pp1_orchestrator.telemetry.trace import merge_trace

log = logging.getLogger(__name__)
REFRESH_S = 0.2


def run_bench(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Run and write the results. Then raises the stream's failure, or StopRequested if a signal ended the run."""
    write_plan(make_plan(settings, config, registry.strategies), out / "plan.json")
    instruments, digests = Instruments(settings.run.warmup_chunks), Digests()
    video, trace_folder = settings.stream, out if settings.trace else None
    with ExitStack() as opened:
        recorder = Mp4Recorder(out / "stream.mp4", video.fps, video.height, video.width)
        opened.callback(recorder.close)
        stream = Stream(settings, config, registry, start.script, instruments, recorder, [digests], trace_folder)
        opened.callback(stream.close)
        with on_signals(stream.session.request_stop) as stop:
            stream.session.start()
            _show_progress(stream.session, instruments, settings.run.chunks)
    _log_result(write_results(settings, instruments, digests, stream, out), out)
    if stream.session.failure is not None:
        raise stream.session.failure
    if stop.received:
        raise StopRequested  # ends the whole sweep, not only this job


def write_results(
    settings: Settings, instruments: Instruments, digests: Digests | None, stream: Stream, out: Path
) -> Summary:
    """Write the files of a closed stream and return its summary. Raises Stage0Error when a file can't be written."""
    record = instruments.record
    heading = (
        f"run.chunks={record.chunks}: so many chunks were made; with them this script gives the same latents again"
        if record.complete
        else "of a very long run only the newest changes are kept: this script can't give the same latents again"
    )
    try:
        write_script(record.entries(), out / "recording.yaml", heading)
        instruments.chunk_log.write(out / "chunks.jsonl")
        if settings.trace:
            merge_trace(out, settings.stream.fps)
        summary = summarize(settings, instruments, digests, stream)
        write_summary(summary, out / "summary.json")
    except OSError as error:
        raise Stage0Error(f"what the run measured can't be written: {error}") from error
    return summary


def summarize(settings: Settings, instruments: Instruments, digests: Digests | None, stream: Stream) -> Summary:
    """Summarize a closed stream. Without `digests` the summary's digests are empty strings."""
    return build_summary(
        RunConfig(**run_choices(settings), seed=settings.seed),
        instruments.chunk_log.records(),
        stream.session.updates(),
        warmup_chunks=settings.run.warmup_chunks,
        memory=stream.memory(),
        load_s=stream.load_s,
        digests=("", "") if digests is None else (digests.pixels.hexdigest(), digests.latents.hexdigest()),
        queue_depth_max=instruments.queues.max_depths(),
    )


def _show_progress(session: Session, instruments: Instruments, total: int | None) -> None:
    columns = (TextColumn("chunks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("chunks", total=total)
        while not session.done.wait(REFRESH_S):
            progress.update(task, completed=instruments.chunk_log.count)
        progress.update(task, completed=instruments.chunk_log.count)


def _log_result(summary: Summary, out: Path) -> None:
    fps, score = ("–" if value is None else f"{value:.2f}" for value in (summary.fps, summary.overlap_score))
    period = summary.phases_ms.period.p50
    log.info(
        "%d chunks, %d frames: %s FPS, overlap score %s, period p50 %s ms; see %s",
        summary.chunks, summary.frames, fps, score, f"{period:.0f}" if period else "–", out,
    )  # fmt: skip
    if summary.fps is None:
        log.info("no chunk counts: the first ones are warm-up; make more, or set run.warmup_chunks=0")
