"""Encoders that share every frame, and a storm of keyframe requests beside them, for minutes.

    python -m benchmarks.shared_frames --minutes 10

Two VP8 and two H.264 encoders, each on its own thread, take the same frame at the same moment. Each is asked for
keyframes at other frames than the rest. Meanwhile one of two viewers of a broadcaster requests a keyframe a hundred
times per second. Exits with 1 when a frame or keyframe is missing or superfluous, when the storm's keyframes are closer
than the throttle, or when memory grows. An encoder that crashes ends the process.
"""

import argparse
import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.machine import describe
from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.encoder import LiveEncoder
from pp1_orchestrator.media.frames import Frame, to_yuv420p
from pp1_orchestrator.media.media_settings import CLOCK_RATE, Codec, VideoSettings
from pp1_orchestrator.media.pacer import FrameClock
from pp1_orchestrator.processes.process_tuning import resident_bytes
from pp1_orchestrator.telemetry.metrics import Metrics
from tests.media.numbered_frames import BITS, SIZE, numbered, subscribe, unsubscribe

MIB = 2**20
FPS = 24
CODECS: tuple[Codec, ...] = ("vp8", "vp8", "h264", "h264")
KEYFRAME_EVERY = 28
"""Frames between two keyframes of an encoder; the encoders take turns."""
NEVER_S = 1e6
REQUESTS_S = 100
WARM = 0.1
"""The share of the run after which memory must not grow."""
GROWTH_MIB = 4.0


def wait_for_next(clock: FrameClock) -> float:
    """Sleep until the next frame is due, and return when that was, in monotonic seconds."""
    due = clock.due(time.monotonic())
    time.sleep(max(0.0, due - time.monotonic()))
    clock.advance()
    return due


class SharedEncoding:
    """Encoders on threads that take the same frame at the same moment.

    Args:
        has_next: called once for each frame with its number. It may wait until the frame is due.
    """

    def __init__(self, has_next: Callable[[int], bool]) -> None:
        self._has_next = has_next
        self._barrier = threading.Barrier(len(CODECS), self._take_next)
        self._frame: Frame | None = None
        self.frames = 0

    def run(self) -> None:
        """Encode until there are no more frames. Raises the error of an encoder that failed."""
        with ThreadPoolExecutor(len(CODECS)) as pool:
            errors = [done.exception() for done in [pool.submit(self._encode, place) for place in range(len(CODECS))]]
        for error in sorted(filter(None, errors), key=lambda e: isinstance(e, threading.BrokenBarrierError)):
            raise error

    def _take_next(self) -> None:
        """Called while all encoders wait."""
        more = self._has_next(self.frames)
        self._frame = numbered(self.frames % 2**BITS) if more else None
        self.frames += more

    def _encode(self, place: int) -> None:
        encoder = LiveEncoder(VideoSettings(SIZE, SIZE, FPS, CODECS[place], keyframe_every_s=NEVER_S))
        turn = place * KEYFRAME_EVERY // len(CODECS)
        try:
            for number in itertools.count():
                self._barrier.wait()
                if self._frame is None:
                    return
                asked = number % KEYFRAME_EVERY == turn
                packets = encoder.encode(to_yuv420p(self._frame), number / FPS, asked)
                if [packet.is_keyframe for packet in packets] != [asked or number == 0]:
                    raise RuntimeError(f"encoder {place}, {CODECS[place]}, frame {number}: {packets}, asked: {asked}")
        except Exception:
            self._barrier.abort()  # so that the others do not wait for it
            raise


@dataclass(frozen=True, slots=True)
class Storm:
    """What one viewer got while another one requested keyframes. keyframes_s: when each was shown."""

    requests: int
    keyframes_s: list[float]

    def faults(self, seconds: float, throttle_s: float) -> list[str]:
        steps = [b - a for a, b in itertools.pairwise(self.keyframes_s)]
        found = [f"two keyframes {step:.3f} s apart" for step in steps if step < throttle_s - 1 / CLOCK_RATE]
        # Each is at most one frame late, since a request waits for the next frame.
        if len(self.keyframes_s) < int(seconds / (throttle_s + 2 / FPS)):
            found.append(f"{len(self.keyframes_s)} keyframes in {seconds:.0f} s")
        return found


async def storm(seconds: float, settings: VideoSettings) -> Storm:
    """Requests in real time, at the stream's frame rate."""
    broadcaster, end = Broadcaster(settings, Metrics()), time.monotonic() + seconds
    queues = [subscribe(broadcaster, FPS) for _ in range(2)]
    keyframes: list[list[float]] = [[] for _ in queues]

    def show() -> None:
        clock = FrameClock(FPS)
        for number in itertools.count():
            due = wait_for_next(clock)
            if due >= end:
                return
            broadcaster.show(numbered(number % 2**BITS), due)

    async def read(queue: PacketQueue, into: list[float]) -> None:
        while (packet := await queue.get()) is not None:
            if packet.is_keyframe and packet.pts is not None:
                into.append(packet.pts / CLOCK_RATE)

    readers = [asyncio.create_task(read(queue, into)) for queue, into in zip(queues, keyframes, strict=True)]
    showing, requests = asyncio.create_task(asyncio.to_thread(show)), 0
    while not showing.done():
        broadcaster.request_keyframe()
        requests += 1
        await asyncio.sleep(1 / REQUESTS_S)
    await showing
    for queue in queues:
        unsubscribe(broadcaster, queue)
    await asyncio.gather(*readers)
    return Storm(requests, keyframes[1])


class Duration:
    """Lets frames through for some seconds, at a rate or as fast as they are taken, and samples the memory."""

    def __init__(self, seconds: float, fps: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds
        self._clock = FrameClock(fps) if fps else None
        self.resident: list[int] = []
        """Bytes when the run is warm, and at its end."""

    def __call__(self, number: int) -> bool:
        if self._clock is not None:
            wait_for_next(self._clock)
        share = (time.monotonic() - self._start) / self._seconds
        if share >= (1.0 if self.resident else WARM):
            self.resident.append(resident_bytes(os.getpid()))
        return share < 1


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--fps", type=float, default=FPS, help="of the shared frames; 0: as fast as possible")
    options = parser.parse_args(words)
    seconds, settings = options.minutes * 60, VideoSettings(SIZE, SIZE, FPS, keyframe_every_s=NEVER_S)
    duration = Duration(seconds, options.fps)
    shared = SharedEncoding(duration)
    with ThreadPoolExecutor(1) as beside:
        encoding = beside.submit(shared.run)
        seen = asyncio.run(storm(seconds, settings))
        encoding.result()
    warm, end = (size / MIB for size in (duration.resident[0], duration.resident[-1]))
    faults = seen.faults(seconds, settings.keyframe_throttle_s)
    if end - warm > GROWTH_MIB:
        faults.append(f"memory grew by {end - warm:.1f} MiB")
    rate = len(seen.keyframes_s) / seconds
    sys.stdout.write(
        f"{describe()}\n\n{len(CODECS)} encoders, {shared.frames} frames each; {seen.requests} requests for "
        f"keyframes, {len(seen.keyframes_s)} keyframes, {rate:.2f} per second; "
        f"resident {warm:.1f} MiB when warm, {end:.1f} at the end\n"
    )
    sys.stdout.writelines(f"fault: {fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
