"""One media process as rank 0 sees it: its process, requests and their answers, figures, packets and log lines."""

import asyncio
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pp1_orchestrator.errors import ContractError, RequestError, first_line, named_line
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.media.viewer_limits import TokenBucket
from pp1_orchestrator.media_process import control_messages as messages
from pp1_orchestrator.media_process.control_messages import FromMedia, MessageStream, ToMedia
from pp1_orchestrator.media_process.frame_slots import FrameSender
from pp1_orchestrator.media_process.remote_broadcaster import RemoteBroadcaster
from pp1_orchestrator.processes.signals import signals_blocked
from pp1_orchestrator.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
MODULE = "pp1_orchestrator.media_process"
ROOT = Path(__file__).resolve().parents[2]
"""From where the new process imports this package."""
ENVIRONMENT = ("PATH", "PYTHON", "LD_", "LANG", "LC_", "TZ", "TMPDIR", "HOME", "SSL_CERT_", "COVERAGE", "COV_")
"""How the names of the variables begin that a media process inherits."""
ANSWER_S = 12.0
"""Longer than an offer may take there, its turn included."""
EXIT_POLL_S = 0.02
LOG_LINES_S, LOG_LINES = 10, 200
"""Lines that a process may have written in a second, and at once. It keeps to less by itself."""
Reply = messages.Answer | messages.Refusal | messages.Closed


class StartedProcess(NamedTuple):
    """A media process that waits for its first message: this end of its socket, and of its frames."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    frames: FrameSender

    def discard(self) -> None:
        """End it."""
        self.control.close()
        self.frames.close()
        self.process.kill()
        self.process.wait()


def start_process(video: VideoSettings) -> StartedProcess:
    """Start a media process. Raises OSError."""
    frames, (ours, theirs) = FrameSender(video.height, video.width), socket.socketpair()
    files = theirs.fileno(), frames.remote.fileno(), frames.memory
    words = [sys.executable, "-m", MODULE, *map(str, files)]
    try:
        with signals_blocked():  # until it has handlers
            process = subprocess.Popen(words, pass_fds=files, stdin=subprocess.DEVNULL, env=_environment())
    except OSError:
        ours.close()
        frames.close()
        raise
    finally:
        theirs.close()
        frames.detach()
    return StartedProcess(process, ours, frames)


def _environment() -> dict[str, str]:
    """Of this process, without what may be secret, such as tokens of the server and of a hub."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


class MediaConnection:
    """Belongs to one event loop. `run` receives until the process has gone.

    on_ready: called when viewers can come. heard_s: when it was last heard from, monotonic seconds. moved_s: when it
    was last known not to be stuck in a frame. viewers: how many there are. addresses: of each place that is taken.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stream: MessageStream[FromMedia],
        broadcaster: RemoteBroadcaster,
        metrics: Metrics,
        on_ready: Callable[[], None],
    ) -> None:
        self.process, self._on_ready = process, on_ready
        self.heard_s = self.moved_s = time.monotonic()
        self.viewers = 0
        self.addresses: list[str] = []
        self._stream, self._broadcaster, self._metrics = stream, broadcaster, metrics
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._ids = itertools.count(1)
        self._lines = TokenBucket(LOG_LINES_S, LOG_LINES)

    async def run(self) -> str | None:
        """Take messages until there are no more. Returns what was wrong with the last one, if anything."""
        try:
            while (message := await self._stream.receive()) is not None:
                self.heard_s = time.monotonic()
                self._take(message)
                await asyncio.sleep(0)  # so that many of them hold nothing else up
        except ContractError as error:
            return first_line(error)
        except Exception as error:  # another process's boundary: whatever it says may only cost that process
            log.exception("a message of the media process can't be taken")
            return f"said what can't be taken: {named_line(error)}"
        finally:
            for reply in self._replies.values():
                reply.cancel()
        return None

    def excuse(self, suspended_s: float) -> None:
        """This process could not listen for so long, which is nobody's silence."""
        self.heard_s += suspended_s
        self.moved_s += suspended_s

    def send(self, message: ToMedia) -> None:
        """Send soon. Does nothing when the process has gone or hangs: that is noticed elsewhere."""
        try:
            self._stream.send(message)
        except ConnectionError:
            return

    async def offer(self, sdp: str, address: str, others: list[str]) -> tuple[str, str]:
        """See `ViewerControl.offer`. others: addresses of the viewers that come another way."""
        number = next(self._ids)
        match await self._request(number, messages.Offer(number, sdp, address, others)):
            case messages.Answer(viewer=viewer, sdp=answer):
                return viewer, answer
            case messages.Refusal(status=status, text=text):
                raise RequestError(text, status=status)
            case messages.Closed():
                raise gone()

    async def close_viewer(self, viewer: str) -> bool:
        """See `ViewerControl.close`."""
        number = next(self._ids)
        reply = await self._request(number, messages.CloseViewer(number, viewer))
        return isinstance(reply, messages.Closed) and reply.found

    async def end(self, timeout_s: float) -> None:
        """Kill the process unless it ends within this time."""
        end_s = time.monotonic() + timeout_s
        while self.process.poll() is None:  # no thread waits: there may be none left, or none that is free
            if time.monotonic() >= end_s:
                self.process.kill()
            await asyncio.sleep(EXIT_POLL_S)
        await self._stream.close()

    async def _request(self, number: int, message: ToMedia) -> Reply:
        """Raises RequestError 503 when the process goes away or does not answer."""
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            self._stream.send(message)
            done, _ = await asyncio.wait([reply], timeout=ANSWER_S)
            if not done or reply.cancelled():
                raise gone()
            return reply.result()
        except ConnectionError:
            raise gone() from None
        finally:
            del self._replies[number]

    def _take(self, message: FromMedia) -> None:
        match message:
            case messages.Ready():
                self.moved_s = self.heard_s
                self._on_ready()
            case messages.Answer() | messages.Refusal() | messages.Closed():
                reply = self._replies.get(message.id)
                if reply is not None and not reply.done():
                    reply.set_result(message)
            case messages.Figures():
                self._count(message)
            case messages.EncodedPacket():
                self._broadcaster.take(message)
            case messages.LogLine():
                if self._lines.take():
                    self._log(message)

    def _count(self, figures: messages.Figures) -> None:
        metrics = self._metrics
        if figures.frames or not figures.busy:
            self.moved_s = self.heard_s
        self._broadcaster.watched = figures.watched
        self.addresses = figures.addresses
        if figures.viewers != self.viewers:
            self.viewers = figures.viewers
            metrics.viewers(figures.viewers)
        for rtt_s in figures.rtts_s:
            metrics.viewer_quality(rtt_s, 0, 0)
        metrics.viewer_quality(None, figures.packets_sent, figures.packets_lost)
        metrics.queue_depth("packets", figures.packets_queued)
        for reason, count in figures.dropped.items():
            metrics.frames_dropped(reason, count)
        for limit, count in figures.limited.items():
            metrics.limited(limit, count)
        for codec, seconds in figures.encode_s.items():
            metrics.encoded(codec, seconds, figures.encoded_bytes.get(codec, 0))
        metrics.media_cpu(figures.cpu_s)

    def _log(self, line: messages.LogLine) -> None:
        record = logging.LogRecord(line.logger, line.level, line.path, line.line, line.text, None, None)
        record.process = self.process.pid
        logging.getLogger(line.logger).handle(record)


def gone() -> RequestError:
    """The answer while no media process is up."""
    return RequestError("video restarts at this moment; try again", status=503)


def describe_end(process: subprocess.Popen[bytes]) -> str:
    """How a process has ended, in words."""
    code = process.returncode
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
