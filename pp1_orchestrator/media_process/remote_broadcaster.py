"""Rank 0's end of the media process: where frames go, and where encoded packets come from."""

from collections.abc import Callable
from typing import cast

import av

from pp1_orchestrator.media.broadcaster import PacketQueue
from pp1_orchestrator.media.frames import Frame, Packet
from pp1_orchestrator.media.media_settings import TIME_BASE
from pp1_orchestrator.media_process.control_messages import EncodedPacket, RequestKeyframe, Subscribe
from pp1_orchestrator.media_process.frame_slots import FrameSender
from pp1_orchestrator.telemetry.metrics import Metrics

Send = Callable[[Subscribe | RequestKeyframe], None]


class RemoteBroadcaster:
    """Like `Broadcaster`, for subscribers in this process, while the encoder is in the media process.

    `show` is called on the pacer's thread and never waits. Everything else belongs to the event loop. Packets come only
    while a queue is filled. Timestamps go on when the media process is another one, which begins with a keyframe.
    """

    def __init__(self, bitrate: int, metrics: Metrics) -> None:
        self.bitrate, self._metrics = bitrate, metrics
        self.watched = False
        """Whether the media process needs frames."""
        self._sender: FrameSender | None = None
        self._send: Send = _drop
        self._queues: set[PacketQueue] = set()

    def show(self, frame: Frame, at_s: float) -> None:
        sender = self._sender
        if sender is not None and self.watched and not sender.send(frame, at_s):
            self._metrics.frames_dropped("slow_media")

    def connect(self, sender: FrameSender, send: Send) -> None:
        """A media process is up. send: sends a message to it, or does nothing."""
        self._sender, self._send = sender, send
        if self._queues:
            send(Subscribe(True))

    def disconnect(self) -> None:
        """It is gone."""
        self._sender, self._send, self.watched = None, _drop, False

    def resume(self, queue: PacketQueue) -> None:
        """Fill a queue from the next keyframe on, which is requested here. Does nothing if it is filled."""
        if queue in self._queues:
            return
        self._queues.add(queue)
        self._send(Subscribe(True) if len(self._queues) == 1 else RequestKeyframe())

    def pause(self, queue: PacketQueue) -> None:
        """Empty the queue, and don't fill it until `resume`."""
        queue.clear()
        if queue in self._queues:
            self._queues.remove(queue)
            if not self._queues:
                self._send(Subscribe(False))

    def request_keyframe(self) -> None:
        """Make a keyframe soon. Requests within `keyframe_throttle_s` share one."""
        self._send(RequestKeyframe())

    def on_overflow(self, count: int) -> None:
        """For `PacketQueue`."""
        self._metrics.frames_dropped("slow_viewer", count)
        self.request_keyframe()

    def take(self, encoded: EncodedPacket) -> None:
        """A packet has come."""
        packet = cast(Packet, av.Packet(encoded.data))
        packet.pts = packet.dts = encoded.pts
        packet.time_base, packet.is_keyframe = TIME_BASE, encoded.is_keyframe
        for queue in self._queues:
            queue.push(packet)


def _drop(message: Subscribe | RequestKeyframe) -> None:
    """There is no media process: when there is one, it is told what is wanted."""
