"""Strings travel when a prompt is seen for the first time; the leader encodes it once and sends the embedding back.

From then on rank 0 blends from its cache and sends the tensor: no prompt holds the mesh up twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from pp1_orchestrator.contract import Result
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.contract.result import TEXT_EMBEDS
from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.models.text.cached import EmbeddingCache, PromptEncoder
from pp1_orchestrator.models.text.mixing import RecipeMixer
from pp1_orchestrator.strategies.routing.base import EncoderHome, Payload


class HybridCache:
    """routing=hybrid_cache.

    Rank 0 follows every recipe too, as soon as it knows the prompts' embeddings, so that a transition can start from
    a blend that the mesh made.
    """

    home: ClassVar[EncoderHome] = "leader"

    def __init__(self, encoder: PromptEncoder | None) -> None:
        assert encoder is None
        self._known = EmbeddingCache()
        self._mixer = RecipeMixer(self._recall)
        self._open: deque[tuple[TextRecipe, int]] = deque()

    def prepare(self, texts: Sequence[str]) -> None:
        """Rank 0 has nothing to do."""

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        self._open.append((recipe, epoch))
        made = self._catch_up()
        if made is None:
            return Payload(recipe=recipe, return_embeds=True)
        return Payload({CONDITIONING: made})

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        embeds = result.tensors.get(TEXT_EMBEDS)
        if embeds is not None:
            for text, own in zip(recipe.texts, embeds.split(1), strict=True):
                self._known.put(text, own.clone())

    def forget(self) -> None:
        """Recipes whose embeddings will not come are not waited for; the ones that came are as good as ever."""
        self._open.clear()

    def _catch_up(self) -> Tensor | None:
        """Follow the open recipes as far as their prompts are known; the newest one's embedding if it came so far."""
        made = None
        while self._open and all(self._known.get(text) is not None for text in self._open[0][0].texts):
            made = self._mixer.apply(*self._open.popleft())
        return None if self._open else made

    def _recall(self, text: str) -> Tensor:
        found = self._known.get(text)
        assert found is not None
        return found
