"""What runs in the media process: the encoder, the viewers, and the answers to rank 0's messages."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import msgspec

from pp1_orchestrator.errors import RequestError, named_line
from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.encoder import CODECS
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.media_process import control_messages as messages
from pp1_orchestrator.media_process.control_messages import MessageStream, ToMedia, open_messages, to_media_decoder
from pp1_orchestrator.media_process.figures import FigureCounter
from pp1_orchestrator.media_process.frame_slots import FrameReceiver
from pp1_orchestrator.processes.log_setup import limit_floods
from pp1_orchestrator.types import Codec

log = logging.getLogger(__name__)
EXIT_FAILED = 1
PACKETS_QUEUED = 32
"""For rank 0. If it reads too slowly, it goes on at the next keyframe."""


async def serve(control: socket.socket, frames: socket.socket, memory: int) -> None:
    """Do what rank 0 says, until it says stop or is gone."""
    stream = await open_messages(control, to_media_decoder())
    start = await stream.receive()
    if not isinstance(start, messages.Start):
        return
    server = MediaServer(stream, start)
    stop_logging = _log_to(stream)
    receiver = FrameReceiver(memory, frames, start.video.height, start.video.width)
    threading.Thread(target=server.show_all, args=(receiver,), name="frames", daemon=True).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    try:
        await server.run()
    finally:
        stop_logging()


class MediaServer:
    """Belongs to one event loop, `show_all` to a thread."""

    def __init__(self, stream: MessageStream[ToMedia], start: messages.Start) -> None:
        self._stream, self._loop = stream, asyncio.get_running_loop()
        self._figures = FigureCounter(self._report)
        self._watched: set[Codec] = set()
        self._broadcasters: dict[Codec, Broadcaster] = {
            codec: self._make_broadcaster(replace(start.video, codec=codec)) for codec in CODECS
        }
        self._broadcaster = self._broadcasters[start.video.codec]
        """What most viewers take, and rank 0. Others encode only while a viewer can take nothing else."""
        self._others: list[str] = []
        """Addresses of the viewers that rank 0 serves itself."""
        others = lambda: self._others  # noqa: E731
        usual, more = start.video.codec, self._broadcasters
        self._peers = WhepPeers(self._broadcaster, usual, start.limits, start.policy, self._figures, others, more)
        self._packets: PacketQueue | None = None
        """Those that go to rank 0."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Answer messages until there are no more. Closes all viewers at the end."""
        self._peers.start()
        self._stream.send(messages.Ready())
        gc.collect()
        gc.freeze()  # what is loaded stays: full collections are short
        for work in (self._beat(), self._receive_all()):
            self._spawn(work)
        await self._stopping.wait()
        for task in self._tasks:
            task.cancel()
        await self._peers.close_all()
        await self._stream.close()

    def stop(self) -> None:
        """Make `run` end."""
        self._stopping.set()

    def show_all(self, receiver: FrameReceiver) -> None:
        """Show frames until there are no more. A failure ends this process, and rank 0 starts another one."""
        try:
            for frame, at_s in receiver.frames():
                with self._figures.frame():
                    for broadcaster in self._broadcasters.values():
                        broadcaster.show(frame, at_s)
        except Exception as error:
            log.exception("frames can't be shown: %s", named_line(error))
            self._loop.call_soon_threadsafe(os._exit, EXIT_FAILED)  # after the line has been sent

    def _make_broadcaster(self, video: VideoSettings) -> Broadcaster:
        def on_watched(watched: bool) -> None:
            (self._watched.add if watched else self._watched.discard)(video.codec)
            self._figures.watched(bool(self._watched))

        return Broadcaster(video, self._figures, on_watched)

    async def _receive_all(self) -> None:
        while True:
            match await self._stream.receive():
                case messages.Offer() as offer:
                    self._spawn(self._answer(offer))
                case messages.CloseViewer() as leaving:
                    self._spawn(self._close(leaving))
                case messages.Subscribe(wanted=wanted):
                    self._subscribe(wanted)
                case messages.RequestKeyframe():
                    self._broadcaster.request_keyframe()
                case None | messages.Stop() | messages.Start():
                    return self.stop()

    async def _answer(self, offer: messages.Offer) -> None:
        self._others = offer.others
        try:
            viewer, sdp = await self._peers.offer(offer.sdp, offer.address)
            self._stream.send(messages.Answer(offer.id, viewer, sdp))
        except RequestError as error:
            self._stream.send(messages.Refusal(offer.id, error.status, str(error)))
        except ConnectionError:
            raise
        except Exception:  # a request's boundary
            log.exception("an offer has failed")
            self._stream.send(messages.Refusal(offer.id, 500, "internal error"))

    async def _close(self, leaving: messages.CloseViewer) -> None:
        self._stream.send(messages.Closed(leaving.id, await self._peers.close(leaving.viewer)))

    def _subscribe(self, wanted: bool) -> None:
        if self._packets is not None:
            self._packets.close()
            self._broadcaster.pause(self._packets)
        self._packets = PacketQueue(PACKETS_QUEUED, self._broadcaster.on_overflow) if wanted else None
        if self._packets is not None:
            self._broadcaster.resume(self._packets)
            self._spawn(self._send_packets(self._packets))

    async def _send_packets(self, packets: PacketQueue) -> None:
        while (packet := await packets.get()) is not None:
            self._stream.send(messages.EncodedPacket(packet.pts or 0, packet.is_keyframe, bytes(packet)))
            await self._stream.drain()

    async def _beat(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(messages.HEARTBEAT_S)

    def _report(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever receives learns of it
            self._stream.send(msgspec.structs.replace(self._figures.take(), addresses=self._peers.addresses))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            if not isinstance(error, ConnectionError):
                log.error("the media process can't go on", exc_info=error)
            self.stop()


class _LogSender(logging.Handler):
    """Hands log lines to the event loop, which sends them to rank 0."""

    def __init__(self, stream: MessageStream[ToMedia]) -> None:
        super().__init__()
        self._stream, self._loop = stream, asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        line = messages.LogLine(record.name, record.levelno, self.format(record), record.pathname, record.lineno)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._send, line)

    def _send(self, line: messages.LogLine) -> None:
        with contextlib.suppress(ConnectionError):
            self._stream.send(line)


def _log_to(stream: MessageStream[ToMedia]) -> "functools.partial[None]":
    """Send all log lines to rank 0. Returns what ends that."""
    handler, root = _LogSender(stream), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("aioice").setLevel(logging.WARNING)  # INFO has a line for each candidate pair
    limit_floods()
    return functools.partial(root.removeHandler, handler)
