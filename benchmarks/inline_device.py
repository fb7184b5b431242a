"""A model through the orchestrator in one process on any device, without Hydra or the web packages.

    python -m benchmarks.inline_device --device cuda --chunks 40
    python -m benchmarks.inline_device --device cuda --chunks 40 --compile --model wan2_1_1_3b

Prints frames a second and phases for each overlap, and how far the latents are from the CPU's for the same seed; with
any other model than the shipped one, whose weights are random then, how far from the first overlap's.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
import yaml
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.sizes import generator_config
from pp1_orchestrator.measure.summary import Summary
from pp1_orchestrator.ports import DecodedChunk
from pp1_orchestrator.runtime.compose import Stream
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.results import summarize
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.stage0.observers import Digests

CONF = Path(__file__).parents[1] / "conf"
SHIPPED = "tiny"
CHOICES = {
    "stage0": "wan_vae",
    "text_encoder": "umt5",
    "routing": "rank0_encoder",
    "context": "clean_pass",
    "layout": "inline",
    "run": "bench",
    "debug": "none",
}
COMPARED_CHUNKS = 4


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


class FirstLatents:
    """Keeps the latents of the first chunks."""

    def __init__(self) -> None:
        self.latents: list[Tensor] = []

    def planned(self, flight: Flight) -> None:
        """Not made yet."""

    def dropped(self, flight: Flight) -> None:
        """Not shown."""

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None:
        if len(self.latents) < COMPARED_CHUNKS:
            self.latents.append(latents.float().cpu().clone())

    def epoch_changed(self, epoch: int, reason: str) -> None:
        """One epoch only."""


def settings_for(overlap: str, device: str, chunks: int, compiled: bool, model: str) -> Settings:
    """The defaults of `conf/` with these choices; Hydra is not needed for that."""
    read = lambda path: yaml.safe_load((CONF / path).read_text())  # noqa: E731
    plain: dict[str, Any] = {k: v for k, v in read("config.yaml").items() if k not in ("defaults", "hydra")}
    plain |= {
        group: read(f"{group}/{name}.yaml") for group, name in (CHOICES | {"overlap": overlap, "model": model}).items()
    }
    plain["context"] = read(f"context/{plain['model']['context']}.yaml")
    plain["model"]["weights"] = "checkpoint" if model == SHIPPED else "random"
    plain["stream"] = {key: plain["model"][key] for key in ("fps", "height", "width")}
    plain["layout"] |= {"device": device, "compile": compiled}
    plain["run"]["chunks"] = chunks
    plain["supervision"]["restarts"] = plain["run"]["restarts"]
    return msgspec.convert(plain, Settings)


def run(overlap: str, device: str, chunks: int, compiled: bool = False, model: str = SHIPPED) -> tuple[Summary, Tensor]:
    """One stream, and the latents of its first chunks. Raises the stream's failure."""
    settings = settings_for(overlap, device, chunks, compiled, model)
    instruments, digests, first = Instruments.make(settings.run.warmup_chunks), Digests(), FirstLatents()
    config = generator_config(settings.model)
    stream = Stream(settings, config, [], instruments, Unpaced(), [digests, first])
    try:
        stream.session.start()
        stream.session.done.wait()
    finally:
        stream.close()
    if stream.session.failure is not None:
        raise stream.session.failure
    return summarize(settings, instruments, digests, stream), torch.cat(first.latents, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument("--overlaps", nargs="*", default=["sync", "stage0_owned"])
    options = parser.parse_args()
    reference = run("sync", "cpu", COMPARED_CHUNKS)[1] if options.model == SHIPPED else None
    head = "| overlap | FPS | mesh ms | decode ms | period ms | distance of latents | peak GiB | s to load |"
    sys.stdout.write(f"{describe()}\n\n{head}\n|---|---|---|---|---|---|---|---|\n")
    for overlap in options.overlaps:
        start = time.monotonic()
        summary, latents = run(overlap, options.device, options.chunks, options.compile, options.model)
        reference = latents if reference is None else reference
        distance = float((latents - reference).norm() / reference.norm())
        phases, whole_s = summary.phases_ms, time.monotonic() - start
        times = f"{phases.mesh.p50:.1f} | {phases.decode.p50:.1f} | {phases.period.p50:.1f}"
        peak = torch.cuda.max_memory_allocated() / 2**30 if options.device.startswith("cuda") else 0.0
        start_s = whole_s - summary.wall_s
        sys.stdout.write(
            f"| {overlap} | {summary.fps or 0:.1f} | {times} | {distance:.1e} | {peak:.1f} | {start_s:.0f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
