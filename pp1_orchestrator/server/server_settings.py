"""Settings of the server: address, tokens and limits."""

import re
import ssl
from dataclasses import dataclass, field

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.ice_servers import IceServer
from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.server.root_path import OWN_NAMES, is_root_path

ORIGIN = re.compile(r"https?://(\*\.)?([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
"""Of a web page, as Content-Security-Policy writes it."""
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Binds to all addresses, and one of these."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` requests a second on average, up to `burst` at a time."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on everything that clients can make grow. Sizes in bytes, times in seconds."""

    body_bytes: int = 64 * 1024
    body_s: float = 10.0
    header_bytes: int = 16 * 1024
    header_s: int = 5
    event_streams: int = 32
    event_streams_per_client: int = 16
    heartbeat_s: float = 5.0
    connections: int = 256
    """Fewer where the limit on open files is low."""
    connections_per_client: int = 64
    """Loopback is not limited: a proxy there speaks for many."""
    spare_connections: int = 64
    """Beyond `connections`, for health alone. So many that one is not gone before it has been read, some rounds of the
    event loop after it was accepted."""
    answer_s: float = 10.0
    answer_bytes_s: float = 16 * 1024.0
    """What has been written may wait for its client for `answer_s`, and for the time that it takes at this rate."""
    offers: Rate = Rate(2, 16)
    prompt_updates: Rate = Rate(2, 20)
    changes: Rate = Rate(5, 40)
    """Commands, timelines, clips and leases. This rate and the two above are for each client."""
    guesses: Rate = Rate(5, 40)
    """Wrong tokens, for each client."""
    clients: int = 1024
    """How many clients the rate limits remember."""
    lease_s: float = 10.0
    """A client that holds control or waits for it is dropped when it has not renewed for this long."""
    lease_waiting: int = 16
    name_chars: int = 40
    shutdown_s: int = 2
    """How long open connections may take to end before they are closed."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """token: permits everything; view_token: only reading and watching. root_path: where a proxy serves the page.
    frame_ancestors: origins whose pages may show ours in a frame. tls: None for plain HTTP. ice_servers: for viewers.

    Raises ConfigError for a non-loopback host without a token, a view_token that restricts nobody, a root_path that
    can't be one, and what is no origin.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    view_token: str | None = None
    root_path: str | None = None
    frame_ancestors: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    ice_servers: tuple[IceServer, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.root_path is not None and not is_root_path(self.root_path):
            raise ConfigError(
                f"serving.root_path={self.root_path}: expected a path such as /pp1, without a slash at its end, whose "
                f"first part is none of {', '.join(sorted(OWN_NAMES))}"
            )
        for origin in self.frame_ancestors:
            if not ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"serving.frame_ancestors: {origin!r} is not an origin; expected one such as https://example.org, "
                    "http://localhost:8000 or, for all names below one, https://*.example.org, without a path"
                )
        if self.view_token and (not self.token or self.view_token == self.token):
            raise ConfigError(
                "serving.view_token: without another serving.token everybody could change the stream; set both, and "
                "not to the same"
            )
        if not self.loopback and not self.token:
            raise ConfigError(
                f"serving.host={self.host}: other machines could use it, so serving.token must be set; "
                "without a token only a loopback address such as 127.0.0.1 is allowed"
            )

    def tokens(self) -> dict[str, bool]:
        """Each token, and whether it permits changes."""
        return {token: may for token, may in ((self.token, True), (self.view_token, False)) if token}

    @property
    def page(self) -> str:
        """Where a browser on this machine finds the page."""
        host = WILDCARDS.get(self.host, self.host)
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def loopback(self) -> bool:
        return is_loopback_host(self.host)
