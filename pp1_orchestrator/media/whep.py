"""All WebRTC viewers: how many there may be, and getting rid of those that went away. Knows nothing of HTTP.

Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter

from pp1_orchestrator.errors import RequestError, named_line
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.encoder import CODECS
from pp1_orchestrator.media.media_settings import Codec, MediaFigures, PeerLimits, PlaceLimit
from pp1_orchestrator.media.peer import Viewer
from pp1_orchestrator.media.sdp import CandidatePolicy, check_parsed, checked_offer, is_loopback_host
from pp1_orchestrator.polling import SuspendDetector

log = logging.getLogger(__name__)
NEGOTIATE_S = 5.0
LOCAL = "127.0.0.1"


class WhepPeers:
    """Viewers by id. `start` and `close_all` frame its life."""

    def __init__(
        self, broadcaster: Broadcaster, codec: Codec, limits: PeerLimits, policy: CandidatePolicy, figures: MediaFigures
    ) -> None:
        self._broadcaster, self._mime = broadcaster, CODECS[codec].mime
        self._limits, self._policy, self._figures = limits, policy, figures
        self._viewers: dict[str, tuple[Viewer, str]] = {}
        self._negotiating = 0
        self._places: Counter[str] = Counter()
        """Viewers and offers by address."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Viewers that have an answer and were not seen to go."""
        return len(self._viewers)

    def start(self) -> None:
        """Begin to look for viewers that went away. Needs a running loop."""
        self._reaper = asyncio.create_task(self._reap())

    async def offer(self, sdp: str, address: str = LOCAL) -> tuple[str, str]:
        """Take a viewer in: its id and our answer. Raises RequestError: 400, 413, or 503 when there is no place.

        address: where the viewer is, as far as it is told apart from others.
        """
        self._check_room(address)
        offer = checked_offer(sdp, self._limits, self._policy)
        check_parsed(offer)
        self._negotiating += 1
        self._places[address] += 1
        try:
            return await self._admit(offer, address)
        finally:
            self._negotiating -= 1
            self._leave(address)

    async def close(self, viewer_id: str) -> bool:
        """Let a viewer go; False when there is none with this id."""
        viewer, address = self._viewers.pop(viewer_id, (None, ""))
        if viewer is None:
            return False
        self._leave(address)
        self._figures.viewers(self.count)
        await viewer.close()
        return True

    async def close_all(self) -> None:
        """Let everybody go and stop looking after them."""
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            self._reaper = None
        await asyncio.gather(*(self.close(viewer_id) for viewer_id in list(self._viewers)), *self._tasks)

    def _check_room(self, address: str) -> None:
        limits = self._limits
        if self._negotiating >= limits.offers_pending:
            raise self._no_place("pending", f"{limits.offers_pending} offers are being answered; try again")
        if self.count + self._negotiating >= limits.viewers:
            raise self._no_place("viewers", f"all {limits.viewers} viewer places are taken")
        if not is_loopback_host(address) and self._places[address] >= limits.viewers_per_address:
            line = f"all {limits.viewers_per_address} viewer places of one address are taken"
            raise self._no_place("address", line)

    def _no_place(self, limit: PlaceLimit, line: str) -> RequestError:
        self._figures.limited(limit)
        return RequestError(line, status=503)

    def _leave(self, address: str) -> None:
        """One viewer or offer fewer from an address; nothing is kept of one that has none left."""
        self._places[address] -= 1
        self._places += Counter()

    async def _admit(self, offer: str, address: str) -> tuple[str, str]:
        viewer_id = secrets.token_urlsafe(16)
        viewer = Viewer(
            self._broadcaster,
            self._mime,
            self._limits,
            self._policy.local_addresses,
            gone=lambda: self._forget_soon(viewer_id),
        )
        admitted = False
        try:
            answer = await asyncio.wait_for(viewer.answer(offer), NEGOTIATE_S)
            admitted = True
        except Exception as error:  # a request's boundary: aiortc raises anything for a bad offer
            log.info("an offer was refused: %s", named_line(error))
            raise RequestError(f"the offer can't be answered; it must take {self._mime}", status=400) from error
        finally:
            if not admitted:
                await viewer.close()
        self._viewers[viewer_id] = viewer, address
        self._places[address] += 1
        self._figures.viewers(self.count)
        return viewer_id, answer

    def _forget_soon(self, viewer_id: str) -> None:
        """Close a viewer from inside one of its own callbacks."""

        async def forget() -> None:
            await self.close(viewer_id)

        task = asyncio.ensure_future(forget())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reap(self) -> None:
        detector = SuspendDetector(self._limits.reap_every_s, time.monotonic())
        while True:
            await asyncio.sleep(self._limits.reap_every_s)
            now = time.monotonic()
            suspended_s = detector.suspended_s(now)
            for viewer_id, (viewer, _) in list(self._viewers.items()):
                viewer.forgive(suspended_s)
                viewer.rest_if_silent(now)
                if viewer.stale(now):
                    log.info("viewer %s went away", viewer_id[:6])
                    self._forget_soon(viewer_id)
