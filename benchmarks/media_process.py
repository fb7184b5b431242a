"""What the media process costs: viewers and encoder within the process that paces the stream, and beside it, in turns.

    python -m benchmarks.media_process --viewers 1 16 --rounds 5 --seconds 10 --size 480

A process without models paces numbered frames. Viewers are WHEP clients in this process, so that their decoding is not
counted. The latency of a frame is from the pacer's call to the decoded frame; a gap is between two decoded frames.
Prints the median over the rounds of each round's figures.
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import median, quantiles
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.machine import describe
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.frames import Frame, placeholder
from pp1_orchestrator.media.loopback import LOOPBACK
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.media_process.control_messages import Start
from pp1_orchestrator.supervision.media_supervisor import MediaRules, MediaSupervisor
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk
from tests.media.numbered_frames import numbered, read_number
from tests.media.whep_client import Client

WAYS = ("within", "beside")
FPS, FRAMES, NUMBERS = 16, 12, 4000
JOIN_S, SETTLE_S = 60.0, 9.0
"""Settled: when the next media process has been started ahead."""


class Clocked:
    """A FrameConsumer that notes when each number was shown last."""

    def __init__(self) -> None:
        self.shown_s: dict[int, float] = {}

    def show(self, frame: Frame, at_s: float) -> None:
        self.shown_s[read_number(frame)] = time.monotonic()


async def serve(way: str, size: int) -> None:
    """Pace numbered frames. One JSON value a line: answers offers, and at the end tells when frames were shown."""
    metrics, clocked = Metrics(), Clocked()
    video, limits, policy = VideoSettings(size, size, FPS), PeerLimits(viewers=64), CandidatePolicy(LOOPBACK)
    if way == "within":
        broadcaster = Broadcaster(video, metrics)
        peers = WhepPeers(broadcaster, video.codec, limits, policy, metrics)
    else:
        peers = MediaSupervisor(Start(video, limits, policy), MediaRules(60, 20, 0, wait_s=60), metrics, EventBus())
        broadcaster = peers.broadcaster
    sink = PacedSink([clocked, broadcaster], FPS, placeholder(size, size), metrics)
    stop = threading.Event()
    producer = threading.Thread(target=produce, args=(sink, size, stop))
    producer.start()
    peers.start()
    while offer := json.loads(await asyncio.to_thread(sys.stdin.readline)):
        say((await peers.offer(offer, LOOPBACK))[1])
    stop.set()
    producer.join()
    sink.close()
    await peers.close_all()
    say(clocked.shown_s)


def produce(sink: PacedSink, size: int, stop: threading.Event) -> None:
    """Chunks whenever there is room, as a fast mesh makes them."""
    for index in itertools.count():
        while not sink.wait_for_room(0.1):
            if stop.is_set():
                return
        first = 1 + index * FRAMES % NUMBERS
        pixels = torch.from_numpy(np.stack([numbered(first + frame, size) for frame in range(FRAMES)]))
        sink.put(DecodedChunk(index, 0, pixels, (), time.monotonic()))


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Round:
    """One round's figures. CPU in per cent of a core, times in milliseconds."""

    rank0_cpu: float
    all_cpu: float
    fps: float
    least_fps: float
    latency_p50: float
    latency_p95: float
    gap_p99: float


class Server:
    """The process that paces, and its children."""

    def __init__(self, way: str, size: int) -> None:
        words = [sys.executable, "-m", "benchmarks.media_process", "--serve", way, "--size", str(size)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def ask(self, value: Any) -> Any:
        """Its answer to one line."""
        return await asyncio.to_thread(self._ask, value)

    def cpu_s(self) -> tuple[float, float]:
        """Seconds that it has used, and that it and its children have used."""
        own = psutil.Process(self._process.pid)
        used = [times.user + times.system for times in (p.cpu_times() for p in [own, *own.children()])]
        return used[0], sum(used)

    def wait(self) -> None:
        self._process.wait()

    def _ask(self, value: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


async def measure(way: str, viewers: int, seconds: float, size: int) -> Round:
    server, clients = Server(way, size), [Client(read_number) for _ in range(viewers)]
    for client in clients:
        await client.take(await server.ask(await client.offer()))
    async with asyncio.timeout(JOIN_S):
        await asyncio.gather(*(client.wait_frames(2) for client in clients))
    await asyncio.sleep(SETTLE_S)
    start_s, before = time.monotonic(), server.cpu_s()
    await asyncio.sleep(seconds)
    end_s, after = time.monotonic(), server.cpu_s()
    shown_s = {int(number): at_s for number, at_s in (await server.ask(None)).items()}
    server.wait()
    for client in clients:
        await client.close()
    return figures(clients, shown_s, start_s, end_s, [b - a for a, b in zip(before, after, strict=True)])


def figures(
    clients: list[Client], shown_s: dict[int, float], start_s: float, end_s: float, used_s: list[float]
) -> Round:
    """Of the frames that were decoded between `start_s` and `end_s`."""
    latencies, gaps, rates = [], [], []
    for client in clients:
        seen = [
            (at_s, number)
            for at_s, number in zip(client.at_s, client.numbers, strict=True)
            if start_s <= at_s < end_s and number in shown_s
        ]
        latencies += [1e3 * (at_s - shown_s[number]) for at_s, number in seen]
        gaps += [1e3 * (b - a) for (a, _), (b, _) in itertools.pairwise(seen)]
        rates.append(len(seen) / (end_s - start_s))
    cpu = [100 * used / (end_s - start_s) for used in used_s]
    cuts = quantiles(latencies, n=20)
    return Round(cpu[0], cpu[1], sum(rates) / len(rates), min(rates), cuts[9], cuts[18], quantiles(gaps, n=100)[98])


def table(counts: list[int], rounds: int, seconds: float, size: int) -> Iterator[str]:
    """Rows of a Markdown table, as they are measured."""
    names = [field.name for field in fields(Round)]
    yield "| viewers | encoder and viewers | rank 0, CPU % | with media process, CPU % | mean FPS | least FPS "
    yield "| latency p50, ms | p95, ms | gap p99, ms |\n|---|---|---|---|---|---|---|---|---|\n"
    for count in counts:
        found: dict[str, list[Round]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                found[way].append(asyncio.run(measure(way, count, seconds, size)))
        for way in WAYS:
            medians = [median(getattr(each, name) for each in found[way]) for name in names]
            yield f"| {count} | {way} | " + " | ".join(f"{value:.1f}" for value in medians) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)  # the other process
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.size))
        return
    load = f"load average before: {os.getloadavg()[0]:.1f}"
    sys.stdout.write(f"{describe()}; {options.size} pixels square, {FPS} FPS; {load}\n\n")
    for part in table(options.viewers, options.rounds, options.seconds, options.size):
        sys.stdout.write(part)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
