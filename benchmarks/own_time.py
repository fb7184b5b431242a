"""The orchestrator's own time for a chunk: rank 0 and a leader in two processes, with a generator that does nothing.

    python -m benchmarks.own_time --chunks 200

Messages are as large as those of the 14B model at 320×576. Each chunk returns its latents and sends the previous ones
as the context to rebuild from; every fifth chunk has a new prompt, whose embedding is sent. The program's own planner,
contract, link, leader and worker do the work, one chunk after the other. `leader` is the time that rank 0 waits after
sending, while the leader receives the message, checks it, runs the worker and begins to answer. If rank 0 wakes up
late from sending, the leader has worked meanwhile. That time is in `send`, and `leader` can be negative.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.multiprocessing as mp
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.contract import Action, wire
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.contract.result import accept
from pp1_orchestrator.contract.text_recipe import TextRecipe, TextTerm
from pp1_orchestrator.mesh.leader import Leader
from pp1_orchestrator.mesh.text_conditioning import RecipeResolver
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.processes.process_tuning import limit_threads, use_loopback_for_gloo
from pp1_orchestrator.stage0.conditioning import ConditioningTarget
from pp1_orchestrator.stage0.context_policies import LatentHistory, RecomputeLatent
from pp1_orchestrator.stage0.pipeline import all_finite
from pp1_orchestrator.stage0.planner import ChunkSpec, Planner
from pp1_orchestrator.stage0.text_routing import EncoderHome, Payload, Routing
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, MeshShard, Timeouts, Topology, open_channel
from pp1_orchestrator.transport.tcp_store import host_store, join_store

CPU = torch.device("cpu")
LIMITS = Timeouts(60, 60)
NEW_PROMPT_EVERY, WARM = 5, 10
PARTS = ("build", "preflight", "send", "leader", "noise", "receive", "accept")
STEPS = (1000.0, 937.0, 833.0, 625.0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Pixels of a frame; shape of an embedding."""

    height: int = 320
    width: int = 576
    text: tuple[int, int, int] = (1, 512, 4096)


class NoGenerator:
    """A generator that returns its noise."""

    def __init__(self) -> None:
        self.calls = 0

    def reset(self) -> None: ...

    def set_text(self, embeds: Tensor) -> None: ...

    def set_caption(self, embeds: Tensor | None) -> None: ...

    def captioned(self, wanted: bool = True) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def rebuild(
        self, context: Tensor, start_frame: int, *, keep_sink: bool = False, bidirectional: bool = False
    ) -> None:
        self.calls += 1

    def denoise(
        self,
        noise: Tensor,
        steps: tuple[float, ...],
        start_frame: int,
        seed: int,
        bias: float = 1.0,
        start: tuple[Tensor, float] | None = None,
    ) -> Tensor:
        self.calls += len(steps)
        return noise

    def write_context(self, latents: Tensor, start_frame: int) -> None: ...

    def close(self) -> None: ...


class OneEmbedding(Routing):
    """A routing that has one embedding for all prompts, and never encodes."""

    home: ClassVar[EncoderHome] = "rank0"

    def __init__(self, encoder: CachedEncoder | None) -> None:
        self.embeds = torch.empty(0)

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        return Payload({CONDITIONING: self.embeds})


def lead(port: int) -> None:
    """The leader's process."""
    limit_threads(1)
    topology = Topology(join_store(port, 2, LIMITS.start), LEADER, 1, "gloo", LIMITS)
    spans = SpanRecorder(LEADER)
    worker = MeshWorker(cast(CausalGenerator, NoGenerator()), spans, CPU)
    link = MeshLink(open_channel(topology))
    Leader(link, MeshShard(topology), RecipeResolver(None, spans), worker, spans).run()
    topology.close()


def one_chunk(planner: Planner, link: MeshLink) -> list[int]:
    """Nanoseconds of each of the PARTS."""
    start = time.monotonic_ns()
    envelope = planner.plan()
    built = time.monotonic_ns()
    message = wire.pack_envelope(envelope, CPU)
    packed = time.monotonic_ns()
    link.send(message)
    sent = time.monotonic_ns()
    received = link.receive()
    here = time.monotonic_ns()
    latents = accept(received.message, envelope, planner.cache_epoch)
    assert latents is not None
    assert bool(all_finite(latents))
    planner.history.add(latents)
    end = time.monotonic_ns()
    noise = round(received.message.meta.denoise_ms * 1e6)
    return [
        built - start,
        packed - built,
        sent - packed,
        received.header_ns - sent - noise,
        noise,
        here - received.header_ns,
        end - here,
    ]


def measure(sizes: Sizes, chunks: int) -> dict[bool, list[list[float]]]:
    """Milliseconds of the PARTS of every chunk, by whether a new prompt was sent."""
    use_loopback_for_gloo()
    store = host_store(2, LIMITS.start)
    process = mp.get_context("spawn").Process(target=lead, args=(store.port,), daemon=True)
    process.start()
    topology = Topology(join_store(store.port, 2, LIMITS.start), STAGE0, 1, "gloo", LIMITS)
    link = MeshLink(open_channel(topology))
    spec = ChunkSpec(
        3, 16, sizes.height, sizes.width, STEPS, recompute_every=1, bias=1.0, sink=0, recache_mask="causal"
    )
    routing = OneEmbedding(None)
    routing.embeds = torch.randn(sizes.text, dtype=torch.bfloat16)
    planner = Planner(spec, 0, RecomputeLatent(), routing, LatentHistory(1))
    found: dict[bool, list[list[float]]] = defaultdict(list)
    for chunk in range(-WARM, chunks):
        new = chunk % NEW_PROMPT_EVERY == 0
        if new:
            planner.set_target(ConditioningTarget((TextTerm(f"prompt {chunk}"),)))
        took = one_chunk(planner, link)
        if chunk >= 0:
            found[new].append([ns / 1e6 for ns in took])
    link.send(wire.pack_envelope(planner.message(Action.SHUTDOWN), CPU))
    process.join()
    topology.close()
    return found


def table(found: dict[bool, list[list[float]]]) -> list[str]:
    rows = [f"| part, ms | {' | '.join(f'{name} p50 | p95' for name in ('same prompt', 'new prompt'))} |"]
    rows.append("|---|---|---|---|---|")
    columns = [list(zip(*found[new], strict=True)) for new in (False, True)]
    totals = [[sum(chunk) for chunk in found[new]] for new in (False, True)]
    for part, *times in [*zip(PARTS, *columns, strict=True), ("**all**", *totals)]:
        rows.append(f"| {part} | {' | '.join(' | '.join(_two(values)) for values in times)} |")
    return rows


def _two(values: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.2f}", f"{statistics.quantiles(values, n=20)[-1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=200)
    limit_threads(1)
    found = measure(Sizes(), parser.parse_args().chunks)
    sys.stdout.write("\n".join([describe(), "", *table(found)]) + "\n")


if __name__ == "__main__":
    main()
