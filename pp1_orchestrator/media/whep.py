"""All WebRTC viewers: admission, limits, and removal of those that are gone. Knows nothing of HTTP.

Belongs to one event loop.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from pp1_orchestrator.errors import RequestError, named_line
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.encoder import CODECS
from pp1_orchestrator.media.loopback import LOOPBACK, is_loopback_host
from pp1_orchestrator.media.media_settings import Codec, PeerLimits
from pp1_orchestrator.media.peer import Viewer
from pp1_orchestrator.media.sdp import (
    CandidatePolicy,
    ViewerAddresses,
    check_description,
    filter_offer,
)
from pp1_orchestrator.media.sdp_sections import OfferedSections
from pp1_orchestrator.polling_thread import SuspendDetector
from pp1_orchestrator.types import Limited, ViewerMetrics

log = logging.getLogger(__name__)
NEGOTIATE_S = 5.0
RTPMAP = re.compile(r"^a=rtpmap:\d+ +(\w+)/", re.MULTILINE)
"""The name of a codec that is offered."""
TURN_POLL_S = 0.02
LEFT_KEPT = 64
CLOSED = "the server is ending; no viewer is taken"


class WhepPeers:
    """Viewers by id. Call `start` first and `close_all` last."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        codec: Codec,
        limits: PeerLimits,
        policy: CandidatePolicy,
        metrics: ViewerMetrics,
        others: Callable[[], list[str]] = list,
        more: Mapping[Codec, Broadcaster] = MappingProxyType({}),
    ) -> None:
        """others: the addresses of the viewers that come another way, and share the limits. more: broadcasters of other
        codecs, for viewers that can't take `codec`."""
        self._usual: Codec = codec
        self._broadcasters: dict[Codec, Broadcaster] = {codec: broadcaster, **more}
        self._limits, self._policy, self._metrics, self._others = limits, policy, metrics, others
        self._viewers: dict[str, tuple[Viewer, str]] = {}
        """Each viewer with its address."""
        self._left: deque[str] = deque(maxlen=LEFT_KEPT)
        """Viewers that were removed because they have gone, newest last. They may still say so."""
        self._pending: list[str] = []
        """Addresses of the offers that are being answered."""
        self._waiting: list[str] = []
        """Addresses of the offers that wait until fewer viewers are connecting."""
        self._turns = asyncio.Lock()
        """Held by the first of those that wait. Later ones come in order."""
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Viewers that got an answer and have not been removed."""
        return len(self._viewers)

    @property
    def addresses(self) -> list[str]:
        """Of all viewers and of the offers that are being answered, one for each place that is taken."""
        return [*self._pending, *(address for _, address in self._viewers.values())]

    def start(self) -> None:
        """Begin to look for viewers that are gone. Needs a running event loop."""
        self._reaper = asyncio.create_task(self._reap())

    async def offer(self, sdp: str, address: str = LOOPBACK) -> tuple[str, str]:
        """Admit a viewer; its id and the SDP answer. Raises RequestError 400, 413, or 503 when a limit is reached.

        Waits while many others are connecting. address: the client's, for the limit on viewers per address.
        """
        yielding = await self._turn(address)
        addresses = self._policy.for_viewer()
        sections = OfferedSections(filter_offer(sdp, self._limits, addresses))
        check_description(sections.wanted)
        if yielding is not None:
            log.info("viewer %s has not connected and gives way", yielding[:6])
            self._close_soon(yielding)
        self._pending.append(address)
        try:
            viewer_id, answer = await self._admit(sections.wanted, address, addresses)
        finally:
            self._pending.remove(address)
        return viewer_id, sections.answer(answer)

    async def close(self, viewer_id: str) -> bool:
        """Remove a viewer; False when there is none with this id.

        A browser's connection may end before its request to end it arrives: that one is answered as if it came first.
        """
        viewer = self._remove(viewer_id)
        if viewer is None:
            if viewer_id not in self._left:
                return False
            self._left.remove(viewer_id)
            return True
        await viewer.close()
        return True

    async def close_all(self) -> None:
        """Remove all viewers and stop looking for those that are gone. From now on no offer is taken."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            self._reaper = None
        await asyncio.gather(*(self.close(viewer_id) for viewer_id in list(self._viewers)), *self._tasks)

    async def _turn(self, address: str) -> str | None:
        """Wait until fewer viewers are connecting. Returns what `_check_places` does, and raises RequestError 503."""
        self._check_places(address, self._waiting)
        if len(self._waiting) >= self._limits.offers_waiting:
            self._refuse("pending", f"{self._limits.offers_waiting} offers are waiting; try again")
        self._waiting.append(address)
        try:
            async with asyncio.timeout(self._limits.wait_s), self._turns:
                while self._is_busy() and not self._closed:
                    await asyncio.sleep(TURN_POLL_S)  # time alone may end it: viewers give way after a while
        except TimeoutError:
            self._refuse("pending", "too many viewers are connecting; try again")
        finally:
            self._waiting.remove(address)
        return self._check_places(address, [])

    def _is_busy(self) -> bool:
        """Whether too many viewers are connecting, none of which has to give way yet."""
        limits, connecting = self._limits, self._connecting()
        if len(self._pending) >= limits.offers_pending:
            return True
        return len(self._pending) + len(connecting) >= limits.connecting and self._oldest(connecting) is None

    def _check_places(self, address: str, before: list[str]) -> str | None:
        """The viewer that has to give way for another one at this address, if any. Raises RequestError 503.

        before: addresses of offers that come first.
        """
        if self._closed:
            raise RequestError(CLOSED, status=503)
        limits, connecting = self._limits, self._connecting()
        taken = [*before, *self.addresses, *self._others()]
        if not is_loopback_host(address) and taken.count(address) >= limits.viewers_per_address:
            own = [viewer_id for viewer_id in connecting if self._viewers[viewer_id][1] == address]
            line = f"all {limits.viewers_per_address} viewer places of one address are taken"
            return self._oldest(own) or self._refuse("address", line)
        if len(taken) >= limits.viewers:
            return self._oldest(connecting) or self._refuse("viewers", f"all {limits.viewers} viewer places are taken")
        if len(self._pending) + len(connecting) >= limits.connecting:
            return self._oldest(connecting)
        return None

    def _connecting(self) -> list[str]:
        """Viewers that got an answer and were not heard from yet, oldest first."""
        return [viewer_id for viewer_id, (viewer, _) in self._viewers.items() if not viewer.is_connected]

    def _oldest(self, connecting: list[str]) -> str | None:
        """The first of these viewers that has had its time to connect, if any."""
        now = time.monotonic()
        return next((each for each in connecting if self._viewers[each][0].may_yield(now)), None)

    def _refuse(self, limit: Limited, line: str) -> NoReturn:
        self._metrics.limited(limit)
        raise RequestError(line, status=503)

    async def _admit(self, offer: str, address: str, addresses: ViewerAddresses) -> tuple[str, str]:
        viewer_id = secrets.token_urlsafe(16)
        codec = self._choose(offer)
        broadcaster, mime = self._broadcasters[codec], CODECS[codec].mime
        viewer = Viewer(broadcaster, mime, self._limits, addresses, lambda: self._close_soon(viewer_id))
        admitted = False
        try:
            answer = await asyncio.wait_for(viewer.answer(offer), NEGOTIATE_S)
            admitted = not self._closed
        except Exception as error:  # a request's boundary: aiortc raises anything for a bad offer
            log.info("an offer was refused: %s", named_line(error))
            wanted = " or ".join(CODECS[codec].mime for codec in self._broadcasters)
            raise RequestError(f"the offer can't be answered; it must take {wanted}", status=400) from error
        finally:
            if not admitted:
                await viewer.close()
        if not admitted:
            raise RequestError(CLOSED, status=503)
        self._viewers[viewer_id] = viewer, address
        self._metrics.viewers(self.count)
        return viewer_id, answer

    def _choose(self, offer: str) -> Codec:
        """The first codec of ours that the offer has."""
        offered = {str(name).lower() for name in RTPMAP.findall(offer)}
        for codec in self._broadcasters:
            if not offered.isdisjoint((codec,)):
                return codec
        return self._usual

    def _remove(self, viewer_id: str) -> Viewer | None:
        viewer, _ = self._viewers.pop(viewer_id, (None, ""))
        if viewer is not None:
            self._metrics.viewers(self.count)
        return viewer

    def _close_soon(self, viewer_id: str) -> None:
        """Remove a viewer, and close it in a new task, since its own callbacks can't wait for that."""
        viewer = self._remove(viewer_id)
        if viewer is not None:
            self._left.append(viewer_id)
            task = asyncio.ensure_future(viewer.close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reap(self) -> None:
        detector = SuspendDetector(self._limits.reap_every_s, time.monotonic())
        while True:
            await asyncio.sleep(self._limits.reap_every_s)
            now = time.monotonic()
            suspended_s = detector.suspended_s(now)
            for viewer_id, (viewer, _) in list(self._viewers.items()):
                if viewer.is_gone(now, suspended_s):
                    log.info("viewer %s is gone", viewer_id[:6])
                    self._close_soon(viewer_id)
                elif (quality := await viewer.quality.take()) is not None:
                    self._metrics.viewer_quality(quality.rtt_s, quality.sent, quality.lost)
