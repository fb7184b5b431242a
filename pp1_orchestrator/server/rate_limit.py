"""Rate limits: a token bucket for each client address and kind of request. They apply before a body is read."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Scope

from pp1_orchestrator.media.viewer_limits import TokenBucket
from pp1_orchestrator.server.responses import error_reply
from pp1_orchestrator.server.server_settings import Limits, Rate
from pp1_orchestrator.types import Limited

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])
MARK = "limited"
NETWORK_BITS = 64
"""Prefix length of the IPv6 network that counts as one client: a client usually controls all of it."""


def client_of(scope: Scope) -> str:
    """The key by which a client is counted: its IPv4 address, its IPv6 network, or ::1."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return host if address.is_loopback else str(ipaddress.IPv6Network((address, NETWORK_BITS), strict=False))


class Buckets:
    """Token buckets by client. Above `clients` of them, the least recently used is dropped. Not thread-safe."""

    def __init__(self, rate: Rate, clients: int, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clients, self._now = rate, clients, now
        self._tokens: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take a token. Returns 0, or the seconds until the next token if there is none."""
        bucket = self._tokens.pop(client, None) or TokenBucket(self.rate.per_s, self.rate.burst, self._now)
        self._tokens[client] = bucket
        if len(self._tokens) > self._clients:
            self._tokens.popitem(last=False)
        if (wait_s := bucket.wait_s()) == 0:
            bucket.take()
        return wait_s

    def would_wait_s(self, client: str) -> float:
        """Like `wait_s`, without taking a token."""
        bucket = self._tokens.get(client)
        return 0.0 if bucket is None else bucket.wait_s()


def too_often(what: str, rate: Rate, wait_s: float) -> Response:
    """429 with Retry-After."""
    line = f"too many {what}: at most {rate.per_s:g} a second from one address"
    return error_reply(line, 429, {"Retry-After": str(math.ceil(wait_s))})


def limited(kind: Limited) -> Callable[[Endpoint], Endpoint]:
    """Mark the function of a route: its rate is checked before anything of the request is read."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__[MARK] = kind
        return endpoint

    return mark


class RateLimits:
    """The rates of each client. on_limited: called for each request that is refused."""

    def __init__(self, limits: Limits, on_limited: Callable[[Limited], None]) -> None:
        self._on_limited = on_limited
        self._buckets: Mapping[Limited, Buckets] = {
            "offers": Buckets(limits.offers, limits.clients),
            "prompts": Buckets(limits.prompt_updates, limits.clients),
            "changes": Buckets(limits.changes, limits.clients),
        }

    def refusal(self, endpoint: object, scope: Scope) -> Response | None:
        """429 if the client of a request has asked for this too often."""
        kind: Limited | None = getattr(endpoint, MARK, None)
        if kind is None or (wait_s := self._buckets[kind].wait_s(client_of(scope))) == 0:
            return None
        self._on_limited(kind)
        return too_often(kind, self._buckets[kind].rate, wait_s)
