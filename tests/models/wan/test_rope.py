"""Rotary positions against the complex-number formula, far beyond any table's end."""

import pytest
import torch

from pp1_orchestrator.models.wan.rope import rope_table, rotate

HEAD_DIM, FRAMES, HEIGHT, WIDTH = 32, 2, 3, 4
TOKENS = FRAMES * HEIGHT * WIDTH


def by_complex_numbers(x: torch.Tensor, start: int) -> torch.Tensor:
    """x [TOKENS, H, HEAD_DIM] float64, turned token by token. Of 16 pairs 6 turn with time, 5 with row and column."""
    out = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()).clone()
    for token in range(TOKENS):
        frame, place = divmod(token, HEIGHT * WIDTH)
        row, column = divmod(place, WIDTH)
        angles = [(start + frame) * 10000 ** (-i / 6) for i in range(6)]
        angles += [row * 10000 ** (-i / 5) for i in range(5)] + [column * 10000 ** (-i / 5) for i in range(5)]
        out[token] *= torch.exp(1j * torch.tensor(angles, dtype=torch.float64))
    return torch.view_as_real(out).flatten(-2)


@pytest.fixture
def heads():
    return torch.randn(TOKENS, 2, HEAD_DIM, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("start", [0, 3, 1021, 1026, 123_456])
def test_rotation_is_that_of_complex_numbers(heads, start):
    turned = rotate(heads, rope_table(HEAD_DIM, start, FRAMES, HEIGHT, WIDTH))
    torch.testing.assert_close(turned.double(), by_complex_numbers(heads.double(), start), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 1024, 99_999])
def test_only_differences_of_positions_reach_attention(heads, shift):
    def scores(first: int, second: int) -> torch.Tensor:
        q = rotate(heads, rope_table(HEAD_DIM, first, FRAMES, HEIGHT, WIDTH))
        k = rotate(heads.flip(0), rope_table(HEAD_DIM, second, FRAMES, HEIGHT, WIDTH))
        return torch.einsum("shd,khd->hsk", q.double(), k.double())

    torch.testing.assert_close(scores(7, 3), scores(7 + shift, 3 + shift), rtol=0, atol=1e-5)
    assert (scores(7, 3) - scores(7 + shift, 3)).abs().max() > 0.1


def test_rotation_keeps_the_type(heads):
    table = rope_table(HEAD_DIM, 5, FRAMES, HEIGHT, WIDTH)
    turned = rotate(heads.bfloat16(), table)
    assert turned.dtype is torch.bfloat16
    assert torch.equal(turned, rotate(heads.bfloat16().float(), table).bfloat16())
