"""Who holds control of the stream: at most one client at a time, who renews it, hands it over, or loses it.

Knows nothing of HTTP. Nobody has to hold it: while nobody does, everybody may change the stream.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.schemas import Lease, LeaseParticipant, LeaseState

KEY_BYTES, CHARS = 16, 20


@dataclass(slots=True)
class _Client:
    key: str
    id: str
    name: str
    until_s: float

    def seat(self) -> LeaseParticipant:
        return LeaseParticipant(id=self.id, name=self.name)


class Leases:
    """One lease and those who wait for it. Belongs to one event loop's thread.

    lease_s: holder and waiting clients are forgotten when they say nothing for so long. on_change(reason, state):
    holder or waiting clients are others now.
    """

    def __init__(
        self,
        lease_s: float,
        waiting: int,
        on_change: Callable[[str, LeaseState], None] = lambda *_: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_s, self._places, self._on_change, self._now = lease_s, waiting, on_change, now
        self._holder: _Client | None = None
        self._waiting: list[_Client] = []
        self._count = 0

    def state(self) -> LeaseState:
        self.expire()
        return self._state()

    def check(self, key: str | None) -> None:
        """Raises RequestError 409 when somebody else holds control; the holder's lease is renewed."""
        self.expire()
        if self._holder is None:
            return
        if key is None or self._find(key) is not self._holder:
            line = f"{self._holder.name} has control of the stream; ask for it, or take it when it is free"
            raise RequestError(line, status=409)
        self._renew(self._holder)

    def take(self, key: str | None, name: str | None) -> Lease:
        """Hold control. Raises RequestError 409 when somebody else does."""
        self.check(key)
        client = self._known(key, name)
        if self._holder is not client:
            self._hold(client, "taken")
        return self._lease(client)

    def request(self, key: str | None, name: str | None) -> Lease:
        """Wait for control; whoever finds it free has it at once. Raises RequestError 503 when too many wait."""
        self.expire()
        client = self._known(key, name)
        if self._holder is None:
            self._hold(client, "taken")
        elif client is not self._holder and client not in self._waiting:
            if len(self._waiting) >= self._places:
                raise RequestError(f"{self._places} clients wait for control already", status=503)
            self._waiting.append(client)
            self._on_change("requested", self._state())
        return self._lease(client)

    def renew(self, key: str | None) -> Lease:
        """Still here, as holder or waiting. Raises RequestError 409 for anybody else."""
        self.expire()
        return self._lease(self._mine(key))

    def release(self, key: str | None) -> None:
        """Hold control no more, or wait no more: whoever waits longest has it next. 409 for anybody else."""
        self.expire()
        client = self._mine(key)
        if client is self._holder:
            self._pass_on("released")
        else:
            self._waiting.remove(client)
            self._on_change("withdrawn", self._state())

    def hand_over(self, key: str | None, to: str | None) -> None:
        """Give control to a waiting client, by default to the one that waits longest. 409 where that can't be."""
        self.expire()
        if self._mine(key) is not self._holder:
            raise RequestError("only who holds control can hand it over", status=409)
        heirs = [client for client in self._waiting if to in (None, client.id)]
        if not heirs:
            line = "nobody waits for control" if to is None else f"{to[:CHARS]} does not wait for control"
            raise RequestError(line, status=409)
        self._hold(heirs[0], "handed over")

    def expire(self) -> None:
        """Forget whoever has been silent for too long."""
        now = self._now()
        gone = [client for client in self._waiting if client.until_s < now]
        if gone:
            self._waiting = [client for client in self._waiting if client not in gone]
            self._on_change("expired", self._state())
        if self._holder is not None and self._holder.until_s < now:
            self._pass_on("expired")

    def _state(self) -> LeaseState:
        holder = self._holder.seat() if self._holder else None
        return LeaseState(holder=holder, waiting=[client.seat() for client in self._waiting])

    def _pass_on(self, reason: str) -> None:
        self._holder = None
        if self._waiting:
            self._hold(self._waiting[0], reason)
        else:
            self._on_change(reason, self._state())

    def _hold(self, client: _Client, reason: str) -> None:
        self._holder = client
        self._waiting = [other for other in self._waiting if other is not client]
        self._renew(client)
        self._on_change(reason, self._state())

    def _renew(self, client: _Client) -> None:
        client.until_s = self._now() + self._lease_s

    def _find(self, key: str) -> _Client | None:
        clients = [*self._waiting, self._holder] if self._holder else self._waiting
        return next((client for client in clients if secrets.compare_digest(client.key.encode(), key.encode())), None)

    def _mine(self, key: str | None) -> _Client:
        client = self._find(key) if key is not None else None
        if client is None:
            raise RequestError("you neither hold control nor wait for it; take it, or ask for it", status=409)
        return client

    def _known(self, key: str | None, name: str | None) -> _Client:
        """The client with this key, or a new one."""
        client = self._find(key) if key is not None else None
        if client is None:
            self._count += 1
            number = f"v{self._count}"
            client = _Client(secrets.token_urlsafe(KEY_BYTES), number, name or f"Viewer {self._count}", 0.0)
        return client

    def _lease(self, client: _Client) -> Lease:
        self._renew(client)
        holds = client is self._holder
        return Lease(key=client.key, id=client.id, name=client.name, holds=holds, expires_s=self._lease_s)
