"""What the ranks of a mesh do in a test: make groups, try each of them, make latents together, lose a peer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

import pp1_orchestrator
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.models.wan.cache_policies import CACHES, CacheOptions
from pp1_orchestrator.models.wan.compiled import CompiledRunner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import load_generator
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.ops.norms import EagerOps, TritonOps
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard, ShardPlan, parallelize
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, MeshShard, Topology, open_channel
from tests.models.config_file import read_config
from tests.transport.world import RankContext, Report

SHIPPED = Path(pp1_orchestrator.__file__).parent / "models" / "tiny" / "generator"
CPU = torch.device("cpu")
ALONE = Place(0, 1)
DEGREES = (4, 2)
PLANS = {f"qk={qk} cross={cross}": ShardPlan(qk, cross) for qk in (True, False) for cross in (True, False)}
SHAPE = (1, 3, 16, 6, 8)
LATENTS, ELEMENTS, LOOKED_AT = "latents", "elements", "blocks.3."
COMPILED: dict[str, EagerOps] = {"compiled": EagerOps(), "compiled, own kernels": TritonOps()}
"""As on a CPU, and as on a GPU."""
COMPILED_DEGREE = 2
COMPILED_CACHE, COMPILED_CACHE_LATENTS = "memory_bank", "compiled, memory bank"
STEPS, SEED, CHUNKS, WINDOW = (1000, 500), 7, 3, 6
CACHE_CHUNKS = 6
CACHE_SINKS = {"ema_sink": 3, "adaptive_sink": 3, "memory_bank": 0, "pinned": 6}
"""Policies of the KV cache, and the latent frames of the sink with which each of them has something to do."""
CACHE_OPTIONS = CacheOptions(decay=0.5, threshold=1.0, bank=1, record_every=1)


def shipped_model() -> CausalWanModel:
    return load_generator(SHIPPED, read_config(SHIPPED), CPU, torch.float32)


def stream(
    model: CausalWanModel, shard: Shard = ALONE, compiled: EagerOps | None = None, policy: str | None = None
) -> Tensor:
    """Latents of several chunks, more than the window holds: [CHUNKS·F, c, h, w].

    compiled: with these ops, traced by torch's tracer, its sums too, and run without a compiler.
    """
    config, sink, length = model.config, CACHE_SINKS.get(policy or "", 0), CACHE_CHUNKS if policy else CHUNKS
    sizes = msgspec.structs.replace(config, chunk_frames=SHAPE[1], local_attn_size=WINDOW + sink, sink_frames=sink)
    cache = KVCache(
        sizes,
        (SHAPE[-2], SHAPE[-1]),
        degree=shard.degree,
        rank=shard.rank,
        all_reduce=shard.all_reduce,
        policy=CACHES[policy](CACHE_OPTIONS) if policy else None,
    )
    runner = CompiledRunner(model, cache, ops=compiled, backend="aot_eager") if compiled else None
    generator = CausalGenerator(model, cache, FlowSchedule(), runner)
    generator.set_text(torch.randn(1, config.text_len, config.text_dim, generator=torch.Generator().manual_seed(SEED)))
    chunks = []
    for start in range(0, length * SHAPE[1], SHAPE[1]):
        chunks.append(generator.denoise(initial_noise(SEED, start, SHAPE), STEPS, start, SEED))
        generator.write_context(chunks[-1], start)
    return torch.cat(chunks, 1)[0]


def act(seat: RankContext) -> Report:
    """Once for each degree of tensor parallelism, without the ranks beyond the mesh."""
    return {str(degree): _meet(seat, degree) for degree in DEGREES if seat.rank <= degree}


def _meet(seat: RankContext, degree: int) -> Report:
    topology = seat.topology(f"tensor-parallel-{degree}", degree)
    # A group's name counts the groups made before it: another count on one rank gives another name there.
    everybody = dist.new_group(list(range(degree + 1)))
    assert isinstance(everybody, dist.ProcessGroup)
    report: Report = {"next_group": everybody.group_name}
    report["refused"] = _refusals(topology)
    report["addresses"] = _own_addresses()
    if seat.rank != STAGE0:
        shard = MeshShard(topology)
        report |= _reach(topology, shard)
        _make_latents(seat, shard)
        report["lost"] = _lose_a_peer(seat, shard)
    topology.close()
    return report


def _refusals(topology: Topology) -> dict[str, str]:
    """What each way to a group's use says, by name, where it is refused. Whoever may use a group only looks at it."""
    ways: dict[str, Callable[[], Any]] = {
        "pp": lambda: topology.group("pp"),
        "pipe": lambda: open_channel(topology),
        "mesh": lambda: topology.group("mesh"),
        "shard": lambda: MeshShard(topology),
    }
    refused = {}
    for name, way in ways.items():
        try:
            way()
        except MeshError as error:
            refused[name] = str(error)
    return refused


def _own_addresses() -> list[str]:
    """Of every inet socket that this process holds: where it listens, and where its connections begin."""
    return sorted({c.laddr.ip for c in psutil.Process().net_connections(kind="inet") if c.laddr})


def _reach(topology: Topology, shard: MeshShard) -> Report:
    place = torch.tensor([float(topology.rank)])
    return {"sum": shard.all_reduce(place.clone()).item(), "leader": shard.broadcast(place.clone()).item()}


def _make_latents(seat: RankContext, shard: Shard) -> None:
    for name, plan in PLANS.items():
        model = parallelize(shipped_model(), shard, plan)
        left = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(LOOKED_AT)}
        left[LATENTS] = stream(model, shard).contiguous()
        if shard.degree == COMPILED_DEGREE:
            for way, ops in COMPILED.items():
                compiled = stream(parallelize(shipped_model(), shard, plan), shard, ops)
                left[way] = compiled.contiguous()
            for policy in CACHE_SINKS:
                left[policy] = stream(model, shard, policy=policy).contiguous()
            compiled = stream(parallelize(shipped_model(), shard, plan), shard, EagerOps(), COMPILED_CACHE)
            left[COMPILED_CACHE_LATENTS] = compiled.contiguous()
        left[ELEMENTS] = torch.tensor(sum(parameter.numel() for parameter in model.parameters()))
        save_file(left, left_behind(seat.folder, shard.degree, name, seat.rank))


def left_behind(folder: Path, degree: int, plan: str, rank: int) -> Path:
    return folder / f"{degree} {plan} {rank}.safetensors"


def _lose_a_peer(seat: RankContext, shard: MeshShard) -> str:
    """The error on the leader when the other ranks have gone."""
    if seat.rank != LEADER:
        return ""
    try:
        shard.all_reduce(torch.zeros(1))
    except MeshError as error:
        return str(error)
    return "nothing"
