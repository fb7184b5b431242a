"""The page with the real server and media parts around a painted stream, on a port that survives a restart."""

import time

from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.port import bind
from pp1_orchestrator.server.server_settings import Limits, ServerSettings
from pp1_orchestrator.ui import mount_panel, watch_page
from tests.server.conftest import Listening
from tests.ui.browser import Visit
from tests.ui.painted_stream import PaintedStream

RED, GREEN, BLUE = "r > 150 && g < 90", "g > 130 && r < 90", "b > 150 && r < 90"


class PageServer:
    """`stop` and `start` are a restart of the server; the stream continues meanwhile."""

    def __init__(self, limits: Limits | None = None, **options) -> None:
        """options: of ServerSettings."""
        self.stream, self._options = PaintedStream(), {"limits": limits or Limits(), **options}
        with bind("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self, limits: PeerLimits | None = None) -> None:
        self.peers, self.sockets = self.stream.make_peers(limits)
        registry = self.stream.metrics.registry
        settings = ServerSettings(port=self.port, **self._options)
        parts = self.stream, self.peers, self.stream.clips, self.stream.events, registry, settings, mount_panel
        app = create_app(*parts, sockets=self.sockets, watch_page=watch_page())
        self.server = Listening(app, self.port)

    def stop(self) -> None:
        assert self.server.stop()

    def close(self) -> None:
        self.stop()
        self.stream.close()

    def until(self, predicate) -> None:
        deadline = time.monotonic() + 120
        while not predicate():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def ask(page: Visit, prompt: str, key: str | None = "Enter") -> None:
    page.page.fill("#pp1-prompt textarea", prompt)
    if key is None:
        page.page.click("#pp1-apply")
    else:
        page.page.press("#pp1-prompt textarea", key)
