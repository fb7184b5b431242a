"""Asks STUN and TURN servers for a viewer's further candidates: all of them at once, and never for long.

aiortc would take the first server of each kind, and wait five seconds for one that does not answer.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from aioice import Candidate
from aioice.ice import Connection, StunProtocol, relayed_candidate, server_reflexive_candidate

from pp1_orchestrator.media.ice_servers import IceServer, IceUrl
from pp1_orchestrator.media.sdp import ViewerAddresses

log = logging.getLogger(__name__)
GATHER_S = 1.0
"""Longest wait for all servers together: a viewer waits for it, and has candidates without them."""
FREE_S = 0.5
"""Longest wait for a server to take a relay back."""
Found = tuple[Candidate, StunProtocol | None]
"""A candidate, and the port of a relay."""


async def ask_servers(
    connection: Connection, component: int, ports: Sequence[StunProtocol], addresses: ViewerAddresses
) -> list[Found]:
    """What the servers answer within `GATHER_S`. ports: those of this machine that STUN servers tell the address of."""
    asked: dict[asyncio.Task[Found], IceUrl] = {}
    for server in addresses.servers:
        for url in server.asked(addresses.only_relays):
            for question in _questions(connection, component, ports, server, url):
                asked[asyncio.create_task(question)] = url
    if not asked:
        return []
    try:
        done, late = await asyncio.wait(asked, timeout=GATHER_S)
    except asyncio.CancelledError:
        _give_up(asked)
        raise
    _give_up(late)
    found: list[Found] = []
    errors: dict[IceUrl, BaseException | None] = dict.fromkeys(asked[task] for task in late)
    for task in done:
        if (error := task.exception()) is None:
            found.append(task.result())
        else:
            errors[asked[task]] = error
    answered = {asked[task] for task in done if task.exception() is None}
    for url, error in errors.items():
        if url not in answered:  # it may have told the address of one port and not of another
            _report(url, error)
    return found


def _give_up(tasks: Iterable[asyncio.Task[Found]]) -> None:
    for task in tasks:
        task.add_done_callback(_discard)
        task.cancel()


def _discard(task: asyncio.Task[Found]) -> None:
    """Free the relay of an answer that nobody waits for any more."""
    if not task.cancelled() and task.exception() is None and (relay := task.result()[1]) is not None:
        relay.transport.close()


def _questions(
    connection: Connection, component: int, ports: Sequence[StunProtocol], server: IceServer, url: IceUrl
) -> list[Coroutine[Any, Any, Found]]:
    if not url.relays:
        versions = [(port, ipaddress.ip_address(port.local_candidate.host).version) for port in ports]
        return [server_reflexive_candidate(port, (url.host, url.port)) for port, version in versions if version == 4]
    return [_allocate(connection, component, server, url)]


async def _allocate(connection: Connection, component: int, server: IceServer, url: IceUrl) -> Found:
    candidate, relay = await relayed_candidate(
        component=component,
        hide_related_address=True,
        protocol_factory=lambda: StunProtocol(connection),
        turn_server=(url.host, url.port),
        turn_username=server.username,
        turn_password=server.credential,
        turn_ssl=url.tls,
        turn_transport=url.transport,
    )

    close = relay.close

    async def close_soon() -> None:
        """aioice would wait for half a minute until a server has heard of it that has gone."""
        await asyncio.wait([asyncio.ensure_future(close())], timeout=FREE_S)

    relay.close = close_soon
    return candidate, relay


def _report(url: IceUrl, error: BaseException | None) -> None:
    what, where = "no relay" if url.relays else "no address", f"{url.scheme}:{url.host}:{url.port}"
    log.warning("%s: %s, %s", where, what, f"no answer within {GATHER_S:g} s" if error is None else error)
