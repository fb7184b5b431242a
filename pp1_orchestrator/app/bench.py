"""run=bench: make a number of chunks as fast as they come, then write what was measured.

What a run leaves in its folder: chunks.jsonl, trace.json, summary.json.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pp1_orchestrator.app.plan import make_plan
from pp1_orchestrator.app.stream import Instruments, Stream, run_choices
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.mp4_sink import Mp4Recorder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.make_plan import write_plan
from pp1_orchestrator.processes.signals import StopRequested, on_signals
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.stage0.timeline import Script, write_script
from pp1_orchestrator.telemetry.summary import RunConfig, Summary, build_summary, write_summary
from pp1_orchestrator.telemetry.trace import merge_trace


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


log = logging.getLogger(__name__)
REFRESH_S = 0.2


def run_bench(settings: Settings, config: WanConfig, script: Script, out: Path) -> None:
    """Raises the stream's failure, or StopRequested after a signal, once what was measured has been written."""
    write_plan(make_plan(settings, config), out / "plan.json")
    instruments, digests = Instruments.make(settings.run.warmup_chunks), Digests()
    video = settings.stream
    stopped = threading.Event()
    with ExitStack() as opened:
        recorder = Mp4Recorder(out / "stream.mp4", video.fps, video.height, video.width)
        opened.callback(recorder.close)
        stream = Stream(
            settings, config, script, instruments, recorder, [digests], trace_folder=out if settings.trace else None
        )
        opened.callback(stream.close)

        def stop() -> None:
            stopped.set()
            stream.session.request_stop()

        with on_signals(stop):
            stream.session.start()
            _follow(stream.session, instruments, settings.run.chunks)
    _report(write_results(settings, instruments, digests, stream, out), out)
    if stream.session.failure is not None:
        raise stream.session.failure
    if stopped.is_set():
        raise StopRequested  # a sweep stops with its job


def _follow(session: Session, instruments: Instruments, total: int | None) -> None:
    columns = (TextColumn("chunks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("chunks", total=total)
        while not session.done.wait(REFRESH_S):
            progress.update(task, completed=instruments.chunk_log.count)
        progress.update(task, completed=instruments.chunk_log.count)


def _report(summary: Summary, out: Path) -> None:
    def figure(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    period = summary.phases_ms.period.p50

    log.info(
        "%d chunks, %d frames: %s FPS, overlap score %s, period p50 %s ms; see %s",
        summary.chunks,
        summary.frames,
        figure(summary.fps),
        figure(summary.overlap_score),
        f"{period:.0f}" if period else "–",
        out,
    )
    if summary.fps is None:
        log.info("no chunk counts: the first ones are warm-up; make more, or set run.warmup_chunks=0")
