"""A mesh rank killed in the middle of a run, on any layout: when it is noticed, and when frames come again.

    python -m benchmarks.lost_rank --set layout=cpu --chunks 24
    python -m benchmarks.lost_rank --set model=wan2_1_1_3b layout=gpu_shared --rank 2

The run's own process is rank 0 and stays. Settings are those of `benchmarks.whole_system`. GPU memory is what the
driver reports for each GPU, for all processes together: before the kill, the minimum until a mesh is up again, and
at the end.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from torch import Tensor

from benchmarks.machine import describe
from benchmarks.settings import settings_of
from benchmarks.whole_system import Unpaced, script_for
from pp1_orchestrator.app.bench import summarize
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver, Digests
from pp1_orchestrator.types import DecodedChunk

QUERY = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
POLL_S = 0.1


def gpu_memory() -> list[int]:
    """MiB in use on each GPU; empty without any."""
    if shutil.which(QUERY[0]) is None:
        return []
    done = subprocess.run(QUERY, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


class MemoryWatch:
    """The GPUs' minimum memory since `begin`."""

    def __init__(self) -> None:
        self.least: list[int] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(POLL_S):
            now = gpu_memory()
            self.least = [min(pair) for pair in zip(self.least, now, strict=True)] if self.least else now


class Killer(BaseObserver):
    """An observer that kills a rank once a chunk has been decoded, and notes when the next one is."""

    def __init__(self, rank: int, chunk: int) -> None:
        self._rank, self._chunk = rank, chunk
        self.stream: Stream | None = None
        self.pid, self.killed_at, self.again_s = 0, 0.0, 0.0
        self.memory_before: list[int] = []
        self.watch = MemoryWatch()

    def emitted(self, flight: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        if not self.killed_at and decoded.chunk_index == self._chunk:
            self.memory_before = gpu_memory()
            self.pid, self.killed_at = self._now(), time.time()
            os.kill(self.pid, signal.SIGKILL)
            self.watch.begin()
        elif self.killed_at and not self.again_s and self._now() != self.pid:
            self.again_s = time.time() - self.killed_at
            self.watch.close()

    def _now(self) -> int:
        """The rank's current process id."""
        assert self.stream is not None
        return self.stream.ranks()[str(self._rank)]["pid"]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="*", default=[], help="group=option and key=value, as on the command line")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--rank", type=int, default=1)
    options = parser.parse_args(words)
    settings = settings_of(options.set, {"run.chunks": options.chunks, "supervision.restarts": 3})
    instruments, digests = Instruments(settings.run.warmup_chunks), Digests()
    events = instruments.events.subscribe(lambda: None)
    killer = Killer(options.rank, options.chunks // 3)
    config, script = generator_config(settings.model), script_for(options.chunks)
    stream = Stream(settings, config, Registry(settings), script, instruments, Unpaced(), [digests, killer])
    killer.stream = stream
    stream.run()
    told = {event["event"]: event["at"] - killer.killed_at for event in events.drain() if "generation" in event}
    summary = summarize(settings, instruments, digests, stream)
    lines = [
        describe(),
        " ".join(options.set),
        f"rank {options.rank} killed after chunk {options.chunks // 3} of {summary.chunks}: "
        f"detected after {told['restarting']:.2f} s, new mesh up after {told['restarted']:.2f} s, "
        f"frames again after {killer.again_s:.2f} s",
        f"its process is {'gone' if not os.path.exists(f'/proc/{killer.pid}') else 'still there'}; "
        f"rank 0 is the same process",
        f"MiB on each GPU: before {killer.memory_before}, least {killer.watch.least}, at the end {gpu_memory()}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
