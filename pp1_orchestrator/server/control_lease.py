"""The control lease: at most one client controls the stream, and others wait for it.

While nobody holds the lease, every client may change the stream. Knows nothing of HTTP.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.schemas import Lease, LeaseParticipant, LeaseState

KEY_BYTES, MAX_ECHO_CHARS = 16, 20


@dataclass(slots=True)
class _Client:
    key: str
    public: LeaseParticipant
    expires_s: float = 0.0


class ControlLease:
    """The holder and the clients that wait. Not thread-safe: use it from one event loop.

    Args:
        lease_s: the holder and waiting clients are dropped when they have not renewed for this long.
        max_waiting: how many clients may wait.
        on_change: called with the reason and the new state when the holder or the waiting clients change.
    """

    def __init__(
        self,
        lease_s: float,
        max_waiting: int,
        on_change: Callable[[str, LeaseState], None] = lambda *_: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_s, self._max_waiting, self._on_change, self._now = lease_s, max_waiting, on_change, now
        self._holder: _Client | None = None
        self._waiting: list[_Client] = []
        self._count = 0

    def state(self) -> LeaseState:
        self.expire()
        return self._state()

    def check(self, key: str | None) -> None:
        """Renew the holder's lease. Raises RequestError 409 when another client holds it."""
        self.expire()
        if self._holder is None:
            return
        if key is None or self._find(key) is not self._holder:
            line = f"{self._holder.public.name} has control of the stream; ask for it, or take it when it is free"
            raise RequestError(line, status=409)
        self._renew(self._holder)

    def take(self, key: str | None, name: str | None) -> Lease:
        """Hold control. Raises RequestError 409 when another client does."""
        self.check(key)
        client = self._find_or_add(key, name)
        if self._holder is not client:
            self._grant(client, "taken")
        return self._lease(client)

    def request(self, key: str | None, name: str | None) -> Lease:
        """Wait for control, or hold it if it is free. Raises RequestError 503 when too many clients wait."""
        self.expire()
        client = self._find_or_add(key, name)
        if self._holder is None:
            self._grant(client, "taken")
        elif client is not self._holder and client not in self._waiting:
            if len(self._waiting) >= self._max_waiting:
                raise RequestError(f"{self._max_waiting} clients wait for control already", status=503)
            self._waiting.append(client)
            self._on_change("requested", self._state())
        return self._lease(client)

    def renew(self, key: str | None) -> Lease:
        """Keep holding or waiting. Raises RequestError 409 for any other client."""
        self.expire()
        return self._lease(self._participant(key))

    def release(self, key: str | None) -> None:
        """Stop holding or waiting. The longest-waiting client gets a released lease. 409 for any other client."""
        self.expire()
        client = self._participant(key)
        if client is self._holder:
            self._grant_next("released")
        else:
            self._waiting.remove(client)
            self._on_change("withdrawn", self._state())

    def hand_over(self, key: str | None, to: str | None) -> None:
        """Give control to a waiting client, by default the longest-waiting one. 409 where that is not possible."""
        self.expire()
        if self._participant(key) is not self._holder:
            raise RequestError("only who holds control can hand it over", status=409)
        client = next((client for client in self._waiting if to in (None, client.public.id)), None)
        if client is None:
            line = "nobody waits for control" if to is None else f"{to[:MAX_ECHO_CHARS]} does not wait for control"
            raise RequestError(line, status=409)
        self._grant(client, "handed over")

    def expire(self) -> None:
        """Drop clients that have not renewed in time."""
        now = self._now()
        kept = [client for client in self._waiting if client.expires_s >= now]
        if len(kept) < len(self._waiting):
            self._waiting = kept
            self._on_change("expired", self._state())
        if self._holder is not None and self._holder.expires_s < now:
            self._grant_next("expired")

    def _state(self) -> LeaseState:
        holder = self._holder.public if self._holder else None
        return LeaseState(holder=holder, waiting=[client.public for client in self._waiting])

    def _grant_next(self, reason: str) -> None:
        self._holder = None
        if self._waiting:
            self._grant(self._waiting[0], reason)
        else:
            self._on_change(reason, self._state())

    def _grant(self, client: _Client, reason: str) -> None:
        self._holder = client
        self._waiting = [other for other in self._waiting if other is not client]
        self._renew(client)
        self._on_change(reason, self._state())

    def _renew(self, client: _Client) -> None:
        client.expires_s = self._now() + self._lease_s

    def _find(self, key: str | None) -> _Client | None:
        clients = [*self._waiting, self._holder] if self._holder else self._waiting
        given = (key or "").encode()
        return next((client for client in clients if secrets.compare_digest(client.key.encode(), given)), None)

    def _participant(self, key: str | None) -> _Client:
        client = self._find(key)
        if client is None:
            raise RequestError("you neither hold control nor wait for it; take it, or ask for it", status=409)
        return client

    def _find_or_add(self, key: str | None, name: str | None) -> _Client:
        if client := self._find(key):
            return client
        self._count += 1
        public = LeaseParticipant(id=f"v{self._count}", name=name or f"Viewer {self._count}")
        return _Client(secrets.token_urlsafe(KEY_BYTES), public)

    def _lease(self, client: _Client) -> Lease:
        self._renew(client)
        holds = client is self._holder
        return Lease(key=client.key, **dict(client.public), holds=holds, expires_s=self._lease_s)
