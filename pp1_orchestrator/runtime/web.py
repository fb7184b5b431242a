"""The web side of a stream, put together: pacer, encoder, viewers, server, page."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import ExitStack
from pathlib import Path

import ui
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.media.broadcast import Broadcaster
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.peers import WhepPeers
from pp1_orchestrator.media.screens import Screens
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.take import ClipLimits
from pp1_orchestrator.ports import Clip
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.loop_watch import LoopWatch
from pp1_orchestrator.runtime.process import keep_collections_short
from pp1_orchestrator.runtime.signals import end_at_next
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.port import check_port
from pp1_orchestrator.server.run import HttpServer, serve
from pp1_orchestrator.server.settings import ServerSettings
from pp1_orchestrator.stage0.session import Session

log = logging.getLogger(__name__)


class Web:
    """Raises ConfigError at once for an address that is not allowed or already taken."""

    def __init__(self, settings: Settings) -> None:
        serving, stream = settings.serving, settings.stream
        self._loop_limit_s = settings.deadlines.loop
        self._server_settings = ServerSettings(serving.host, serving.port, serving.token, serving.view_token)
        self._address = check_port(serving.host, serving.port)  # one for all: a name may soon mean another
        logging.getLogger("aioice").setLevel(logging.WARNING)  # else a line for each candidate pair of each viewer
        self._limits = PeerLimits(viewers=serving.max_viewers, viewers_per_address=serving.viewers_per_address)
        self._video = VideoSettings(
            stream.height, stream.width, stream.fps, bitrate=serving.bitrate, keyframe_every_s=serving.keyframe_s
        )
        self._clip_limits = ClipLimits(serving.clip_s, serving.clip_bytes, serving.clips_kept)
        self._broadcaster: Broadcaster | None = None
        self._clips: ClipRecorder | None = None

    def make_sink(self, instruments: Instruments, out: Path) -> PacedSink:
        """Where the stream's frames go: shown in real time, encoded once for all viewers. Clips lie below `out`."""
        instruments.metrics.target_fps(self._video.fps)
        self._broadcaster = Broadcaster(self._video, instruments.metrics)

        def tell(clip: Clip) -> None:
            instruments.events.publish("clip", clip=clip.id, state=clip.state)

        self._clips = ClipRecorder(out / "clips", self._video, self._clip_limits, instruments.metrics, tell)
        return PacedSink(
            Screens(self._broadcaster, self._clips),
            self._video.fps,
            placeholder(self._video.height, self._video.width),
            instruments.metrics,
            instruments.receipts.shown,
        )

    def serve(self, session: Session, instruments: Instruments, out: Path) -> None:
        """Serve until a signal comes or the stream ends. out: the run's folder."""
        assert self._broadcaster is not None
        assert self._clips is not None
        settings = self._server_settings
        policy = CandidatePolicy(self._address)
        peers = WhepPeers(self._broadcaster, self._video.codec, self._limits, policy, instruments.metrics)
        registry = instruments.metrics.registry
        app = create_app(
            session,
            peers,
            self._clips,
            instruments.events,
            registry,
            settings,
            ui.mount_panel,
            instruments.metrics.limited,
        )

        def stop_with_stream(server: HttpServer) -> None:
            def wait() -> None:
                session.done.wait()
                server.stop()

            threading.Thread(target=wait, name="stop-with-stream", daemon=True).start()

        watches = ExitStack()
        watches.callback(self._clips.close)  # in the end, whatever ends it: a clip without its index can't be read

        def started() -> None:
            log.info("the page is at http://%s:%d/", settings.host, settings.port)
            watch = LoopWatch(asyncio.get_running_loop(), self._loop_limit_s, out)
            watches.callback(watch.close)

        keep_collections_short()
        with watches:
            serve(
                app,
                self._address,
                settings.port,
                settings.limits,
                on_started=started,
                on_server=stop_with_stream,
                on_signal=end_at_next,
            )
