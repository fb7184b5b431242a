"""What is compiled, or fused for it, computes what it replaces. Traced by torch's tracer, run without a compiler but
for one test."""

import copy
import os
import shutil
from typing import Any, cast

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import nn
from torch.nn.functional import gelu, linear

from pp1_orchestrator.models.vae.base import ConvCache, DecodeState, clone_channels_last
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.load_vae import compile_decoder
from pp1_orchestrator.models.vae.wan_decoder import CausalConv, WanDecoder
from pp1_orchestrator.models.wan.compiled import CompiledRunner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.ops.linear import linear_gelu
from pp1_orchestrator.models.wan.ops.norms import EagerOps, TritonOps
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from tests.models.wan.factories import CONFIG, make_model

STEPS = (1000, 500)


def chunks(model, count, ops=None):
    """The latents of some chunks in a row, each with its context pass; the last one after history was read again."""
    cache = KVCache(CONFIG, (8, 8), dtype=torch.float64)
    runner = None if ops is None else CompiledRunner(model, cache, ops=ops, backend="aot_eager")
    generator = CausalGenerator(model, cache, FlowSchedule(), runner)
    text = torch.randn(1, CONFIG.text_len, CONFIG.text_dim, generator=torch.Generator().manual_seed(1))
    if ops is not None:
        generator.warm_up(tuple(text.shape), (1, CONFIG.chunk_frames, CONFIG.in_dim, 8, 8))
        assert generator.calls == 0
    generator.set_text(text)
    made = []
    for index in range(count):
        start = index * CONFIG.chunk_frames
        noise = torch.randn(1, CONFIG.chunk_frames, CONFIG.in_dim, 8, 8, generator=torch.Generator().manual_seed(index))
        if index == count - 1:
            generator.rebuild(torch.cat(made[-2:], 1), start - 2 * CONFIG.chunk_frames, bidirectional=True)
        made.append(generator.denoise(noise, STEPS, start, seed=3))
        generator.write_context(made[-1], start)
    return torch.cat(made, 1)


@pytest.mark.parametrize("ops", [EagerOps(), TritonOps()], ids=["compiler's", "own"])
def test_compiled_blocks_give_the_same_latents_while_the_window_fills_and_rolls(ops):
    model = make_model()
    count = CONFIG.local_attn_size // CONFIG.chunk_frames + 2
    expected = chunks(copy.deepcopy(model), count)
    torch.testing.assert_close(chunks(model, count, ops), expected, rtol=1e-4, atol=1e-5)


def test_a_generator_that_was_warmed_up_has_no_text():
    model = make_model()
    generator = CausalGenerator(model, KVCache(CONFIG, (8, 8), dtype=torch.float64), FlowSchedule())
    generator.warm_up((1, CONFIG.text_len, CONFIG.text_dim), (1, CONFIG.chunk_frames, CONFIG.in_dim, 8, 8))
    with pytest.raises(ValueError, match="set_text"):
        generator.denoise(torch.zeros(1, CONFIG.chunk_frames, CONFIG.in_dim, 8, 8), STEPS, 0, seed=0)


def test_the_fused_product_is_a_linear_layer_and_gelu():
    x, weight, bias = torch.randn(1, 5, 8), torch.randn(12, 8), torch.randn(12)
    torch.testing.assert_close(linear_gelu(x, weight, bias), gelu(linear(x, weight, bias), approximate="tanh"))
    torch.library.opcheck(cast(Any, linear_gelu), (x, weight, bias))


def small_vae(dtype):
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=16, dim_mult=[1, 1, 1, 1]).eval().requires_grad_(False).to(dtype)


def decoded(decoder, latents):
    state = DecodeState()
    return torch.cat([decoder.decode(part, state) for part in latents])


@pytest.mark.slow
def test_a_compiled_decoder_gives_the_same_pixels_in_every_cut():
    vae, latents = small_vae(torch.float64), torch.randn(7, 16, 4, 4)
    parts = [latents[:3], latents[3:4], latents[4:6], latents[6:]]
    decoder = WanDecoder(vae).eval()
    compile_decoder(decoder, 3, (4, 4), in_parts=True, backend="aot_eager")
    torch.testing.assert_close(decoded(decoder, parts), decoded(DiffusersDecoder(vae), [latents]), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="torch's compiler needs a C++ one")
def test_what_a_compiled_layer_remembers_keeps_nothing_else_in_memory():
    """With torch's own compiler: it takes a plain copy for needless and hands on a view of all frames."""
    conv, state = CausalConv(nn.Conv3d(4, 4, 3)).to(torch.bfloat16), DecodeState()
    compiled = torch.compile(lambda x: conv(x, ConvCache(state)), fullgraph=True, dynamic=False)
    frames = torch.randn(12, 4, 8, 8, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(2):
            compiled(frames)
    (kept,) = state.entries
    assert kept is not None
    assert torch.equal(kept, frames[-2:])
    assert kept.untyped_storage().nbytes() == kept.nbytes
    torch.library.opcheck(cast(Any, clone_channels_last), (frames[-2:],))


def test_a_decoder_lies_where_its_weights_do():
    with torch.device("meta"):
        decoder = WanDecoder(AutoencoderKLWan(base_dim=16, dim_mult=[1, 1, 1, 1]))
    assert {tensor.device.type for tensor in (*decoder.parameters(), *decoder.buffers())} == {"meta"}


def test_a_narrow_decoder_stays_near_the_exact_one_and_gives_wide_pixels():
    latents = torch.randn(3, 16, 4, 4)
    exact = decoded(DiffusersDecoder(small_vae(torch.float32)), [latents])
    narrow = decoded(WanDecoder(small_vae(torch.bfloat16)).eval(), [latents])
    assert narrow.dtype == torch.float32
    assert float((narrow - exact).square().mean()) < 1e-3 * float(exact.square().mean())
