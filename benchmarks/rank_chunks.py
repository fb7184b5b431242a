"""One rank's part of a generator of the real sizes, making chunk after chunk as a mesh rank would."""

from collections.abc import Callable

import msgspec
import torch
from torch import Tensor

from benchmarks.sizes import FRAMES, STEPS, Case
from pp1_orchestrator.models.checkpoints.random_weights import InitialWeights
from pp1_orchestrator.models.wan.cuda_graphs import fast_runner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import build_sharded, read_part, whole_shapes
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.runner import EagerRunner
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard, ShardPlan

SEED = 1
WAYS: dict[str, Callable[[CausalWanModel, KVCache], EagerRunner | None]] = {
    "eager": lambda model, cache: None,
    "captured": lambda model, cache: fast_runner(model, cache, fp8=False),
    "captured, fp8": lambda model, cache: fast_runner(model, cache, fp8=True),
}
"""How passes run. What is captured is compiled too; on a CPU it is compiled alone."""


class RankChunks:
    """Its weights, text and noise are those of every other rank, whatever their number."""

    def __init__(self, case: Case, shard: Shard, device: torch.device, dtype: torch.dtype, way: str) -> None:
        config = msgspec.structs.replace(case.sizes, chunk_frames=FRAMES, local_attn_size=case.window)
        self._case, self._start, self._last = case, 0, torch.empty(0)
        plan, size = ShardPlan(), case.latent_size
        place, source = Place(shard.rank, shard.degree), InitialWeights(whole_shapes(config), 0)
        model = build_sharded(config, read_part(config, source, place, plan, device, dtype), shard, plan)
        cache = KVCache(config, size, degree=shard.degree, dtype=dtype, device=device)
        self._generator = CausalGenerator(model, cache, FlowSchedule(5.0, warp=True), WAYS[way](model, cache))
        rng = torch.Generator().manual_seed(SEED)
        self._generator.set_text(torch.randn(1, config.text_len, config.text_dim, generator=rng))
        self._noise = torch.randn(1, FRAMES, config.in_dim, *size, generator=rng).to(device)

    def __call__(self) -> Tensor:
        if self._case.rebuild and self._start:
            self._generator.rebuild(self._last, self._start - FRAMES)
        self._last = self._generator.denoise(self._noise, STEPS, self._start, seed=SEED)
        if not self._case.rebuild:
            self._generator.write_context(self._last, self._start)
        self._start += FRAMES
        return self._last

    def close(self) -> None:
        """Before the group of its shard ends."""
        self._generator.close()

    def fill(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """So many chunks, by default until the steady state: the first one's latents, and the last one's."""
        first = last = self()
        for _ in range((count or self._case.chunks_until_steady) - 1):
            last = self()
        return first, last
