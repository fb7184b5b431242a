"""A model through the whole orchestrator, on any device and layout, without Hydra or the web packages.

    python -m benchmarks.whole_system --set layout=inline --chunks 40
    python -m benchmarks.whole_system --set model=wan2_1_1_3b layout=inline layout.device=cuda layout.compile=true
    python -m benchmarks.whole_system --set model=krea_14b layout=gpu_shared stream.height=320 stream.width=576

Each overlap shows the same script: a prompt, another one, a hard cut to a third. Any model but the shipped one has
random weights. Prints a row for each overlap, with digests that must be equal, and the memory of each rank's parts and
its peak beside the plan's.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import describe
from benchmarks.settings import settings_of
from pp1_orchestrator.app.bench import summarize
from pp1_orchestrator.app.strategy_registry import STRATEGIES, Registry
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.planning.memory_plan import peaks
from pp1_orchestrator.planning.profile import profile_model
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.stage0.timeline import Script
from pp1_orchestrator.telemetry.summary import Summary
from pp1_orchestrator.types import DecodedChunk, TimelineEntry

HEAD = "| overlap | FPS | mesh ms | decode ms | period ms | score | chunks to a prompt | latents | pixels | s to load |"
MIB = 2**20


class Unpaced:
    """A FrameSink that takes everything and keeps nothing."""

    def put(self, chunk: DecodedChunk) -> None:
        """Seen."""

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def script_for(chunks: int) -> Script:
    """A prompt, a switch after a third of the run, a hard cut after two."""
    return [
        TimelineEntry(chunk=0, prompt="a red circle moving left on a blue background"),
        TimelineEntry(chunk=chunks // 3, prompt="a green square moving right on a white background"),
        TimelineEntry(chunk=2 * chunks // 3, prompt="a yellow triangle moving up on a black background", cut="hard"),
    ]


def run(settings: Settings) -> tuple[Summary, float]:
    """One stream, and the seconds until it was up. Raises the stream's failure."""
    instruments, digests = Instruments(settings.run.warmup_chunks), Digests()
    assert settings.run.chunks is not None
    script = script_for(settings.run.chunks)
    config, registry = generator_config(settings.model), Registry(settings)
    stream = Stream(settings, config, registry, script, instruments, Unpaced(), [digests])
    stream.run()
    return summarize(settings, instruments, digests, stream), max(stream.load_s.values(), default=0.0)


def row(summary: Summary, load_s: float) -> str:
    phases = summary.phases_ms
    times = f"{phases.mesh.p50:.1f} | {phases.decode.p50:.1f} | {phases.period.p50:.1f}"
    latest = max(update.latency_chunks or 0 for update in summary.prompt_updates)
    digests = f"{(summary.latents_sha256 or '')[:12]} | {(summary.pixels_sha256 or '')[:12]}"
    score = "–" if summary.overlap_score is None else f"{summary.overlap_score:.2f}"
    fps = "–" if summary.fps is None else f"{summary.fps:.1f}"
    return f"| {summary.config.overlap} | {fps} | {times} | {score} | {latest} | {digests} | {load_s:.1f} |"


def planned(settings: Settings) -> dict[str, dict[str, int]]:
    """The planned memory of each rank: its components, and its peak if it has its own process."""
    found = profile_model(settings, generator_config(settings.model), STRATEGIES)
    most = peaks(settings, found, STRATEGIES, STRATEGIES.routing(settings).home == "rank0")
    ranks = range(settings.layout.mesh_ranks + 1)
    return {str(rank): found.components | ({"peak": most[rank]} if rank in most else {}) for rank in ranks}


def memory_rows(summary: Summary, plans: Mapping[str, Mapping[str, int]], on_gpu: bool) -> list[str]:
    """Each rank's parts and peak beside the plan's. Without a GPU the peak is of all that the process has resident, its
    libraries and code too, and the plan's is not held against it."""
    rows = ["| rank | part | MiB | planned MiB | off |", "|---|---|---|---|---|"]
    for rank, parts in summary.memory.items():
        for name, nbytes in parts.items():
            expected = plans[rank][name]
            off = f"{expected / nbytes - 1:+.1%}" if on_gpu or name != "peak" else ""
            rows.append(f"| {rank} | {name} | {nbytes / MIB:.1f} | {expected / MIB:.1f} | {off} |")
    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="*", default=[], help="group=option and key=value, as on the command line")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--overlaps", nargs="*", default=["sync", "stage0_owned", "loop_ahead", "decode_thread"])
    options = parser.parse_args(words)
    fixed: dict[str, Any] = {"run.chunks": options.chunks}
    sys.stdout.write(f"{describe()}\n{' '.join(options.set)}\n\n{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}\n")
    for overlap in options.overlaps:
        settings = settings_of([*options.set, f"overlap={overlap}"], fixed)
        summary, load_s = run(settings)
        sys.stdout.write(row(summary, load_s) + "\n")
        sys.stdout.flush()
    on_gpu = settings.layout.device.startswith("cuda")
    sys.stdout.write("\n" + "\n".join(memory_rows(summary, planned(settings), on_gpu)) + "\n")


if __name__ == "__main__":
    main()
