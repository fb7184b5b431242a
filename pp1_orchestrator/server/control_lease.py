"""The control lease: at most one client controls the stream, and others wait for it.

While nobody holds the lease, every client may change the stream. Knows nothing of HTTP.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.schemas import Lease, LeaseParticipant, LeaseState
from pp1_orchestrator.types import KnownClient

KEY_BYTES, MAX_ECHO_CHARS = 16, 20


@dataclass(slots=True, eq=False)
class _Client:
    key_sha256: str
    public: LeaseParticipant
    expires_s: float


class ControlLease:
    """The holder and the clients that wait. Not thread-safe: use it from one event loop.

    lease_s: a client that has not renewed for this long is dropped. max_waiting: how many clients may wait. on_change:
    called with the reason and the new state when the holder or the waiting clients change. clients: of an earlier run;
    they have `lease_s` to come back.
    """

    def __init__(
        self,
        lease_s: float,
        max_waiting: int,
        on_change: Callable[[str, LeaseState], None] = lambda _reason, _state: None,
        now: Callable[[], float] = time.monotonic,
        clients: Iterable[KnownClient] = (),
    ) -> None:
        self._lease_s, self._max_waiting, self._on_change, self._now = lease_s, max_waiting, on_change, now
        self._clients = [_client(known, now() + lease_s) for known in clients][: max_waiting + 1]
        """The holder, then the clients that wait, the longest first. Replaced and never changed."""
        self._count = max((int(known.id[1:]) for known in clients), default=0)

    def known(self) -> tuple[KnownClient, ...]:
        """Its clients, for a later run. From any thread."""
        clients = self._clients
        return tuple(KnownClient(client.public.id, client.public.name, client.key_sha256) for client in clients)

    def state(self) -> LeaseState:
        self._expire()
        return self._state()

    def check(self, key: str | None) -> None:
        """Renew the holder's lease. Raises RequestError 409 when another client holds it."""
        self._expire()
        if not self._clients:
            return
        holder = self._clients[0]
        if self._find(key) is not holder:
            line = f"{holder.public.name} has control of the stream; ask for it, or take it when it is free"
            raise RequestError(line, status=409)
        self._renew(holder)

    def take(self, key: str | None, name: str | None) -> Lease:
        """Hold control. Raises RequestError 409 when another client does."""
        self.check(key)
        return self.request(key, name)

    def request(self, key: str | None, name: str | None) -> Lease:
        """Wait for control, or hold it if it is free. Raises RequestError 503 when too many clients wait."""
        self._expire()
        client = self._find(key)
        if client is not None:
            self._rename(client, name)
        else:
            if len(self._clients) > self._max_waiting:
                raise RequestError(f"{self._max_waiting} clients wait for control already", status=503)
            key = secrets.token_urlsafe(KEY_BYTES)
            client = self._new_client(key, name)
            self._change([*self._clients, client], "requested" if self._clients else "taken")
        return self._lease(client, key)

    def renew(self, key: str | None, name: str | None = None) -> Lease:
        """Keep holding or waiting, under a new name if one is given. Raises RequestError 409 for any other client."""
        client = self._participant(key)
        self._rename(client, name)
        return self._lease(client, key)

    def release(self, key: str | None) -> None:
        """Stop holding or waiting. The longest-waiting client gets a released lease. 409 for any other client."""
        client = self._participant(key)
        reason = "released" if client is self._clients[0] else "withdrawn"
        self._change([other for other in self._clients if other is not client], reason)

    def hand_over(self, key: str | None, to: str | None) -> None:
        """Give control to a waiting client, by default the longest-waiting one. 409 where that is not possible."""
        if self._participant(key) is not self._clients[0]:
            raise RequestError("only who holds control can hand it over", status=409)
        waiting = self._clients[1:]
        heir = next((client for client in waiting if to in (None, client.public.id)), None)
        if heir is None:
            line = "nobody waits for control" if to is None else f"{to[:MAX_ECHO_CHARS]} does not wait for control"
            raise RequestError(line, status=409)
        self._change([heir, *(client for client in waiting if client is not heir)], "handed over")

    def _expire(self) -> None:
        """Drop clients that have not renewed in time."""
        now = self._now()
        kept = [client for client in self._clients if client.expires_s >= now]
        if len(kept) < len(self._clients):
            self._change(kept, "expired")

    def _change(self, clients: list[_Client], reason: str) -> None:
        """Replace the clients and report it. A new holder gets the full time."""
        if clients and clients[:1] != self._clients[:1]:
            self._renew(clients[0])
        self._clients = clients
        self._on_change(reason, self._state())

    def _state(self) -> LeaseState:
        public = [client.public for client in self._clients]
        return LeaseState(holder=public[0] if public else None, waiting=public[1:])

    def _renew(self, client: _Client) -> None:
        client.expires_s = self._now() + self._lease_s

    def _find(self, key: str | None) -> _Client | None:
        given = _sha256(key or "")
        return next((client for client in self._clients if secrets.compare_digest(client.key_sha256, given)), None)

    def _participant(self, key: str | None) -> _Client:
        self._expire()
        client = self._find(key)
        if client is None:
            raise RequestError("you neither hold control nor wait for it; take it, or ask for it", status=409)
        return client

    def _rename(self, client: _Client, name: str | None) -> None:
        if name in (None, client.public.name):
            return
        client.public = LeaseParticipant(id=client.public.id, name=name or "")
        self._on_change("renamed", self._state())

    def _new_client(self, key: str, name: str | None) -> _Client:
        self._count += 1
        known = KnownClient(f"v{self._count}", name or f"Viewer {self._count}", _sha256(key))
        return _client(known, self._now() + self._lease_s)

    def _lease(self, client: _Client, key: str | None) -> Lease:
        """key: the client's own."""
        self._renew(client)
        holds = client is self._clients[0]
        return Lease(key=key or "", **dict(client.public), holds=holds, expires_s=self._lease_s)


def _client(known: KnownClient, expires_s: float) -> _Client:
    return _Client(known.key_sha256, LeaseParticipant(id=known.id, name=known.name), expires_s)


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
