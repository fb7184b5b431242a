"""From recipes to embeddings: blends of prompts, and transitions that start from wherever the conditioning is.

The same on every rank that may own the text: rank 0 or the leader. Knows nothing of who encodes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.models.text.blend import blend, interpolate

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
