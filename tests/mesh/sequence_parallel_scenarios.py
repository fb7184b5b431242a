"""What the ranks of a sequence-parallel mesh do in a test: streams of several kinds, upstream's chunks, a lost peer."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.models.wan.cache_policies import CACHES
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.sequence_parallel import SequencePlan
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, MeshShard
from tests.golden.loading import Golden, Model, model_options, publish
from tests.mesh.tensor_parallel_scenarios import CACHE_OPTIONS, ELEMENTS, SEED, STEPS, shipped_model
from tests.transport.world import RankContext, Report

DEGREES = (4, 2)
CHUNKS, FRAMES, WINDOW = 6, 3, 6
ALONE = Place(0, 1)
SEQUENCE = SequencePlan()
UPSTREAM, UPSTREAM_DEGREE = "self_forcing", 2
"""Its model has two heads."""


@dataclass(frozen=True)
class Stream:
    """height, width: of its latents. bias: of the history's attention. rebuilt: history is read again before the end,
    the way that `CausalGenerator.rebuild` is told."""

    height: int = 6
    width: int = 8
    policy: str = "ring"
    sink: int = 0
    relative: bool = False
    bias: float = 1.0
    rebuilt: dict[str, bool] | None = None

    def chunks(self) -> int:
        return WINDOW // FRAMES if self.bias != 1 else CHUNKS


STREAMS = {
    "plain": Stream(),
    "padded": Stream(height=6, width=10),
    "ema_sink": Stream(policy="ema_sink", sink=3),
    "adaptive_sink": Stream(policy="adaptive_sink", sink=3),
    "memory_bank": Stream(policy="memory_bank"),
    "pinned, padded": Stream(height=6, width=10, policy="pinned", sink=6),
    "relative": Stream(sink=3, relative=True),
    "biased": Stream(bias=0.3),
    "rebuilt": Stream(rebuilt={}),
    "rebuilt together, padded": Stream(height=6, width=10, sink=3, rebuilt={"bidirectional": True, "keep_sink": True}),
}


def make_stream(what: Stream, shard: Shard) -> Tensor:
    """Its latents by the shipped model, [frames, c, h, w]."""
    model = SEQUENCE.parallelize(shipped_model(), shard)
    sizes = msgspec.structs.replace(
        model.config, chunk_frames=FRAMES, local_attn_size=WINDOW + what.sink, sink_frames=what.sink
    )
    cache = KVCache(
        sizes,
        (what.height, what.width),
        degree=shard.degree,
        rank=shard.rank,
        all_reduce=shard.all_reduce,
        relative=what.relative,
        policy=CACHES[what.policy](CACHE_OPTIONS),
    )
    generator = CausalGenerator(model, cache, FlowSchedule(), SEQUENCE.runner(model, cache, shard))
    text = torch.randn(1, sizes.text_len, sizes.text_dim, generator=torch.Generator().manual_seed(SEED))
    generator.set_text(text)
    chunks: list[Tensor] = []
    for start in range(0, what.chunks() * FRAMES, FRAMES):
        if what.rebuilt is not None and start == (CHUNKS - 1) * FRAMES:
            generator.rebuild(torch.cat(chunks[-2:], 1), start - WINDOW, **what.rebuilt)
        noise = initial_noise(SEED, start, (1, FRAMES, 16, what.height, what.width))
        chunks.append(generator.denoise(noise, STEPS, start, SEED, what.bias))
        generator.write_context(chunks[-1], start)
    return torch.cat(chunks, 1)[0]


def upstreams_chunks(folder: Path, shard: Shard) -> Tensor:
    """The recorded noise of Self-Forcing, sampled by a mesh: [chunks, 1, F, c, h, w]."""
    golden = Golden(UPSTREAM)
    path = publish(golden, folder, name=f"published {shard.rank}")
    model = Model("model=wan2_1_1_3b", "parallel=sequence", *model_options(golden, path), shard=shard)
    model.restart(golden["inputs/text"])
    made: list[Tensor] = []
    for noise, renoise in zip(golden["inputs/noise"], golden["inputs/renoise"], strict=True):
        made.append(model.denoise(noise, renoise))
        model.write_context(made[-1])
    return torch.stack(made)


def act(seat: RankContext) -> Report:
    """Once for each degree, without the ranks beyond the mesh."""
    return {str(degree): _meet(seat, degree) for degree in DEGREES if seat.rank <= degree}


def _meet(seat: RankContext, degree: int) -> Report:
    topology = seat.topology(f"sequence-parallel-{degree}", degree)
    report: Report = {}
    if seat.rank != STAGE0:
        shard = MeshShard(topology)
        left = {name: make_stream(what, shard).contiguous() for name, what in STREAMS.items()}
        if degree == UPSTREAM_DEGREE:
            left[UPSTREAM] = upstreams_chunks(seat.folder, shard)
        model = SEQUENCE.parallelize(shipped_model(), shard)
        left[ELEMENTS] = torch.tensor(sum(parameter.numel() for parameter in model.parameters()))
        save_file(left, left_behind(seat.folder, degree, seat.rank))
        report["lost"] = _lose_a_peer(seat, shard)
    topology.close()
    return report


def left_behind(folder: Path, degree: int, rank: int) -> Path:
    return folder / f"{degree} {rank}.safetensors"


def _lose_a_peer(seat: RankContext, shard: MeshShard) -> str:
    """The error on the leader when the other ranks have gone before an exchange."""
    if seat.rank != LEADER:
        return ""
    try:
        shard.all_to_all([torch.zeros(shard.degree, 3)], [torch.zeros(shard.degree, 3)])
    except MeshError as error:
        return str(error)
    return "nothing"
