"""What attackers do to a running program, one at a time: `python -m benchmarks.attacks.attackers NAME URL SECONDS`.

Each runs in a process of its own, so that its work does not slow down those who measure.
"""

import asyncio
import itertools
import re
import resource
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import urlsplit

from benchmarks.attacks.viewer import NUMBERS, CountingClient
from benchmarks.chaos.watcher import Watcher
from pp1_orchestrator.media.aiortc_patches import ice_connection
from tests.fault.sdp_offers import seeds
from tests.security.udp_attacks import ALERT, CLIENT_HELLO, JUNK, nack, port_in

CONNECTIONS, IDLE, AGAIN = 255, 1100, 5
DATAGRAMS_A_ROUND, ROUND_S = 20, 0.01
NAMED, TIMES = 100, 3
LONGEST, SLACK_S = 2000, 60.0
LARGE = re.compile(r"assets/[\w.-]+\.js")


def ask(url: str, path: str, method: str = "GET", body: str | None = None, media_type: str = "application/json") -> str:
    """The answer's body; empty for a refusal."""
    data = None if body is None else body.encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": media_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode(errors="replace")
    except (urllib.error.HTTPError, OSError):
        return ""


def connect(url: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    place = urlsplit(url)
    client.connect((place.hostname, place.port))
    return client


def crowd(url: str, size: int, data: bytes, end_s: float) -> None:
    """Connections that send this and never read. Those that the server closes are opened again, a few at a time."""
    clients: list[socket.socket] = []
    most = size
    while time.monotonic() < end_s:
        for _ in range(min(most, size - len(clients))):
            clients.append(connect(url))
            try:
                clients[-1].sendall(data)
            except OSError:
                clients.pop().close()
        clients, most = [client for client in clients if _is_open(client)], AGAIN
        time.sleep(0.05)


def _is_open(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def unread_answers(url: str, end_s: float) -> None:
    """255 connections that ask for the page's largest files and never read."""
    page = ask(url, "/")
    paths = sorted(set(LARGE.findall(page))) or ["api/openapi.json"]
    asked = "".join(f"GET /{path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n" for path in paths[:20])
    crowd(url, CONNECTIONS, asked.encode(), end_s)


def idle_connections(url: str, end_s: float) -> None:
    """1,100 connections that send nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd(url, IDLE, b"", end_s)


def odd_paths(url: str, end_s: float) -> None:
    """Prompts to a path with a line break, and files with names of 300 characters."""
    for number in itertools.count():
        if time.monotonic() > end_s:
            return
        ask(url, "/api/prompt%0A", "POST", f'{{"prompt": "{number}"}}')
        ask(url, f"/assets/{'a' * 300}")


def event_streams(url: str, end_s: float) -> None:
    """One address takes as many event streams as it gets."""
    crowd(url, 40, f"GET /api/events HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode(), end_s)


def dead_offers(url: str, end_s: float) -> None:
    """Offers of viewers that never connect, and handshakes of strangers at each new port."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while time.monotonic() < end_s:
        answer = ask(url, "/whep", "POST", seeds()[0], "application/sdp")
        for packet in (CLIENT_HELLO, ALERT) if answer else ():
            stranger.sendto(packet, ("127.0.0.1", port_in(answer)))


def cuts(url: str, end_s: float) -> None:
    """Updates and hard cuts, as many as the rates allow."""
    while time.monotonic() < end_s:
        ask(url, "/api/prompt", "POST", '{"prompt": "a red circle moving left on a blue background"}')
        ask(url, "/api/control", "POST", '{"action": "hard_cut"}')
        time.sleep(0.3)


def clips(url: str, end_s: float) -> None:
    """Clips that are begun, ended, and read while later ones push them out."""
    for number in itertools.count(1):
        if time.monotonic() > end_s:
            return
        for action in ("start", "stop"):
            ask(url, "/api/clips", "POST", f'{{"action": "{action}"}}')
        ask(url, f"/api/clips/c{number}")


def strange_datagrams(url: str, end_s: float) -> None:
    """2,000 datagrams a second to a viewer's port, from a socket of somebody else."""
    _as_viewer(url, end_s, _send_junk)


def nacks(url: str, end_s: float) -> None:
    """A viewer that says again and again that the same packets were lost."""
    _as_viewer(url, end_s, _send_nacks)


async def _send_junk(client: CountingClient, end_s: float) -> None:
    packets: Iterator[bytes] = itertools.cycle(packet for packet in JUNK.values() if len(packet) <= LONGEST)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        [pair] = ice_connection(client.transport)._nominated.values()
        while time.monotonic() < end_s:
            for packet in itertools.islice(packets, DATAGRAMS_A_ROUND):
                stranger.sendto(packet, pair.remote_addr)
            await asyncio.sleep(ROUND_S)


async def _send_nacks(client: CountingClient, end_s: float) -> None:
    while time.monotonic() < end_s:
        newest = client.newest()
        if newest is not None:
            numbers = sorted((newest.number - n) % NUMBERS for n in range(NAMED))
            await client.transport._send_rtp(nack(newest.ssrc, numbers, TIMES))
        await asyncio.sleep(3 * ROUND_S)


def _as_viewer(url: str, end_s: float, attack: Callable[[CountingClient, float], Coroutine[Any, Any, None]]) -> None:
    """Attack with a viewer of one's own, and say how many bytes it was sent beyond the stream in the worst second."""
    made: list[CountingClient] = []

    def make() -> CountingClient:
        made.append(CountingClient())
        return made[-1]

    watcher, start_s = Watcher(url, make), time.monotonic()
    while made[0].newest() is None:
        time.sleep(ROUND_S)
    watcher.run(attack(made[0], end_s), end_s - start_s + SLACK_S)
    sys.stdout.write(f"{made[0].most_extra(start_s, end_s)}\n")
    watcher.close()


ATTACKS: dict[str, Callable[[str, float], None]] = {
    act.__name__: act
    for act in (
        strange_datagrams, nacks, unread_answers, idle_connections, odd_paths, event_streams, dead_offers, cuts, clips,
    )
}  # fmt: skip


def main() -> None:
    name, url, seconds = sys.argv[1:]
    ATTACKS[name](url, time.monotonic() + float(seconds))


if __name__ == "__main__":
    main()
