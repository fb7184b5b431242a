"""Starts the media process, watches it, and replaces it when it ends or hangs. The stream goes on meanwhile.

Viewers of a process that has failed are gone. Pages connect again when they hear of the new one. It is started ahead,
because imports take longer than all else: it takes some 50 MB, and no time until it is needed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pp1_orchestrator.errors import named_line
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media_process.control_messages import Start, Stop, from_media_decoder, open_messages
from pp1_orchestrator.media_process.frame_slots import FrameSender
from pp1_orchestrator.media_process.media_connection import (
    MediaConnection,
    StartedProcess,
    describe_end,
    gone,
    start_process,
)
from pp1_orchestrator.media_process.remote_broadcaster import RemoteBroadcaster
from pp1_orchestrator.polling_thread import SuspendDetector
from pp1_orchestrator.supervision.supervisor import RestartBudget
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import RestartReason

log = logging.getLogger(__name__)
WATCH_S = 0.25
STOP_S = 4.0
"""Closing all viewers takes less."""
SPARE_S = 3.0
"""From when a process is up until the next one is started ahead: viewers come first."""
EXIT_S = 1.0
"""From the end of the connection to the end of the process."""


@dataclass(frozen=True, slots=True)
class MediaRules:
    """When a media process counts as failed, and how often it is replaced. Seconds.

    start_s: longest start. silent_s: longest silence. restarts: allowed within `window_s`; after one more failure there
    is no video for that long. pauses_s: before the first, second … restart. wait_s: how long an offer waits for a
    process that starts, with at most `waiting` others.
    """

    start_s: float
    silent_s: float
    restarts: int
    window_s: float = 60.0
    pauses_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)
    wait_s: float = 8.0
    waiting: int = 16


class MediaSupervisor:
    """Implements types.ViewerControl with a process that may be replaced. Belongs to one event loop.

    broadcaster: takes the stream's frames, and has its encoded packets for subscribers in this process.
    """

    def __init__(self, start: Start, rules: MediaRules, metrics: Metrics, events: EventBus) -> None:
        self.broadcaster = RemoteBroadcaster(start.video.bitrate, metrics)
        self._start_message, self._rules, self._metrics, self._events = start, rules, metrics, events
        self._restarts = 0
        self._spare: StartedProcess | None = None
        """Is ready to be the next one."""
        self._later: asyncio.TimerHandle | None = None
        self._budget = RestartBudget(rules.restarts, rules.window_s, rules.pauses_s)
        self._connection: MediaConnection | None = None
        """Of a process that is up."""
        self._up, self._failed = asyncio.Event(), False
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._others: Callable[[], list[str]] = list

    @property
    def count(self) -> int:
        return 0 if self._connection is None else self._connection.viewers

    @property
    def addresses(self) -> list[str]:
        """Of all viewers and of the offers that are being answered, one for each place that is taken."""
        return [] if self._connection is None else self._connection.addresses

    def share_places(self, others: Callable[[], list[str]]) -> None:
        """others: the addresses of the viewers that come another way, and share the limits."""
        self._others = others

    @property
    def pid(self) -> int | None:
        """Of the media process, while it is up."""
        return None if self._connection is None else self._connection.process.pid

    def prepare(self) -> None:
        """Start a process ahead. It imports what it needs, and waits. Needs no event loop."""
        if self._stopping or self._spare is not None:
            return
        try:
            self._spare = start_process(self._start_message.video)
        except OSError as error:
            log.warning("no media process can be started ahead: %s", named_line(error))

    def discard_spare(self) -> None:
        """End what was started ahead. For the end of a program whose event loop has ended, or never ran."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.discard()

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise())

    async def offer(self, sdp: str, address: str) -> tuple[str, str]:
        return await (await self._connected()).offer(sdp, address, self._others())

    async def close(self, viewer_id: str) -> bool:
        return self._connection is not None and await self._connection.close_viewer(viewer_id)

    async def close_all(self) -> None:
        """Also ends the process."""
        self._stopping = True
        self.discard_spare()
        (task, self._task), connection = (self._task, None), self._connection
        if task is None:
            return
        if connection is None:
            task.cancel()
        else:
            connection.send(Stop())
            done, _ = await asyncio.wait([task], timeout=STOP_S)
            if not done:
                connection.process.kill()
        await asyncio.wait([task])

    async def _connected(self) -> MediaConnection:
        """Waits for a process that starts. Raises RequestError 503."""
        if self._connection is None and (self._failed or self._stopping or self._waiting >= self._rules.waiting):
            self._metrics.limited("pending")
            raise gone()
        self._waiting += 1
        try:
            await asyncio.wait_for(self._up.wait(), self._rules.wait_s)
        except TimeoutError:
            raise gone() from None
        finally:
            self._waiting -= 1
        if self._connection is None:
            raise gone()
        return self._connection

    async def _supervise(self) -> None:
        while True:
            try:
                reason, text = await self._run_one()
            except Exception as error:  # a boundary: without this task, no process would be watched or replaced
                log.exception("the media process can't be watched")
                reason, text = "error", f"can't be watched: {named_line(error)}"
            if self._stopping:
                return
            await self._pause(reason, text)

    async def _pause(self, reason: RestartReason, text: str) -> None:
        """Say what has failed, and wait before the next process."""
        self._restarts += 1
        pause_s = self._budget.spend(time.monotonic())
        self._failed = pause_s is None
        if pause_s is None:
            pause_s = self._rules.window_s
            text = f"{text}, and no restart is left ({self._budget}): no video for {pause_s:g} s"
            log.error("the media process %s", text)
        else:
            log.warning("the media process %s: restarting it in %g s", text, pause_s)
            self._metrics.media_restarts(reason)
        self._events.publish("media", state="failed" if self._failed else "restarting", reason=reason, text=text)
        await asyncio.sleep(pause_s)

    async def _run_one(self) -> tuple[RestartReason, str]:
        """One process, from its start to its end. Returns what ended it."""
        try:
            started = self._take_started()
        except OSError as error:
            return "error", f"can't be started: {named_line(error)}"
        connection = await self._connect(started)
        receiving, hang = asyncio.create_task(connection.run()), None
        try:
            hang = await self._watch(connection, receiving)
        finally:
            self._disconnect()
            started.frames.close()
            await connection.end(EXIT_S if receiving.done() else 0.0)
            wrong = await receiving  # the socket is closed with the process
        if hang is not None:
            return "hang", hang
        return ("error", wrong) if wrong else ("death", describe_end(connection.process))

    def _take_started(self) -> StartedProcess:
        """The one that was started ahead, if it is still there, or a new one. Raises OSError."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.process.poll() is None:
            return spare
        if spare is not None:
            spare.discard()
        return start_process(self._start_message.video)

    async def _connect(self, started: StartedProcess) -> MediaConnection:
        """Say to a started process what it is to do."""
        stream = await open_messages(started.control, from_media_decoder())

        def admit() -> None:
            self._admit(connection, started.frames)

        connection = MediaConnection(started.process, stream, self.broadcaster, self._metrics, admit)
        connection.send(self._start_message)
        return connection

    async def _watch(self, connection: MediaConnection, receiving: asyncio.Task[str | None]) -> str | None:
        """Wait until the process has gone. Returns why it has to be killed, if it has."""
        started_s = time.monotonic()
        detector = SuspendDetector(WATCH_S, started_s)
        while not receiving.done():
            await asyncio.wait([receiving], timeout=WATCH_S)
            now_s = time.monotonic()
            connection.excuse(detector.suspended_s(now_s))
            if connection is not self._connection:
                if now_s - started_s > self._rules.start_s:
                    return f"was not ready within {self._rules.start_s:g} s"
            elif now_s - connection.heard_s > self._rules.silent_s:
                return f"was silent for {self._rules.silent_s:g} s"
            elif connection.heard_s - connection.moved_s > self._rules.silent_s:
                return f"worked on one frame for {self._rules.silent_s:g} s"
        return None

    def _admit(self, connection: MediaConnection, frames: FrameSender) -> None:
        self._connection, self._failed = connection, False
        self._later = asyncio.get_running_loop().call_later(SPARE_S, self.prepare)
        self.broadcaster.connect(frames, connection.send)
        self._up.set()
        self._metrics.media_up(True)
        if self._restarts:
            log.warning("the media process is up again")
            self._events.publish("media", state="up", reason=None, text="")

    def _disconnect(self) -> None:
        self._connection = None
        if self._later is not None:
            self._later.cancel()
        self.broadcaster.disconnect()
        self._up.clear()
        self._metrics.media_up(False)
        self._metrics.viewers(0)
