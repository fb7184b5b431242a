"""Three-dimensional rotary positions of Wan (time, height, width), for any frame index.

A table is made for each chunk, in float64, so that an endless stream never runs out of positions: only differences of
positions reach attention. Source: RoPE, arXiv:2104.09864; axis split as in Wan2.1's `rope_params`.
"""

import torch
from torch import Tensor

RopeTable = Tensor
"""[S, 1, D/2] complex64: the turn of each pair at each token."""
RopeCosSin = tuple[Tensor, Tensor]
"""A `RopeTable` without complex numbers, which compilers and kernels can't take apart: [S, 1, D] float32 each. The
cosine of each pair twice, and its sine with the sign that each of the two takes."""
Rope = RopeTable | RopeCosSin
THETA = 10000.0


def _angles(positions: Tensor, pairs: int) -> Tensor:
    """[n] positions -> [n, pairs] angles, float64."""
    exponent = torch.arange(0, 2 * pairs, 2, dtype=torch.float64, device=positions.device) / (2 * pairs)
    return positions.double()[:, None] * THETA**-exponent


def rope_table(
    head_dim: int, start: int, frames: int, height: int, width: int, device: torch.device | str = "cpu"
) -> RopeTable:
    """For latent frames start … start + frames − 1, so S = frames·height·width. height and width count tokens."""
    pairs = head_dim // 2
    axis_pairs = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    time = _angles(torch.arange(start, start + frames, device=device), axis_pairs[0])
    row = _angles(torch.arange(height, device=device), axis_pairs[1])
    column = _angles(torch.arange(width, device=device), axis_pairs[2])
    grid = (frames, height, width, -1)
    angles = torch.cat(
        [
            time.view(frames, 1, 1, -1).expand(grid),
            row.view(1, height, 1, -1).expand(grid),
            column.view(1, 1, width, -1).expand(grid),
        ],
        dim=-1,
    ).reshape(frames * height * width, 1, pairs)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def time_shift(head_dim: int, frames: int, device: torch.device | str = "cpu") -> RopeTable:
    """[1, 1, D/2]: what moves a rotated token `frames` latent frames further in time, and leaves its place."""
    pairs = head_dim // 2
    angles = torch.zeros(1, 1, pairs, dtype=torch.float64, device=device)
    in_time = pairs - 2 * (pairs // 3)
    angles[..., :in_time] = _angles(torch.tensor([frames], device=device), in_time)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x: Tensor, table: RopeTable) -> Tensor:
    """Rotate interleaved pairs of x [..., S, H, D] by the table's angles, in float32 -> x's type."""
    pairs = torch.view_as_complex(torch.unflatten(x.float(), -1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)


def rope_cos_sin(table: RopeTable) -> RopeCosSin:
    """The table as real numbers."""
    cos, sin = table.real, table.imag
    return cos.repeat_interleave(2, -1), torch.stack([-sin, sin], -1).flatten(-2)


def rope_complex(table: RopeCosSin) -> RopeTable:
    """The inverse of `rope_cos_sin`."""
    return torch.complex(table[0][..., ::2], table[1][..., 1::2])
