"""Counting: FLOPs against numbers counted by hand, and a meta run against a real one."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae
from pp1_orchestrator.models.vae.wan_decoder import WanDecoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.op_counter import counting
from pp1_orchestrator.planning.part_profiles import META
from pp1_orchestrator.planning.profile import profile_model
from tests.planning.factories import settings

SMALL = WanConfig(
    dim=24,
    ffn_dim=40,
    num_heads=2,
    num_layers=3,
    text_dim=96,
    text_len=5,
    freq_dim=8,
    chunk_frames=1,
    local_attn_size=2,
)
SIZE = ("stream.height=32", "stream.width=48")
S, K, C, FFN, L, PATCH = 6, 12, 24, 40, 5, 4 * 16
"""Tokens of a chunk, of the window; width, feed-forward, text tokens, numbers in a patch."""


def linear(rows, inputs, outputs):
    return 2 * rows * inputs * outputs


def by_hand(degree, qk, cross, whole=True):
    """FLOPs of one rank's pass; without `whole`, of a pass that only writes history."""
    own, ffn = C // degree, FFN // degree
    q = own if qk else C
    cross_q = own if qk and cross else C
    cross_own = own if cross else C
    project = 2 * linear(S, C, q) + linear(S, C, own)
    rest = (
        2 * 2 * S * K * own
        + linear(S, own, C)
        + linear(S, C, cross_q)
        + 2 * 2 * S * L * cross_own
        + linear(S, cross_own, C)
        + linear(S, C, ffn)
        + linear(S, ffn, C)
    )
    time = linear(1, 8, C) + linear(1, C, C) + linear(1, C, 6 * C)
    blocks = SMALL.num_layers
    return (
        time
        + linear(S, PATCH, C)
        + blocks * project
        + ((blocks if whole else blocks - 1) * rest)
        + (linear(S, C, PATCH) if whole else 0)
    )


@pytest.mark.parametrize(
    ("ranks", "qk", "cross"), [(1, False, False), (2, False, False), (2, True, False), (2, True, True)]
)
def test_a_pass_has_the_flops_that_a_hand_counts(ranks, qk, cross):
    options = (f"layout.mesh_ranks={ranks}", f"layout.shard.qk={qk}", f"layout.shard.cross_attention={cross}")
    work = profile_model(settings(*SIZE, *options), SMALL, STRATEGIES).work
    assert work["generator"].flops == by_hand(ranks, qk, cross)
    assert work["context"].flops == by_hand(ranks, qk, cross, whole=False)


def test_the_sums_over_the_mesh_are_counted():
    work = profile_model(settings(*SIZE), SMALL, STRATEGIES).work
    assert work["generator"].reductions == 2 * SMALL.num_layers
    assert work["generator"].reduction_bytes == 2 * SMALL.num_layers * S * C * 4
    assert work["context"].reductions == 2 * (SMALL.num_layers - 1)
    assert profile_model(settings(*SIZE, "layout=inline"), SMALL, STRATEGIES).work["generator"].reductions == 0


def slice_by_hand(tokens, whole=True):
    """FLOPs of one of two sequence-parallel ranks: its slice of the tokens, and half of the heads of all of them."""
    own, blocks = -(-tokens // 2), SMALL.num_layers
    time = linear(1, 8, C) + linear(1, C, C) + linear(1, C, 6 * C)
    rest = (
        2 * 2 * tokens * 2 * tokens * C // 2  # the window has two chunks
        + 3 * linear(own, C, C)
        + 2 * 2 * own * L * C
        + linear(own, C, FFN)
        + linear(own, FFN, C)
    )
    head = linear(own, C, PATCH) if whole else 0
    return time + linear(own, PATCH, C) + blocks * 3 * linear(own, C, C) + (blocks - (not whole)) * rest + head


@pytest.mark.parametrize(("width", "tokens"), [(48, 6), (80, 10), (112, 14)])
def test_a_slice_of_the_tokens_has_the_flops_that_a_hand_counts(width, tokens):
    options = ("parallel=sequence", "stream.height=32", f"stream.width={width}")
    work = profile_model(settings(*options), SMALL, STRATEGIES).work
    assert work["generator"].flops == slice_by_hand(tokens)
    assert work["context"].flops == slice_by_hand(tokens, whole=False)


def test_tokens_that_do_not_divide_are_padded():
    size = ("parallel=sequence", "stream.height=48", "stream.width=48")
    work = profile_model(settings(*size), SMALL, STRATEGIES).work
    assert work["generator"].flops == slice_by_hand(9)


def test_the_exchanges_over_the_mesh_are_counted():
    work = profile_model(settings(*SIZE, "parallel=sequence"), SMALL, STRATEGIES).work
    assert work["generator"].exchanges == 2 * SMALL.num_layers
    assert work["generator"].exchange_bytes == SMALL.num_layers * (3 + 1) * S // 2 * C * 4
    assert work["generator"].reductions == 0
    assert work["context"].exchanges == 2 * SMALL.num_layers - 1


def test_kinds_and_counts_of_operations():
    x, weight = torch.zeros(4, 8, device="meta"), torch.zeros(2, 8, device="meta")
    image, kernel = torch.zeros(1, 3, 5, 5, device="meta"), torch.zeros(2, 3, 3, 3, device="meta")
    heads = torch.zeros(1, 2, 4, 8, device="meta")
    with counting() as work:
        for _ in range(3):
            torch.nn.functional.linear(x, weight)
        torch.conv2d(image, kernel)
        scaled_dot_product_attention(heads, heads, heads)
        x.view(8, 4)
        torch.add(x, x)
    assert work.flops_of("matmul") == 3 * 2 * 4 * 8 * 2
    assert work.flops_of("conv") == 2 * 9 * 2 * 3 * 9
    assert work.flops_of("attention") == 2 * 2 * 2 * 4 * 4 * 8
    assert work.other_bytes == 3 * x.nbytes, "a view moves nothing"
    assert (work.calls, [operation.count for operation in work.operations]) == (7, [3, 1, 1, 1])


def decoders():
    whole = load_vae(VaeSource(settings().model.folder / "vae", seed=0), META, torch.float32)
    with META:
        return WanDecoder(whole), DiffusersDecoder(whole)


def decoded(decoder, device):
    """The work of a steady chunk, and the state after it."""
    state, latents = DecodeState(), torch.zeros(3, 16, 16, 16, device=device)
    decoder.decode(latents, state)
    with counting() as work:
        decoder.decode(latents, state)
    return work, state


def test_both_decoders_make_the_same_products_and_keep_as_much():
    (stacked, one), (reference, other) = (decoded(decoder, "meta") for decoder in decoders())
    assert stacked.flops == reference.flops > 1e9
    assert one.nbytes == other.nbytes


def products(work):
    """Convolutions with the order of their operands in memory."""
    return [(op.call.arguments[:2], op.count, op.flops) for op in work.operations if op.kind == "conv"]


def test_a_decode_without_data_has_the_convolutions_of_a_real_one():
    vae = load_vae(VaeSource(settings().model.folder / "vae"), torch.device("cpu"), torch.float32)
    real, _ = decoded(WanDecoder(vae), "cpu")
    made, _ = decoded(decoders()[0], "meta")
    assert products(made) == products(real)
