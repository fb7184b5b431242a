"""Memory without data: against sums by hand, and a real pass's allocations as torch's profiler sees them."""

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae, make_decoder
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import load_generator
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.planning.memory_tracker import MemoryTracker, in_blocks
from pp1_orchestrator.planning.op_counter import counting
from pp1_orchestrator.planning.part_profiles import META
from tests.planning.factories import settings, shipped

CPU = torch.device("cpu")
WITHIN = 0.03


def test_a_chain_of_products():
    x, weight = torch.zeros(64, 256, device="meta"), torch.zeros(256, 256, device="meta")
    one = 64 * 256 * 4
    memory = MemoryTracker()
    with counting(memory):
        for _ in range(5):
            x = linear(x, weight)  # the last one and the next one, never a third
    assert (memory.current, memory.peak) == (one, 2 * one)
    del x
    assert (memory.current, memory.peak) == (0, 2 * one)


def test_what_is_kept_counts_until_it_goes_and_what_was_there_never_does():
    there, memory = torch.zeros(1024, device="meta"), MemoryTracker()
    with counting(memory):
        there.add_(1)
        view = there.view(32, 32)
        kept = view + view
        kept.mul_(2)
    assert (memory.current, memory.peak) == (4096, 4096)
    with counting(memory):
        second = kept.clone()
        del kept
        third = second.clone()
    assert (memory.current, memory.peak) == (8192, 8192), "the first went before the third came"
    del second, third
    assert memory.current == 0


def test_a_tensor_takes_whole_blocks():
    memory = MemoryTracker()
    with counting(memory):
        odd = torch.zeros(129, device="meta")
    assert odd.nbytes == 516
    assert memory.current == in_blocks(516) == 1024


def test_attention_makes_no_matrix_of_scores():
    heads = torch.zeros(1, 4, 4096, 64, device="meta", dtype=torch.bfloat16)
    memory = MemoryTracker()
    with counting(memory):
        scaled_dot_product_attention(heads, heads, heads)
    assert memory.peak == heads.nbytes


def allocated(run) -> int:
    """The most of a CPU's memory that a call has in use beyond what there was: every piece that it asked torch for."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    assert seen.profiler is not None
    results: Any = seen.profiler.kineto_results
    pieces = [e for e in results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(pieces, key=lambda e: e.start_ns())))


def on(device, run):
    """The same call followed, and its result dropped."""
    memory = MemoryTracker(device)
    with counting(memory):
        run()
    return memory.peak


def passes(device):
    """A denoising pass of the shipped model over a full window, to be run once more each time."""
    made = settings()
    config = shipped(made)
    model = load_generator(made.model.folder / "generator", config, CPU, torch.float32).to(device)
    cache = KVCache(config, (16, 16), device=device)
    cache.begin(config.local_attn_size - config.chunk_frames)
    with torch.inference_mode():
        text = model.embed_text(torch.zeros(1, 48, 96, device=device))
    rope = rope_table(config.head_dim, 0, 3, 8, 8, torch.device(device))
    latents, time = torch.zeros(1, 3, 16, 16, 16, device=device), torch.zeros(1, device=device)

    @torch.inference_mode()
    def run():
        model(latents, time, text, cache, rope)

    return run


def decodes(device):
    """A steady chunk of the shipped decoder."""
    vae = load_vae(VaeSource(settings().model.folder / "vae"), CPU, torch.float32)
    decoder, state = make_decoder(vae.to(device)), DecodeState()
    latents = torch.zeros(3, 16, 16, 16, device=device)
    decoder.decode(latents, state)
    return lambda: decoder.decode(latents, state)


@pytest.mark.parametrize("make", [passes, decodes])
def test_a_pass_takes_the_memory_that_a_real_one_asks_for(make):
    real = allocated(make("cpu"))
    assert real > 1e6
    assert on("cpu", make("cpu")) == pytest.approx(real, rel=WITHIN)
    assert on("meta", make("meta")) == pytest.approx(real, rel=WITHIN)


def test_the_meta_device_is_the_one_that_is_followed():
    memory = MemoryTracker()
    with counting(memory):
        here = torch.zeros(1024)
        there = here.to(META)
    assert memory.current == there.nbytes == here.nbytes
