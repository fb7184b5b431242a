"""Call ids rise. A message that comes twice, or after a newer one, is taken off the wire and dropped.

Both ends do so, and it must not matter when: whoever has sent a message too many must not wait until it is taken
(see `mesh.leader`), since the other end may be sending, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pp1_orchestrator.contract import wire
from pp1_orchestrator.transport.groups import Sending
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.messages import Received

log = logging.getLogger(__name__)


class Rising:
    """What is received, without what came before. dropped: called for each message that is left out."""

    def __init__(self, receive: Callable[[], Received], dropped: Callable[[], None]) -> None:
        self._receive, self._dropped = receive, dropped
        self._newest = -1

    def receive(self) -> Received:
        """Wait for the next message that is newer than all before it."""
        while True:
            received = self._receive()
            call_id = received.message.meta.call_id
            if call_id > self._newest:
                self._newest = call_id
                return received
            log.warning(
                "a message came twice or late and was dropped: call %d after %d", call_id, self._newest,
                extra={"call_id": call_id},
            )  # fmt: skip
            self._dropped()


class OrderedLink:
    """A link whose results rise. Implements `transport.link.MeshLink`."""

    def __init__(self, link: MeshLink, dropped: Callable[[], None]) -> None:
        self._link, self._rising = link, Rising(link.receive, dropped)
        self.device, self.version = link.device, link.version

    def send(self, parcel: wire.Parcel) -> None:
        self._link.send(parcel)

    def start_send(self, parcel: wire.Parcel) -> Sending:
        return self._link.start_send(parcel)

    def receive(self) -> Received:
        return self._rising.receive()

    def settle(self) -> None:
        self._link.settle()
