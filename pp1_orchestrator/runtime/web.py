"""The web side of a stream, put together: pacer, encoder, viewers, server, page."""

from __future__ import annotations

import gc
import logging
import threading

import ui
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.media.broadcast import Broadcaster
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.peers import WhepPeers
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.settings import PeerLimits, VideoSettings
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.signals import end_at_next
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.run import HttpServer, check_port, serve
from pp1_orchestrator.server.settings import ServerSettings
from pp1_orchestrator.stage0.session import Session

log = logging.getLogger(__name__)


class Web:
    """Raises ConfigError at once for an address that is not allowed or already taken."""

    def __init__(self, settings: Settings) -> None:
        serving, stream = settings.serving, settings.stream
        self._server_settings = ServerSettings(serving.host, serving.port, serving.token)
        check_port(serving.host, serving.port)
        logging.getLogger("aioice").setLevel(logging.WARNING)  # else a line for each candidate pair of each viewer
        self._limits = PeerLimits(viewers=serving.max_viewers, viewers_per_address=serving.viewers_per_address)
        self._video = VideoSettings(
            stream.height, stream.width, stream.fps, bitrate=serving.bitrate, keyframe_every_s=serving.keyframe_s
        )
        self._broadcaster: Broadcaster | None = None

    def make_sink(self, instruments: Instruments) -> PacedSink:
        """Where the stream's frames go: shown in real time, encoded once for all viewers."""
        instruments.metrics.target_fps(self._video.fps)
        self._broadcaster = Broadcaster(self._video, instruments.metrics)
        return PacedSink(
            self._broadcaster,
            self._video.fps,
            placeholder(self._video.height, self._video.width),
            instruments.metrics,
            instruments.receipts.shown,
        )

    def serve(self, session: Session, instruments: Instruments) -> None:
        """Serve until a signal comes or the stream ends."""
        assert self._broadcaster is not None
        settings = self._server_settings
        policy = CandidatePolicy(settings.host)
        peers = WhepPeers(self._broadcaster, self._video.codec, self._limits, policy, instruments.metrics)
        registry = instruments.metrics.registry
        app = create_app(
            session, peers, instruments.events, registry, settings, ui.mount_panel, instruments.metrics.limited
        )

        def stop_with_stream(server: HttpServer) -> None:
            def wait() -> None:
                session.done.wait()
                server.stop()

            threading.Thread(target=wait, name="stop-with-stream", daemon=True).start()

        gc.collect()
        gc.freeze()  # else each full collection walks all of torch, and holds viewers and pacer up for 150 ms
        serve(
            app,
            settings.host,
            settings.port,
            settings.limits,
            on_started=lambda: log.info("the page is at http://%s:%d/", settings.host, settings.port),
            on_server=stop_with_stream,
            on_signal=end_at_next,
        )
