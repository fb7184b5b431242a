"""What makes the generator fast on a GPU, as maths: parts of attention, and products in 8-bit floats."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pp1_orchestrator.models.wan.attention import attend, attend_with_sum
from pp1_orchestrator.models.wan.compiled import fuse_block
from pp1_orchestrator.models.wan.fp8 import Fp8Linear, QuantizeRowwise, quantize_block, quantize_linear
from pp1_orchestrator.models.wan.ops.linear import linear_out
from pp1_orchestrator.models.wan.ops.norms import (
    EagerOps,
    fused_add_layer_norm,
    fused_layer_norm,
    fused_mean_square,
    fused_rms_norm,
    qk_norm_rope_,
)
from pp1_orchestrator.models.wan.ops.quantize import (
    fused_add_layer_norm_quantize,
    fused_layer_norm_quantize,
    quantize_rowwise,
    quantize_rowwise_ref,
)
from pp1_orchestrator.models.wan.ops.split_kv_attention import MAX_SPLITS, MIN_SPLIT_KEYS, merge_splits, num_splits
from pp1_orchestrator.models.wan.rope import rope_cos_sin, rope_table
from pp1_orchestrator.models.wan.tensor_parallel import RowParallelLinear
from tests.models.wan.factories import make_model

H200_PROCESSORS = 132


@given(st.integers(1, 9000), st.integers(1, 40_000), st.integers(1, 40), st.integers(1, 200))
def test_parts_are_equal_long_and_few(queries, keys, heads, processors):
    parts = num_splits(queries, keys, heads, processors)
    assert 1 <= parts <= MAX_SPLITS
    assert keys % parts == 0
    assert parts == 1 or keys // parts >= MIN_SPLIT_KEYS


@pytest.mark.parametrize(
    ("queries", "keys", "heads", "parts"), [(4680, 32760, 12, 2), (2160, 15120, 12, 3), (2160, 4320, 40, 1)]
)
def test_wans_sizes_are_cut_where_the_last_wave_is_nearly_empty(queries, keys, heads, parts):
    assert num_splits(queries, keys, heads, H200_PROCESSORS) == parts


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_joined_parts_are_attention_to_all_keys(parts):
    q, k, v = (torch.randn(1, n, 2, 16, generator=torch.Generator().manual_seed(n)) for n in (5, 24, 48))
    k, v = k * 3, v[:, :24]
    cut = [attend_with_sum(q, *pair) for pair in zip(k.chunk(parts, 1), v.chunk(parts, 1), strict=True)]
    outs, sums = torch.cat([out for out, _ in cut]), torch.cat([total for _, total in cut])[..., None]
    torch.testing.assert_close(merge_splits(outs, sums), attend(q, k, v))


def test_a_product_is_written_to_its_place_and_nowhere_else():
    x, layer, cache = torch.randn(1, 4, 6), nn.Linear(6, 8), torch.full((1, 12, 2, 4), 7.0)
    with torch.no_grad():
        linear_out(x, layer.weight, layer.bias, cache[:, 4:8])
        torch.testing.assert_close(cache[:, 4:8].flatten(2), layer(x))
    assert (cache[:, :4] == 7).all()
    assert (cache[:, 8:] == 7).all()


def test_rounding_to_8_bits_keeps_each_rows_largest_value_and_loses_a_sixteenth_at_most():
    rows = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-8, 3, 16)[:, None]
    narrow, scale = quantize_rowwise_ref(rows)
    wide = narrow.float() * scale
    # Three bits behind the point; below 2⁻⁶ of the format, steps are even.
    assert ((wide - rows).abs() <= rows.abs() / 16 + scale * 2**-10 + 1e-12).all()
    torch.testing.assert_close(wide.abs().amax(-1), rows.abs().amax(-1))
    zeros, _ = quantize_rowwise_ref(torch.zeros(2, 8))
    assert not zeros.float().any()


def spread(*shape, seed=0):
    """In bfloat16; rows of very different sizes."""
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return (rows * torch.logspace(-2, 2, shape[-2])[:, None] if len(shape) > 1 else rows).bfloat16()


def near(rows, wanted):
    narrow, scale = rows
    assert narrow.shape == wanted.shape
    assert float((narrow.float() * scale - wanted).norm() / wanted.norm()) < 0.04


def test_norms_and_rounding_of_rows():
    """What the kernels do on a GPU, in the words that other devices run: against float64."""
    x, change, gate, scale, shift = spread(1, 8, 64), spread(1, 8, 64, seed=1), *(spread(64, seed=n) for n in (2, 3, 4))
    total = (x.double() + change.double() * gate.double()).bfloat16()

    def normal(rows, plus):
        wide = rows.double()
        centred = wide - wide.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * (scale.double() + plus) + shift.double()

    def same(found, wanted):
        torch.testing.assert_close(found.double(), wanted, rtol=2**-7, atol=1e-3 * float(wanted.abs().max()))

    same(fused_layer_norm(x, scale, shift, 1, 1e-6), normal(x, 1))
    found, rows = fused_add_layer_norm(x, change, gate, scale, shift, 0, 1e-6)
    torch.testing.assert_close(found, total)
    same(rows, normal(total, 0))
    by_root = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-6).sqrt()
    same(fused_rms_norm(x, None, scale, 1e-6, 0), by_root * scale.double())
    same(fused_rms_norm(x, None, scale[:16], 1e-6, 32), by_root[..., 32:48] * scale[:16].double())

    near(quantize_rowwise(x, False), x.double())
    near(quantize_rowwise(x, True), torch.nn.functional.gelu(x.double(), approximate="tanh"))
    near(fused_layer_norm_quantize(x, scale, shift, 1, 1e-6), normal(x, 1))
    found, *rows = fused_add_layer_norm_quantize(x, change, gate, scale, shift, 0, 1e-6)
    torch.testing.assert_close(found, total)
    near(rows, normal(total, 0))
    found, *rows = fused_add_layer_norm_quantize(x, change, None, scale, shift, 1, 1e-6)
    torch.testing.assert_close(found, x + change)
    near(rows, normal(x + change, 1))


def test_a_row_of_which_only_a_part_is_here_is_normalised_by_the_whole_rows_mean():
    """Each rank holds half of q's and k's rows; the mean of both ranks' means is the whole rows'."""
    qk, weights = spread(1, 8, 128), (spread(64, seed=1), spread(64, seed=2))
    table = rope_cos_sin(rope_table(16, 6, 1, 2, 4, torch.device("cpu")))
    whole_keys = torch.zeros(1, 8, 4, 16, dtype=qk.dtype)
    whole = qk_norm_rope_(qk, None, *weights, *table, 1e-6, 0, whole_keys)
    q, k = qk.chunk(2, -1)
    halves = [torch.cat([q[..., part], k[..., part]], -1) for part in (slice(0, 32), slice(32, 64))]
    squares = torch.stack([fused_mean_square(half, 2) for half in halves]).mean(0)
    torch.testing.assert_close(squares, fused_mean_square(qk, 2))
    for rank, half in enumerate(halves):
        (mine_q, mine_k), heads = (weight.chunk(2)[rank] for weight in weights), slice(2 * rank, 2 * rank + 2)
        for rows, start in ((half, 0), (qk, 32 * rank)):  # what is here of a row, and what is kept of it
            keys = torch.zeros(1, 8, 2, 16, dtype=qk.dtype)
            torch.testing.assert_close(
                qk_norm_rope_(rows, squares, mine_q, mine_k, *table, 1e-6, start, keys), whole[:, :, heads]
            )
            torch.testing.assert_close(keys, whole_keys[:, :, heads])


def test_a_linear_layer_in_8_bits_is_near_the_wide_one():
    layer = nn.Linear(256, 128).bfloat16().requires_grad_(False)
    x = torch.randn(1, 32, 256, generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted = layer(torch.nn.functional.gelu(x, approximate="tanh")).float()
    found = nn.Sequential(QuantizeRowwise(True), Fp8Linear(layer.weight, layer.bias))(x).float()
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < 0.05


def test_a_block_in_8_bits_keeps_no_wide_copy_of_its_weights():
    block = make_model().bfloat16().block_list()[0]
    text = {p.data_ptr() for layer in (block.cross_attn.k, block.cross_attn.v) for p in layer.parameters()}
    fuse_block(block, EagerOps())
    quantize_block(block)
    wide = [p for p in block.parameters() if p.dim() == 2 and p.dtype == torch.bfloat16]
    assert all(p.data_ptr() in text for p in wide)


class Alone:
    """One of two ranks whose peer has nothing to add."""

    rank, degree = 0, 2

    def all_reduce(self, tensor):
        return tensor

    def all_to_all(self, send, receive):
        raise AssertionError("tensor parallelism exchanges nothing")


def test_a_ranks_part_in_8_bits_is_near_its_wide_part():
    layer = nn.Linear(256, 128).bfloat16().requires_grad_(False)
    part = RowParallelLinear(layer.weight[:, :128].contiguous(), layer.bias, Alone())
    x = torch.randn(1, 32, 128, generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted, found = part(x).float(), quantize_linear(part)(x).float()
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < 0.05
