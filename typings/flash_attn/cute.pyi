"""What we use of FlashAttention-4, the extra "flash"."""

from typing import Literal

from torch import Tensor

def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, *, return_lse: Literal[True]) -> tuple[Tensor, Tensor]: ...
