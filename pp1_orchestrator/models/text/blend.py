"""Mixes prompt embeddings: blends of several prompts, and transitions from one conditioning to another.

Tensor maths is in float32, or wider if the embeddings are; results have the embeddings' dtype. Both rank 0 and the
leader use it. Knows nothing of encoders, of chunks or of when a transition runs.
Shapes: N prompts, L tokens, D channels.
Spherical interpolation: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.contract.text_recipe import BlendMethod, TextRecipe
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.typed_torch import vector_norm

# Below this sine, the arc is a straight line to float32 precision, or its plane is undefined (antiparallel tokens).
_MIN_SINE = 1e-3


def blend(embeds: Tensor, weights: Sequence[float], method: BlendMethod) -> Tensor:
    """Blends embeds [N, L, D] with N weights into [1, L, D].

    Only the proportions of the weights matter; all zero means equal. A prompt with all the weight stays bit for bit.

    "linear" is the weighted sum, scaled to the weighted mean of the prompts' norms (of whole tensors), because a sum of
    unlike embeddings is shorter than they are. "slerp" interpolates between two prompts token by token.
    Raises ValueError for a negative or infinite weight, a wrong number of weights, and slerp of more than two prompts.
    """
    shares = _shares(weights, len(embeds))
    if method == "slerp" and len(embeds) > 2:
        raise ValueError(f"slerp blends two prompts, not {len(embeds)}")
    if 1.0 in shares:
        only = shares.index(1.0)
        return embeds[only : only + 1]
    wide = _upcast(embeds)
    mixed = _slerp(wide[:1], wide[1:], shares[1]) if method == "slerp" else _weighted_sum(wide, shares)
    return mixed.to(embeds.dtype)


def interpolate(source: Tensor, target: Tensor, fraction: float, method: BlendMethod) -> Tensor:
    """Interpolates from source to target, both [1, L, D]. Fractions 0 and 1 give the ends bit for bit.

    "linear" is a straight line, without correcting the norm. "slerp" rotates the direction of each token and
    interpolates its norm linearly. The distance to the target then falls all the way if the two tokens are at most a
    right angle apart or equally long.
    Raises ValueError when fraction is not in 0…1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in 0…1, not {fraction}")
    if fraction in (0, 1):
        return target if fraction else source
    start, end = _upcast(source), _upcast(target)
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
    parts = [w / largest for w in weights]  # keeps the sum of huge weights finite
    total = math.fsum(parts)
    return [part / total for part in parts]


def _upcast(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _weighted_sum(embeds: Tensor, shares: Sequence[float]) -> Tensor:
    weights = torch.tensor(shares, dtype=embeds.dtype, device=embeds.device)
    mixed = torch.einsum("n,nld->ld", weights, embeds)[None]
    norm = vector_norm(mixed)
    wanted = torch.dot(weights, vector_norm(embeds, dim=(1, 2)))
    return torch.where(norm > 0, mixed * (wanted / norm), mixed)


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Slerp of the directions times lerp of the norms, for each token; plain lerp where slerp is undefined.

    The angle comes from the sum and difference of the directions, because acos is inexact for small angles in float32.
    """
    norm_a, norm_b = (vector_norm(x, dim=-1, keepdim=True) for x in (a, b))
    unit_a, unit_b = a / norm_a, b / norm_b
    apart, together = (vector_norm(x, dim=-1, keepdim=True) for x in (unit_a - unit_b, unit_a + unit_b))
    angle = 2 * torch.atan2(apart, together)
    sine = torch.sin(angle)
    direction = (torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b) / sine
    curved = sine > _MIN_SINE  # false for a zero token, whose sine is NaN
    return torch.where(curved, direction * torch.lerp(norm_a, norm_b, t), torch.lerp(a, b, t))


class RecipeMixer:
    """Makes conditionings from recipes, in the order of their epochs. Not thread-safe.

    `lookup` returns a prompt's embedding [1, L, D]. The mixer keeps the last conditioning, which can be the source of a
    transition, and the source of a running transition.
    """

    def __init__(self, lookup: Callable[[str], Tensor]) -> None:
        self._lookup = lookup
        self._last: tuple[int, Tensor] | None = None
        self._source: tuple[int, Tensor] | None = None

    @torch.inference_mode()
    def apply(self, recipe: TextRecipe, epoch: int) -> Tensor:
        """Returns the conditioning of `epoch`, [1, L, D]. Raises ContractError for an unknown source."""
        embeds = torch.cat([self._lookup(text) for text in recipe.texts])
        mixed = blend(embeds, recipe.weights, recipe.blend)
        if recipe.source_epoch is not None:
            mixed = interpolate(self._find(recipe.source_epoch), mixed, recipe.fraction, recipe.method)
        self._last = (epoch, mixed)
        return mixed

    def adopt(self, epoch: int, embeds: Tensor) -> None:
        """Sets a conditioning that was made elsewhere as the last one."""
        self._last = (epoch, embeds)

    def _find(self, epoch: int) -> Tensor:
        if self._last is not None and self._last[0] == epoch:
            self._source = self._last
        if self._source is None or self._source[0] != epoch:
            raise ContractError(f"a transition starts from conditioning {epoch}, which is not known here")
        return self._source[1]
