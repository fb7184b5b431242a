"""STUN and TURN servers: what may be configured, what this program asks of them, and how clients are told of them.

Knows nothing of aiortc. A server's credential is in no text that this module makes, except the header for clients.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pp1_orchestrator.errors import ConfigError

KEY = "serving.ice_servers"
MAX_URLS = 8
"""Of all servers together: a browser asks each of them, and waits."""
MAX_CHARS = 512
"""Of a user name and of a credential."""
MAX_PORT = 65535
PORT, TLS_PORT = 3478, 5349
URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)
"""RFC 7064 and RFC 7065."""
EXPECTED = "stun:HOST, stun:HOST:PORT, turn:HOST:PORT?transport=udp (or tcp) or turns:HOST:PORT"


@dataclass(frozen=True, slots=True)
class IceUrl:
    """One address of a server. transport: udp or tcp, below TLS where there is any."""

    scheme: str
    host: str
    port: int
    transport: str

    @property
    def relays(self) -> bool:
        return self.scheme in ("turn", "turns")

    @property
    def tls(self) -> bool:
        return self.scheme in ("stuns", "turns")


@dataclass(frozen=True, slots=True)
class IceServer:
    """urls: addresses of one server, the preferred one first. username, credential: of a TURN server's user."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def asked(self, only_relays: bool) -> list[IceUrl]:
        """The addresses that this program uses itself: the first of each kind that it can use."""
        urls = [parse_url(url) for url in self.urls]
        stun = [url for url in urls if url.scheme == "stun" and not only_relays]
        turn = [url for url in urls if url.relays and (url.transport == "tcp" or not url.tls)]
        return stun[:1] + turn[:1]

    def links(self) -> list[str]:
        """A value of the header `Link` for each address (RFC 9725)."""
        return [self._link(url) for url in self.urls]

    def _link(self, url: str) -> str:
        parts = [f"<{url}>", 'rel="ice-server"']
        if parse_url(url).relays:
            parts += [f"username={_quoted(self.username)}", f"credential={_quoted(self.credential)}"]
            parts += ['credential-type="password"']
        return "; ".join(parts)


def _quoted(text: str | None) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text or "") + '"'


def parse_url(url: str) -> IceUrl:
    """Raises ValueError for what is no address of a STUN or TURN server."""
    found = URL.fullmatch(url)
    if found is None or (found["transport"] and found["scheme"].startswith("stun")):
        raise ValueError("no address of a STUN or TURN server")
    secure = found["scheme"].endswith("s")
    port = int(found["port"]) if found["port"] else TLS_PORT if secure else PORT
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"the port must be from 1 to {MAX_PORT}")
    transport = found["transport"] or ("tcp" if secure else "udp")
    return IceUrl(found["scheme"], found["host"].strip("[]"), port, transport)


def check_ice_servers(servers: Iterable[tuple[Sequence[str], str | None, str | None]]) -> tuple[IceServer, ...]:
    """Servers from their urls, user names and credentials. Raises ConfigError, without a credential in its line."""
    checked = tuple(_check(f"{KEY}[{number}]", *server) for number, server in enumerate(servers))
    count = sum(len(server.urls) for server in checked)
    if count > MAX_URLS:
        raise ConfigError(f"{KEY}: {count} addresses; at most {MAX_URLS} are possible")
    return checked


def _check(key: str, urls: Sequence[str], username: str | None, credential: str | None) -> IceServer:
    if not urls:
        raise ConfigError(f"{key}.urls: is empty; expected addresses such as {EXPECTED}")
    for url in urls:
        try:
            parsed = parse_url(url)
        except ValueError as error:
            shown = "" if "@" in url else f"{url!r}: "  # somebody may have written a password there
            raise ConfigError(f"{key}.urls: {shown}{error}; expected addresses such as {EXPECTED}") from None
        for name, value in (("username", username), ("credential", credential)):
            if parsed.relays and not value:
                raise ConfigError(f"{key}.{name}: is missing; a TURN server needs username and credential")
    for name, value in (("username", username), ("credential", credential)):
        if value and not (value.isascii() and value.isprintable() and len(value) <= MAX_CHARS):
            raise ConfigError(f"{key}.{name}: expected up to {MAX_CHARS} printable characters of ASCII")
    return IceServer(tuple(urls), username or None, credential or None)
