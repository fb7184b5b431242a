"""Encoders that share every picture, and a storm of keyframe requests beside them, for minutes on end.

    python -m benchmarks.shared_pictures --minutes 10

Two VP8 and two H.264 encoders, each on a thread of its own, take the same picture at the same moment, and each is asked
for keyframes at other pictures than the rest. Meanwhile one of two viewers of a broadcaster asks for a keyframe a
hundred times a second. Ends with 1 when a picture or a keyframe is missing or one too many, when keyframes of the storm
are closer than the throttle, or when memory grows; what crashes an encoder ends the process.
"""

from __future__ import annotations

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
from benchmarks.numbered import BITS, SIZE, numbered
from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.encoder import LiveEncoder
from pp1_orchestrator.media.frames import Frame, to_yuv420p
from pp1_orchestrator.media.media_settings import CLOCK_RATE, Codec, VideoSettings
from pp1_orchestrator.media.pacer import FrameClock
from pp1_orchestrator.processes.process_tuning import resident_bytes
from pp1_orchestrator.telemetry.metrics import Metrics

MIB = 2**20
FPS = 24
CODECS: tuple[Codec, ...] = ("vp8", "vp8", "h264", "h264")
KEYFRAME_EVERY = 28
"""Pictures between two keyframes of one encoder; they take turns."""
NEVER_S = 1e6
REQUESTS_S = 100
WARM = 0.1
"""The share of the run after which memory must not grow."""
GROWTH_MIB = 4.0


def wait_for_next(clock: FrameClock) -> float:
    """Until the next picture's time, which is given back: monotonic seconds."""
    due = clock.due(time.monotonic())
    time.sleep(max(0.0, due - time.monotonic()))
    clock.advance()
    return due


class Together:
    """Encoders on threads that take the same picture at the same moment.

    go_on: asked once for each picture, by its number; it may wait for the picture's time.
    """

    def __init__(self, go_on: Callable[[int], bool]) -> None:
        self._go_on = go_on
        self._barrier = threading.Barrier(len(CODECS), self._take_next)
        self._picture: Frame | None = None
        self.pictures = 0

    def run(self) -> None:
        """Until there are no more. Raises what one of the encoders failed with."""
        with ThreadPoolExecutor(len(CODECS)) as pool:
            errors = [done.exception() for done in [pool.submit(self._encode, place) for place in range(len(CODECS))]]
        for error in sorted(filter(None, errors), key=lambda e: isinstance(e, threading.BrokenBarrierError)):
            raise error

    def _take_next(self) -> None:
        """While all of them wait."""
        going_on = self._go_on(self.pictures)
        self._picture = numbered(self.pictures % 2**BITS) if going_on else None
        self.pictures += going_on

    def _encode(self, place: int) -> None:
        encoder = LiveEncoder(VideoSettings(SIZE, SIZE, FPS, CODECS[place], keyframe_every_s=NEVER_S))
        turn = place * KEYFRAME_EVERY // len(CODECS)
        try:
            for number in itertools.count():
                self._barrier.wait()
                if self._picture is None:
                    return
                asked = number % KEYFRAME_EVERY == turn
                packets = encoder.encode(to_yuv420p(self._picture), number / FPS, asked)
                if [packet.is_keyframe for packet in packets] != [asked or number == 0]:
                    raise RuntimeError(f"encoder {place}, {CODECS[place]}, picture {number}: {packets}, asked: {asked}")
        except Exception:
            self._barrier.abort()  # nobody waits for one that has failed
            raise


@dataclass(frozen=True, slots=True)
class Storm:
    """What one viewer got while another one asked for keyframes. keyframes_s: when each was to be shown."""

    requests: int
    keyframes_s: list[float]

    def faults(self, seconds: float, throttle_s: float) -> list[str]:
        steps = [b - a for a, b in itertools.pairwise(self.keyframes_s)]
        found = [f"two keyframes {step:.3f} s apart" for step in steps if step < throttle_s - 1 / CLOCK_RATE]
        # One picture late at most, each: a request waits for the next picture.
        if len(self.keyframes_s) < int(seconds / (throttle_s + 2 / FPS)):
            found.append(f"{len(self.keyframes_s)} keyframes in {seconds:.0f} s")
        return found


async def storm(seconds: float, settings: VideoSettings) -> Storm:
    """In real time, at the stream's rate."""
    broadcaster, end = Broadcaster(settings, Metrics()), time.monotonic() + seconds
    queues = [broadcaster.subscribe(FPS) for _ in range(2)]
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
        broadcaster.unsubscribe(queue)
    await asyncio.gather(*readers)
    return Storm(requests, keyframes[1])


class Until:
    """Pictures at a rate, or as fast as they are taken, for so many seconds; memory is read on the way."""

    def __init__(self, seconds: float, fps: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds
        self._clock = FrameClock(fps) if fps else None
        self.resident: list[int] = []
        """Bytes: when the run is warm, and at its end."""

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
    parser.add_argument("--fps", type=float, default=FPS, help="of the shared pictures; 0: as fast as they go")
    options = parser.parse_args(words)
    seconds, settings = options.minutes * 60, VideoSettings(SIZE, SIZE, FPS, keyframe_every_s=NEVER_S)
    until = Until(seconds, options.fps)
    together = Together(until)
    with ThreadPoolExecutor(1) as beside:
        encoding = beside.submit(together.run)
        seen = asyncio.run(storm(seconds, settings))
        encoding.result()
    warm, end = (size / MIB for size in (until.resident[0], until.resident[-1]))
    faults = seen.faults(seconds, settings.keyframe_throttle_s)
    if end - warm > GROWTH_MIB:
        faults.append(f"memory grew by {end - warm:.1f} MiB")
    rate = len(seen.keyframes_s) / seconds
    sys.stdout.write(
        f"{describe()}\n\n{len(CODECS)} encoders, {together.pictures} pictures each; {seen.requests} requests for "
        f"keyframes, {len(seen.keyframes_s)} keyframes, {rate:.2f} a second; "
        f"resident {warm:.1f} MiB when warm, {end:.1f} at the end\n"
    )
    sys.stdout.writelines(f"fault: {fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
