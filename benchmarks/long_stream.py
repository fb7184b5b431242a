"""A stream of many latent frames in one process: frames a second and memory, a row for each tenth of it.

    python -m benchmarks.long_stream --set model=wan2_1_1_3b layout.device=cuda layout.compile=true stage0=taehv

Settings are those of `benchmarks.whole_system`; 1,000 chunks are 3,000 latent frames, 12,000 pixel frames. Memory in
use must be the same from the second row on; what the first chunks allocate stays with the process.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.settings import settings_of
from benchmarks.whole_system import Unpaced, script_for
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.processes.process_tuning import resident_bytes
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.types import DecodedChunk

MIB = 2**20
ROWS = 10


class Samples(BaseObserver):
    """An observer that prints a row every few chunks."""

    def __init__(self, every: int) -> None:
        self._every, self._frames, self._since = every, 0, time.monotonic()

    def emitted(self, flight: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        self._frames += len(decoded.frames)
        if (decoded.chunk_index + 1) % self._every:
            return
        now = time.monotonic()
        figures = [resident_bytes(os.getpid())]
        if torch.cuda.is_available():
            figures += [torch.cuda.memory_allocated(), torch.cuda.memory_reserved()]
        latent_frames = (decoded.chunk_index + 1) * latents.shape[1]
        memory = " | ".join(f"{nbytes / MIB:.0f}" for nbytes in figures)
        finite = "yes" if bool(torch.isfinite(latents).all()) else "no"
        sys.stdout.write(f"| {latent_frames} | {self._frames / (now - self._since):.1f} | {finite} | {memory} |\n")
        sys.stdout.flush()
        self._frames, self._since = 0, now


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="*", default=[], help="group=option and key=value, as on the command line")
    parser.add_argument("--chunks", type=int, default=1000)
    options = parser.parse_args(words)
    settings = settings_of(options.set, {"run.chunks": options.chunks})
    columns = ["latent frames", "FPS", "finite", "resident MiB"]
    columns += ["GPU MiB in use", "GPU MiB reserved"] if torch.cuda.is_available() else []
    sys.stdout.write(f"{describe()}\n{' '.join(options.set)}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
    instruments = Instruments(settings.run.warmup_chunks)
    config, samples = generator_config(settings.model), Samples(max(1, options.chunks // ROWS))
    script = script_for(options.chunks)
    Stream(settings, config, Registry(settings), script, instruments, Unpaced(), [samples]).run()


if __name__ == "__main__":
    main()
