"""Mixes prompt embeddings: several prompts by weight, or two on the way from one to the other.

Pure tensor maths in float32 (or wider, when the embeddings are); results have the embeddings' own dtype. Knows nothing
of prompts, of chunks or of when a transition runs. Shapes: N prompts, L tokens, D channels.
Spherical interpolation: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.

From recipes to embeddings: blends of prompts, and transitions that start from wherever the conditioning is.

The same on every rank that may own the text: rank 0 or the leader. Knows nothing of who encodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.errors import ContractError

Method = Literal["linear", "slerp"]

# Below this sine the arc between two tokens is a straight line to float32 precision, or (antiparallel) has no plane.
_FLAT = 1e-3


def blend(embeds: Tensor, weights: Sequence[float], method: Method) -> Tensor:
    """embeds [N, L, D] with N weights -> [1, L, D].

    Only the weights' proportions count; all zero means equal. A prompt that has all the weight comes back bit for bit.
    Linear: the weighted sum, brought to the weighted mean of the prompts' norms (of the whole tensors), since a sum of
    unlike embeddings is shorter than they are. Slerp: the second prompt's share of the way, token by token.
    Raises ValueError for a negative or infinite weight, a wrong number of weights, and slerp of more than two prompts.
    """
    shares = _shares(weights, len(embeds))
    if method == "slerp" and len(embeds) > 2:
        raise ValueError(f"slerp blends two prompts, not {len(embeds)}")
    if 1.0 in shares:
        only = shares.index(1.0)
        return embeds[only : only + 1]
    wide = _wide(embeds)
    mixed = _slerp(wide[:1], wide[1:], shares[1]) if method == "slerp" else _weighted_sum(wide, shares)
    return mixed.to(embeds.dtype)


def interpolate(source: Tensor, target: Tensor, fraction: float, method: Method) -> Tensor:
    """The point at `fraction` of the way from source to target, all [1, L, D]; 0 and 1 give the ends bit for bit.

    Linear is the straight line, without a norm fix. Slerp turns each token's direction along the arc while its norm
    goes straight from one to the other, so the path is continuous and arrives. On it the distance to the target falls
    all the way when the two tokens are at most a right angle apart or equally long.
    Raises ValueError when fraction is not in 0…1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of the way is in 0…1, not {fraction}")
    if fraction in (0, 1):
        return target if fraction else source
    start, end = _wide(source), _wide(target)
    mixed = _slerp(start, end, fraction) if method == "slerp" else torch.lerp(start, end, fraction)
    return mixed.to(source.dtype)


def _shares(weights: Sequence[float], count: int) -> list[float]:
    """Weights that sum to one."""
    if not count or len(weights) != count:
        raise ValueError(f"{len(weights)} weights for {count} prompts")
    if not all(math.isfinite(w) and w >= 0 for w in weights):
        raise ValueError(f"prompt weights must be finite and not negative: {list(weights)}")
    largest = max(weights)
    if largest == 0:
        return [1 / count] * count
    parts = [w / largest for w in weights]  # first, so that the sum of huge weights is finite
    total = math.fsum(parts)
    return [part / total for part in parts]


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _weighted_sum(embeds: Tensor, shares: Sequence[float]) -> Tensor:
    weights = torch.tensor(shares, dtype=embeds.dtype, device=embeds.device)
    mixed = torch.einsum("n,nld->ld", weights, embeds)[None]
    norm = torch.linalg.vector_norm(mixed)
    wanted = torch.dot(weights, torch.linalg.vector_norm(embeds, dim=(1, 2)))
    return torch.where(norm > 0, mixed * (wanted / norm), mixed)


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Token by token: slerp of the directions times lerp of the norms; plain lerp where that has no meaning.

    The angle comes from the sum and difference of the directions, because acos loses small angles in float32.
    """
    length_a, length_b = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (a, b))
    one, other = a / length_a, b / length_b
    apart, together = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (one - other, one + other))
    angle = 2 * torch.atan2(apart, together)
    sine = torch.sin(angle)
    direction = (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * other) / sine
    curved = sine > _FLAT  # never for a zero token: it has no direction, and its sine is not a number
    return torch.where(curved, direction * torch.lerp(length_a, length_b, t), torch.lerp(a, b, t))


Lookup = Callable[[str], Tensor]


class RecipeMixer:
    """Follows recipes in the order of their epochs. One thread only.

    lookup: a prompt -> [1, L, text_dim]. What was made last can be the source of a transition, and a running
    transition's source is kept until the next one begins.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._last: tuple[int, Tensor] | None = None
        self._source: tuple[int, Tensor] | None = None

    @torch.inference_mode()
    def apply(self, recipe: TextRecipe, epoch: int) -> Tensor:
        """-> [1, L, text_dim], the conditioning of `epoch`. Raises ContractError for a source that is not known."""
        embeds = torch.cat([self._lookup(text) for text in recipe.texts])
        made = blend(embeds, recipe.weights, recipe.blend)
        if recipe.source_epoch is not None:
            made = interpolate(self._find(recipe.source_epoch), made, recipe.fraction, recipe.method)
        self._last = (epoch, made)
        return made

    def adopt(self, epoch: int, embeds: Tensor) -> None:
        """Take a conditioning that was made elsewhere as the newest one."""
        self._last = (epoch, embeds)

    def _find(self, epoch: int) -> Tensor:
        if self._last is not None and self._last[0] == epoch:
            self._source = self._last
        if self._source is None or self._source[0] != epoch:
            raise ContractError(f"a transition starts from conditioning {epoch}, which is not known here")
        return self._source[1]
