"""The most memory that a process of the run has in use at once, from a survey of its parts.

What the libraries themselves take comes on top, and what an allocator can't use of a piece that it has handed out.
Loading is left out: it ends before there are caches, and holds one whole tensor beside what is loaded.

A plan: what would run where, what it would hold, send and compute, and how long a chunk would take. As data.

Knows the traits of routings, overlaps and contexts, and none of the classes behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.loading.sources import text_device
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.calibrate import Machine, compute_seconds, product_seconds
from pp1_orchestrator.planning.cost_model import (
    MessageBytes,
    Phases,
    PromptLatency,
    message_bytes,
    period_s,
    prompt_latency,
)
from pp1_orchestrator.planning.profile import ModelProfile, Part, dtype_of, profile_model
from pp1_orchestrator.planning.requirements import Requirements
from pp1_orchestrator.planning.strategy_traits import ContextTraits, Strategies

STAGE0, MESH, TEXT = ("vae", "vae_encoder", "decode_cache"), ("generator", "kv_cache", "text_cache"), ("text_encoder",)


def components_of(settings: Settings, text_on_rank0: bool) -> dict[int, tuple[str, ...]]:
    """What each rank holds, by name."""
    leader, follower = (MESH if text_on_rank0 else MESH + TEXT), MESH
    others = dict.fromkeys(range(2, settings.layout.mesh_ranks + 1), follower)
    return {0: STAGE0 + TEXT if text_on_rank0 else STAGE0, 1: leader, **others}


def peaks(settings: Settings, found: ModelProfile, strategies: Strategies, text_on_rank0: bool) -> dict[int, int]:
    """Bytes by rank, on its own device. A mesh that is a thread of rank 0 has no peak of its own: rank 0's has it all.

    Prompts are encoded beside all else on rank 0, and before a pass on the leader.
    """
    there = {rank: _text_is_there(settings, rank) for rank in range(settings.layout.mesh_ranks + 1)}
    held = {
        rank: sum(found.components.get(name, 0) for name in names if there[rank] or name not in TEXT)
        for rank, names in components_of(settings, text_on_rank0).items()
    }
    text, decode = found.beyond["text"], found.beyond["decode"]
    beside = text if text_on_rank0 and there[0] else 0
    work = {rank: found.beyond["generator"] for rank in held if rank}
    if not text_on_rank0 and there[1]:
        work[1] = max(work[1], text)
    if settings.layout.backend == "none":
        both = decode + work[1] if strategies.overlap(settings).threaded else max(decode, work[1])
        return {0: sum(held.values()) + both + beside}
    return {rank: held[rank] + work.get(rank, decode + beside) for rank in held}


def _text_is_there(settings: Settings, rank: int) -> bool:
    """Whether a text encoder of this rank would be where its other models are."""
    device = torch.device(settings.layout.device_of(rank))
    return text_device(settings, device) == device


SCHEMA = 1
TIE = 1.01
"""Periods closer than this count as equal: the model is not more exact."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds added to a chunk's denoising, to a whole chunk's decode and to a one-frame encode."""

    mesh_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0


NO_DELAYS = Delays()


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One rank. memory: bytes by component. peak: with what is alive beyond them while the rank works; None for a mesh
    that is a thread of rank 0, whose peak has it all. The libraries themselves come on top."""

    role: str
    device: str
    memory: dict[str, int]
    peak: int | None = None


class Flops(msgspec.Struct, frozen=True, kw_only=True):
    """calls: FLOPs of one call of each part, on one rank. mesh_rank, stage0: of a chunk, on one rank.

    floor_ms: what a chunk's products alone take at the measured rates; nothing can make a chunk faster here.
    """

    calls: dict[str, int]
    mesh_rank: int
    stage0: int
    floor_ms: dict[str, float]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """plan.json. ranks and wire_bytes: by rank and by routing; the predictions: by overlap, for the steady state."""

    schema: int = SCHEMA
    config: dict[str, str]
    requirements: Requirements
    ranks: dict[str, Placement]
    wire_bytes: dict[str, MessageBytes]
    flops: Flops
    phases_ms: dict[str, float]
    text_ms: float
    predicted_period_ms: dict[str, float]
    prompt_to_pixels: dict[str, PromptLatency]
    recommended_overlap: str
    recommended_routing: str
    machine: Machine

    @property
    def memory(self) -> dict[str, dict[str, int]]:
        """Bytes by rank and component, as in a run's summary."""
        return {rank: placement.memory for rank, placement in self.ranks.items()}


def predict(
    settings: Settings,
    config: WanConfig,
    machine: Machine,
    strategies: Strategies,
    delays: Delays = NO_DELAYS,
    found: ModelProfile | None = None,
) -> Plan:
    """The plan of a run on `machine`. found: a survey of the same run, if there is one already.

    Raises ConfigError for what can't be run.
    """
    context, on_mesh = strategies.context(settings), strategies.routing(settings).home != "rank0"
    found = found or profile_model(settings, config, strategies)
    wire = _wire(settings, found, strategies)
    phases = _phases(settings, found, machine, delays, wire[settings.routing.name], context)
    one_process = settings.layout.backend == "none"
    overlaps = strategies.overlaps
    periods = {name: period_s(overlap, phases, one_process, machine.lanes) for name, overlap in overlaps.items()}
    text = compute_seconds(found.work["text"], machine.rates["text"], machine.call_s)
    return Plan(
        config={group: getattr(settings, group).name for group in ("model", "routing", "overlap", "context", "layout")},
        requirements=found.needs,
        ranks=_ranks(settings, found, strategies),
        wire_bytes=wire,
        flops=_flops(settings, found, machine, context),
        phases_ms={name: 1e3 * value for name, value in _shown(phases).items()},
        text_ms=1e3 * text,
        predicted_period_ms={name: 1e3 * period for name, period in periods.items()},
        prompt_to_pixels={
            name: prompt_latency(overlaps[name], period, phases.decode, text, on_mesh)
            for name, period in periods.items()
        },
        recommended_overlap=_best_overlap(periods, settings.overlap.name),
        recommended_routing=_best_routing(settings, found, machine, strategies),
        machine=machine,
    )


def write_plan(plan: Plan, path: Path) -> None:
    """Write the file, indented for people."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")


def read_plan(path: Path) -> Plan:
    """Read a file back. msgspec.ValidationError where it is no plan."""
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def _phases(
    settings: Settings,
    found: ModelProfile,
    machine: Machine,
    delays: Delays,
    wire: MessageBytes,
    context: ContextTraits,
) -> Phases:
    ranks, steps = settings.layout.mesh_ranks, len(settings.model.steps)
    crowding = max(1.0, ranks / machine.lanes) if machine.lanes else 1.0
    link = machine.link

    def compute(part: Part, rates: str) -> float:
        return compute_seconds(found.work[part], machine.rates[rates], machine.call_s)

    def on_mesh(part: Part) -> float:
        work = found.work[part]
        return crowding * compute(part, "generator") + link.sums(work.reductions, work.reduction_bytes)

    clean, rebuilds, anchored = context.clean_pass, context.rebuilds, context.needs_pixels
    context_s, context_busy = on_mesh("context"), ranks * compute("context", "generator")
    decode = compute("decode", "decode")
    encode = compute("encode", "encode") if anchored else 0.0
    messages = 5 + rebuilds + (2 if ranks > 1 else 0)  # header, metadata, tensor; the leader relays an envelope
    return Phases(
        denoise=steps * on_mesh("generator") + delays.mesh_s,
        clean_pass=context_s if clean else 0.0,
        recompute=context_s / settings.context.recompute_every if rebuilds else 0.0,
        decode=decode + delays.decode_s,
        encode=encode + (delays.encode_s if anchored else 0.0),
        overhead=link.messages(messages, wire.envelope + wire.result),
        decode_frames=found.needs.chunk_latent_frames,
        anchored=anchored,
        mesh_busy=steps * ranks * compute("generator", "generator") + (context_busy if clean or rebuilds else 0.0),
        clean_pass_busy=context_busy if clean else 0.0,
        stage0_busy=decode + encode,
    )


def _shown(phases: Phases) -> dict[str, float]:
    names = ("denoise", "clean_pass", "recompute", "decode", "encode", "overhead")
    return {name: getattr(phases, name) for name in names}


def _wire(settings: Settings, found: ModelProfile, strategies: Strategies) -> dict[str, MessageBytes]:
    rebuilds = strategies.context(settings).rebuilds
    dtype, prompt = dtype_of(settings), settings.run.prompt
    return {
        name: message_bytes(routing, found.needs, dtype, prompt, rebuilds)
        for name, routing in strategies.routings.items()
    }


def _ranks(settings: Settings, found: ModelProfile, strategies: Strategies) -> dict[str, Placement]:
    on_rank0 = strategies.routing(settings).home == "rank0"
    most = peaks(settings, found, strategies, on_rank0)
    roles = {0: "stage 0", 1: "leader"}
    return {
        str(rank): Placement(
            role=roles.get(rank, "follower"),
            device=settings.layout.device_of(rank),
            memory={name: found.components[name] for name in names if name in found.components},
            peak=most.get(rank),
        )
        for rank, names in components_of(settings, on_rank0).items()
    }


def _flops(settings: Settings, found: ModelProfile, machine: Machine, context: ContextTraits) -> Flops:
    passes: dict[Part, int] = {
        "generator": len(settings.model.steps),
        "context": context.clean_pass or context.rebuilds,
    }
    stage0: dict[Part, int] = {"decode": 1, "encode": 1}

    def total(counts: dict[Part, int]) -> int:
        return sum(found.work[part].flops * count for part, count in counts.items() if part in found.work)

    def floor_ms(counts: dict[Part, int]) -> float:
        seconds = 0.0
        for part, count in counts.items():
            if part in found.work:
                rates = machine.rates["generator" if part == "context" else part]
                seconds += count * product_seconds(found.work[part], rates)
        return 1e3 * seconds

    return Flops(
        calls={part: work.flops for part, work in found.work.items()},
        mesh_rank=total(passes),
        stage0=total(stage0),
        floor_ms={"mesh_rank": floor_ms(passes), "stage0": floor_ms(stage0)},
    )


def _best_overlap(periods: dict[str, float], chosen: str) -> str:
    """The fastest; what is configured already, where that is as fast."""
    shortest = min(periods.values())
    if periods.get(chosen, shortest * TIE) < shortest * TIE:
        return chosen
    return next(name for name, period in periods.items() if period < shortest * TIE)


def _best_routing(settings: Settings, found: ModelProfile, machine: Machine, strategies: Strategies) -> str:
    """One that encodes on rank 0, since no chunk waits for text there; unless the encoder does not fit. Then one for
    which the mesh encodes a prompt only once."""
    layout = settings.layout
    room = machine.memory_bytes * (1.0 if torch.device(layout.device).type == "cpu" else layout.memory_share)
    fits = layout.backend == "none" or peaks(settings, found, strategies, text_on_rank0=True)[0] <= room
    home = "rank0" if fits else "leader"
    possible = {name: routing for name, routing in strategies.routings.items() if routing.home == home}
    return min(possible, key=lambda name: possible[name].known_sends == "text")
