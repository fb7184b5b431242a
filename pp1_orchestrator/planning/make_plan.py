"""The plan of a run, as data: what each rank would hold, send and compute, and how long a chunk would take."""

from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.config.schema import RUN_GROUPS, Settings
from pp1_orchestrator.planning.calibrate import Machine, compute_seconds, product_seconds
from pp1_orchestrator.planning.chunk_parts import bounds_ms, limited_by
from pp1_orchestrator.planning.cost_model import (
    MessageBytes,
    Phases,
    PromptLatency,
    message_bytes,
    period_s,
    prompt_latency,
)
from pp1_orchestrator.planning.inputs_outputs import Requirements
from pp1_orchestrator.planning.memory_plan import DeviceNeed, Placement, device_needs, peaks, placements, shares_gpu
from pp1_orchestrator.planning.part_profiles import Part, dtype_of
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.planning.strategy_traits import Strategies

TIE = 1.01
"""Periods closer than this count as equal: the prediction is not more exact."""
SHOWN_PHASES = ("denoise", "clean_pass", "recompute", "decode", "encode", "overhead")


class Flops(msgspec.Struct, frozen=True, kw_only=True):
    """FLOPs on one rank: of one call of each part, and of a chunk. floor_ms: time of a chunk's products alone."""

    calls: dict[str, int]
    mesh_rank: int
    stage0: int
    floor_ms: dict[str, float]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """plan.json. Placements are by rank, wire_bytes by routing, and predictions by overlap, for the steady state.

    bounds_ms: what a chunk's time on a mesh rank and on rank 0 is made of. limited_by: the most of it where it counts.
    """

    schema: int = 2
    config: dict[str, str]
    requirements: Requirements
    ranks: dict[str, Placement]
    devices: list[DeviceNeed]
    wire_bytes: dict[str, MessageBytes]
    flops: Flops
    phases_ms: dict[str, float]
    bounds_ms: dict[str, dict[str, float]]
    limited_by: str
    text_ms: float
    predicted_period_ms: dict[str, float]
    prompt_to_pixels: dict[str, PromptLatency]
    recommended_overlap: str
    recommended_routing: str
    machine: Machine

    @property
    def fits(self) -> bool:
        """Whether every device has room for its ranks."""
        return all(need.spare >= 0 for need in self.devices)

    @property
    def memory(self) -> dict[str, dict[str, int]]:
        """Bytes by rank and component, as in a run's summary."""
        return {rank: placement.memory for rank, placement in self.ranks.items()}


def write_plan(plan: Plan, path: Path) -> None:
    """Write the file, indented for people."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")


def read_plan(path: Path) -> Plan:
    """Read a file back. Raises msgspec.ValidationError where it is not a plan."""
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def predict(settings: Settings, profile: ModelProfile, machine: Machine, strategies: Strategies) -> Plan:
    """The plan of a run whose models have this profile, on this machine."""
    context = strategies.context(settings)
    wire = {
        name: message_bytes(routing, profile.needs, dtype_of(settings), settings.run.prompt, context.rebuilds)
        for name, routing in strategies.routings.items()
    }
    phases = _phases(settings, profile, machine, strategies, wire[settings.routing.name])
    one_process = settings.layout.backend == "none"
    periods = {
        name: period_s(overlap, phases, one_process, machine.parallel_ranks)
        for name, overlap in strategies.overlaps.items()
    }
    bounds = bounds_ms(settings, profile, machine, context)
    text = compute_seconds(profile.work["text"], machine.rates["text"])
    stalls = strategies.routing(settings).home != "rank0"
    return Plan(
        config={group: getattr(settings, group).name for group in RUN_GROUPS},
        requirements=profile.needs,
        ranks=placements(settings, profile, strategies),
        devices=device_needs(settings, profile, strategies, machine),
        wire_bytes=wire,
        flops=_flops(settings, profile, machine, strategies),
        phases_ms={name: 1e3 * getattr(phases, name) for name in SHOWN_PHASES},
        bounds_ms=bounds,
        limited_by=limited_by(bounds, phases, strategies.overlap(settings)),
        text_ms=1e3 * text,
        predicted_period_ms={name: 1e3 * period for name, period in periods.items()},
        prompt_to_pixels={
            name: prompt_latency(strategies.overlaps[name], period, phases.decode, text, stalls)
            for name, period in periods.items()
        },
        recommended_overlap=_best_overlap(periods, settings.overlap.name),
        recommended_routing=_best_routing(settings, profile, machine, strategies),
        machine=machine,
    )


def _phases(
    settings: Settings, profile: ModelProfile, machine: Machine, strategies: Strategies, wire: MessageBytes
) -> Phases:
    ranks, steps, context = settings.layout.mesh_ranks, len(settings.model.steps), strategies.context(settings)
    slowdown = max(1.0, ranks / machine.parallel_ranks) if machine.parallel_ranks else 1.0

    def compute(part: Part, rates: str) -> float:
        return compute_seconds(profile.work[part], machine.rates[rates])

    def on_mesh(part: Part) -> float:
        work = profile.work[part]
        return slowdown * compute(part, "generator") + machine.link.collectives(work)

    clean, rebuilds, anchored = context.clean_pass, context.rebuilds, context.needs_pixels
    context_s, context_busy = on_mesh("context"), ranks * compute("context", "generator")
    decode = compute("decode", "decode")
    encode = compute("encode", "encode") if anchored else 0.0
    messages = 5 + rebuilds + (2 if ranks > 1 else 0)  # header, metadata, tensor; the leader relays an envelope
    return Phases(
        denoise=steps * on_mesh("generator") + settings.debug.mesh_s,
        clean_pass=context_s if clean else 0.0,
        recompute=context_s / settings.context.recompute_every if rebuilds else 0.0,
        decode=decode + settings.debug.decode_s,
        encode=encode + (settings.debug.encode_s if anchored else 0.0),
        overhead=machine.link.messages(messages, wire.envelope + wire.result),
        decode_frames=profile.needs.chunk_latent_frames,
        anchored=anchored,
        one_gpu=shares_gpu(settings.layout),
        mesh_busy=steps * ranks * compute("generator", "generator") + (context_busy if clean or rebuilds else 0.0),
        clean_pass_busy=context_busy if clean else 0.0,
        stage0_busy=decode + encode,
    )


def _flops(settings: Settings, profile: ModelProfile, machine: Machine, strategies: Strategies) -> Flops:
    context = strategies.context(settings)
    mesh: dict[Part, int] = {"generator": len(settings.model.steps), "context": context.clean_pass or context.rebuilds}
    stage0: dict[Part, int] = {part: 1 for part in ("decode", "encode") if part in profile.work}

    def total(calls: dict[Part, int]) -> int:
        return sum(profile.work[part].flops * count for part, count in calls.items())

    def floor_ms(calls: dict[Part, int]) -> float:
        rates = {part: machine.rates["generator" if part == "context" else part] for part in calls}
        return 1e3 * sum(count * product_seconds(profile.work[part], rates[part]) for part, count in calls.items())

    return Flops(
        calls={part: work.flops for part, work in profile.work.items()},
        mesh_rank=total(mesh),
        stage0=total(stage0),
        floor_ms={"mesh_rank": floor_ms(mesh), "stage0": floor_ms(stage0)},
    )


def _best_overlap(periods: dict[str, float], chosen: str) -> str:
    """The configured overlap where it is as fast as any other, otherwise the first of the fastest."""
    tie = min(periods.values()) * TIE
    return chosen if periods[chosen] < tie else next(name for name in periods if periods[name] < tie)


def _best_routing(settings: Settings, profile: ModelProfile, machine: Machine, strategies: Strategies) -> str:
    """One that encodes on rank 0, since no chunk waits for text there.

    Where rank 0 has no room for the encoder and another rank has, the routing whose mesh encodes each prompt once.
    """
    layout = settings.layout
    room = machine.memory_bytes * (1.0 if torch.device(layout.device).type == "cpu" else layout.memory_share)
    fits = layout.backend == "none" or peaks(settings, profile, strategies, text_on_rank0=True)[0] <= room
    possible = {name: r for name, r in strategies.routings.items() if r.home == ("rank0" if fits else "leader")}
    return min(possible, key=lambda name: possible[name].known_sends == "text")
