"""run=serve: streams to viewers until stopped. Puts pacer, media process, server and page together."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from pp1_orchestrator.app.bench import write_results
from pp1_orchestrator.app.first_checks import server_settings
from pp1_orchestrator.app.resume import ShowKeeper, StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, Stage0Error
from pp1_orchestrator.media.clip_writer import ClipLimits
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.socket_viewers import SocketViewers
from pp1_orchestrator.media_process.control_messages import Start
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.process_tuning import raise_file_limit, tune_gc
from pp1_orchestrator.processes.signals import on_signals
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.http_server import HttpServer
from pp1_orchestrator.server.port import bind, check_port
from pp1_orchestrator.server.tls import tls_context
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.stage0.show import Show
from pp1_orchestrator.supervision.media_supervisor import MediaRules, MediaSupervisor
from pp1_orchestrator.supervision.resource_monitor import ResourceMonitor
from pp1_orchestrator.supervision.watchdog import EventLoopWatchdog
from pp1_orchestrator.types import Clip, KnownClient
from pp1_orchestrator.ui import import_panel, mount_panel, watch_page

log = logging.getLogger(__name__)
LEAST_FILES = 256
"""Open files of rank 0: some 60 of its own, ten for each rank, the rest for connections."""


def run_serve(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Serve. Raises ConfigError for an address that can't be used; after the end, the stream's failure."""
    if (files := raise_file_limit()) < LEAST_FILES:
        raise ConfigError(f"ulimit -n: {files} open files are too few to serve; at least {LEAST_FILES} must be allowed")
    instruments = Instruments(settings.run.warmup_chunks, start.history)
    trace_folder = out if settings.trace else None
    web = Web(settings, instruments, out, start.clients)
    with ExitStack() as opened:
        opened.callback(start.locks.close)
        opened.callback(web.close)
        parts = settings, config, registry, start.script, instruments, web.sink
        stream = Stream(*parts, trace_folder=trace_folder, meanwhile=import_panel)
        keeper = ShowKeeper(lambda: web.show(stream.session), settings.run.show, out, start.locks)
        opened.callback(keeper.close)  # after the stream: its last chunk counts
        opened.callback(stream.close)
        on_host = ("text_encoder",) if settings.text_encoder.device == "cpu" else ()
        monitor = ResourceMonitor(stream.session, stream.ranks, instruments.metrics, instruments.events, on_host)
        opened.callback(monitor.close)
        stream.session.start()
        web.serve(stream.session)
    try:
        write_results(settings, instruments, None, stream, out)
    except Stage0Error as error:  # the stream itself was fine
        log.warning("%s", error)
    log.info("stopped; see %s", out)
    if stream.session.failure is not None:
        raise stream.session.failure


class Web:
    """The web side of one stream. Raises ConfigError for an address that is not allowed or already in use.

    sink: shows the stream in real time, to the media process and to clips. out: the run's folder, which gets clips.
    clients: of the control lease in the run that this one continues.
    """

    def __init__(
        self, settings: Settings, instruments: Instruments, out: Path, clients: Sequence[KnownClient] = ()
    ) -> None:
        self._clients, self._known_clients = clients, lambda: tuple(clients)
        serving, stream, metrics = settings.serving, settings.stream, instruments.metrics
        self._loop_limit_s, self._instruments, self._out = settings.deadlines.loop, instruments, out
        tls = tls_context(serving.tls, serving.tls_cert, serving.tls_key, serving.host, out)
        self._server_settings = server_settings(serving, tls)
        self._address = check_port(serving.host, serving.port)  # resolved once: the name may change its address
        limits = PeerLimits(viewers=serving.max_viewers, viewers_per_address=serving.viewers_per_address)
        video = VideoSettings(
            stream.height, stream.width, stream.fps, bitrate=serving.bitrate, keyframe_every_s=serving.keyframe_s
        )
        metrics.target_fps(stream.fps)

        def on_clip(clip: Clip) -> None:
            instruments.events.publish("clip", clip=clip.id, state=clip.state)

        clip_limits = ClipLimits(serving.clip_s, serving.clip_bytes, serving.clips_kept)
        start = Start(video, limits, CandidatePolicy(self._address, self._server_settings.ice_servers))
        rules = MediaRules(settings.deadlines.message, settings.deadlines.media, settings.supervision.media_restarts)
        self._media = MediaSupervisor(start, rules, metrics, instruments.events)
        broadcaster = self._media.broadcaster
        self._sockets = SocketViewers(broadcaster, video, limits, metrics, lambda: self._media.addresses)
        self._media.share_places(lambda: self._sockets.addresses)
        self._clips = ClipRecorder(out / "clips", video, clip_limits, metrics, on_clip)
        consumers, idle = [broadcaster, self._clips], placeholder(stream.height, stream.width)
        self.sink = PacedSink(consumers, stream.fps, idle, metrics, instruments.receipts.shown)
        self._media.prepare()  # it is ready before the models are

    def close(self) -> None:
        self._media.discard_spare()
        self.sink.close()

    def show(self, session: Session) -> Show | None:
        """What another run would need to continue; None before the first chunk."""
        show = session.show()
        return show and msgspec.structs.replace(show, clients=self._known_clients())

    def serve(self, session: Session) -> None:
        """Serve until a signal comes or the stream ends."""
        settings, metrics, events = self._server_settings, self._instruments.metrics, self._instruments.events
        parts = session, self._media, self._clips, events, metrics.registry, settings
        app = create_app(*parts, mount_panel, metrics.limited, self._sockets, watch_page(), self._clients)
        self._known_clients = app.state.known_clients

        opened = ExitStack()
        opened.callback(self._clips.close)  # a clip gets its index

        def started() -> None:
            log.info("the page is at %s", settings.page)
            watchdog = EventLoopWatchdog(asyncio.get_running_loop(), self._loop_limit_s, self._out)
            opened.callback(watchdog.close)

        server = HttpServer(app, settings.limits, started, settings.tls)

        def stop_with_stream() -> None:
            session.done.wait()
            server.stop()

        tune_gc()
        with opened, bind(self._address, settings.port) as listener, on_signals(server.stop):
            threading.Thread(target=stop_with_stream, name="stop-with-stream", daemon=True).start()
            server.run(sockets=[listener])
