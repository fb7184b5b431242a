"""Each cache policy on one device: what a chunk takes, and whether captured passes give what eager ones give.

    python -m benchmarks.cache_policies            # 1.3B at 480×832, random weights, on a GPU
    python -m benchmarks.cache_policies --case small --device cpu --chunks 3

Times are of bfloat16, and include what a policy does before the chunk. The difference is of float32 with few layers,
the largest of all chunks, relative to the largest latent.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.sizes import ALL_CASES, FRAMES, STEPS, Case
from benchmarks.timing import device_named
from pp1_orchestrator.models.checkpoints.random_weights import InitialWeights
from pp1_orchestrator.models.wan.cache_policies import CACHES, CacheOptions
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.cuda_graphs import fast_runner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import build_sharded, read_part, whole_shapes
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place, ShardPlan

WINDOW, SINK, BANK, SHIFT, SEED = 12, 3, 3, 5.0, 11
FEW_LAYERS, COMPARED = 2, 14
OPTIONS = {
    "ema_sink": CacheOptions(decay=0.999),
    "adaptive_sink": CacheOptions(threshold=0.2),
    "memory_bank": CacheOptions(bank=BANK, record_every=3),
}
"""As `conf/cache/` has them. The other policies have no options."""


def generator(
    case: Case, policy: str, layers: int, dtype: torch.dtype, device: torch.device, fast: bool
) -> CausalGenerator:
    sizes = msgspec.structs.replace(
        case.sizes, chunk_frames=FRAMES, num_layers=layers, local_attn_size=WINDOW, sink_frames=SINK
    )
    plan = ShardPlan()
    state = read_part(sizes, InitialWeights(whole_shapes(sizes), SEED), Place(0, 1), plan, device, dtype)
    model = build_sharded(sizes, state, Place(0, 1), plan)
    chosen = CACHES[policy](OPTIONS.get(policy, CacheOptions()))
    cache = KVCache(sizes, case.latent_size, policy=chosen, dtype=dtype, device=device)
    return CausalGenerator(model, cache, FlowSchedule(SHIFT), fast_runner(model, cache, False) if fast else None)


class Stream:
    """Chunks one after another, each of new noise, with a clean pass."""

    def __init__(self, made: CausalGenerator, case: Case, config: WanConfig) -> None:
        self._made, self._start = made, 0
        self._shape = (1, FRAMES, config.in_dim, *case.latent_size)
        self._noise = torch.Generator().manual_seed(SEED)
        text = torch.randn((1, config.text_len, config.text_dim), generator=self._noise)
        made.warm_up(tuple(text.shape), self._shape)
        made.set_text(text)

    def chunk(self) -> Tensor:
        noise = torch.randn(self._shape, generator=self._noise)
        latents = self._made.denoise(noise, STEPS, self._start, SEED)
        self._made.write_context(latents, self._start)
        self._start += FRAMES
        return latents.float().cpu()


def difference(case: Case, policy: str, device: torch.device) -> float:
    """Of captured passes from eager ones."""
    ways = [generator(case, policy, FEW_LAYERS, torch.float32, device, fast) for fast in (False, True)]
    eager, captured = (Stream(made, case, case.sizes) for made in ways)
    worst = 0.0
    for _ in range(COMPARED):
        wanted, found = eager.chunk(), captured.chunk()
        worst = max(worst, ((found - wanted).abs().max() / wanted.abs().max()).item())
    ways[1].close()
    return worst


def milliseconds(case: Case, policy: str, device: torch.device, chunks: int) -> float:
    """Per chunk of a full cache; the median."""
    made = generator(case, policy, case.sizes.num_layers, torch.bfloat16, device, fast=True)
    stream = Stream(made, case, case.sizes)
    for _ in range(2 * WINDOW // FRAMES):
        stream.chunk()
    took = []
    for _ in range(chunks):
        start = time.perf_counter()
        stream.chunk()
        took.append(1e3 * (time.perf_counter() - start))
    made.close()
    return sorted(took)[chunks // 2]


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=ALL_CASES, default="1.3B-480x832")
    parser.add_argument("--chunks", type=int, default=15)
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)
    case = ALL_CASES[options.case]
    sys.stdout.write(f"{describe()}\n\n{options.case}, window {WINDOW}, sink {SINK}\n\n")
    sys.stdout.write("| cache | ms per chunk | captured from eager, float32 |\n|---|---|---|\n")
    for policy in CACHES:
        apart, ms = difference(case, policy, options.device), milliseconds(case, policy, options.device, options.chunks)
        sys.stdout.write(f"| {policy} | {ms:.1f} | {apart:.1e} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
