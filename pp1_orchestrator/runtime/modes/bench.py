"""run=bench: make a number of chunks as fast as they come, then write what was measured."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.measure.summary import Summary
from pp1_orchestrator.media.recorder import Mp4Recorder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.plan import write_plan
from pp1_orchestrator.runtime.compose import Stream
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.modes.plan import make_plan
from pp1_orchestrator.runtime.results import write_results
from pp1_orchestrator.runtime.signals import StopRequested, on_signals
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.stage0.script import Script
from pp1_orchestrator.stage0.session import Session

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
