"""An application over an in-memory stream, and the same one listening on a port."""

import atexit
import itertools
import shutil
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.clip_writer import ClipLimits
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.http_server import HttpServer
from pp1_orchestrator.server.port import bind
from pp1_orchestrator.server.server_settings import Limits, Rate, ServerSettings
from pp1_orchestrator.telemetry.metrics import Metrics
from tests.server.fakes import CountedPeers, MemoryStream

CLIPS, NUMBERS = Path(tempfile.mkdtemp()), itertools.count()
"""The folder of all applications' clips; each has its own subfolder."""
atexit.register(shutil.rmtree, CLIPS, ignore_errors=True)
PLENTY = Rate(1e6, 1_000_000)
LIMITS = Limits(
    heartbeat_s=0.2, body_s=0.5, header_s=1, event_streams=2,
    offers=PLENTY, prompt_updates=PLENTY, changes=PLENTY, guesses=PLENTY,
)  # fmt: skip


def make_clips(folder: Path, events: EventBus, size: int = 64, **limits) -> ClipRecorder:
    """A recorder that has got one frame."""
    bounds = ClipLimits(**{"seconds": 60.0, "bytes": 10_000_000, "kept": 2, **limits})
    tell = lambda clip: events.publish("clip", clip=clip.id, state=clip.state)  # noqa: E731
    clips = ClipRecorder(folder, VideoSettings(size, size, 16), bounds, Metrics(), tell)
    clips.show(placeholder(size, size), 0.0)
    return clips


def build(peers=None, mount_panel=None, limits=LIMITS, sockets=None, **options) -> types.SimpleNamespace:
    events, metrics = EventBus(), Metrics()
    stream, peers = MemoryStream(events), cast(WhepPeers, peers or CountedPeers())
    settings = ServerSettings(limits=limits, **options)
    clips = make_clips(CLIPS / str(next(NUMBERS)), events)
    app = create_app(stream, peers, clips, events, metrics.registry, settings, mount_panel, metrics.limited, sockets)
    return types.SimpleNamespace(
        app=app, stream=stream, peers=peers, clips=clips, events=events, metrics=metrics, settings=settings
    )


class Listening:
    """An application that listens, by default on 127.0.0.1 and a free port, in its own thread."""

    def __init__(self, app, port: int = 0, limits: Limits = LIMITS, host: str = "127.0.0.1", tls=None) -> None:
        socket = bind(host, port)
        self.port = socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        started = threading.Event()
        self.server = HttpServer(app, limits, started.set, tls)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [socket]}, daemon=True)
        self._thread.start()
        assert started.wait(120)

    def stop(self, timeout_s: float = 120.0) -> bool:
        """True when it ended in time."""
        self.server.stop()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


@pytest.fixture
def parts() -> types.SimpleNamespace:
    return build()


@pytest.fixture
def client(parts) -> Iterator[TestClient]:
    with TestClient(parts.app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def listening(parts) -> Iterator[Listening]:
    server = Listening(parts.app)
    yield server
    assert server.stop()
