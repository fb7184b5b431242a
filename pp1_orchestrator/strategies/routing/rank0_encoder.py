"""Rank 0 encodes and blends; the embedding travels, and only when it changed. The mesh never waits for text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pp1_orchestrator.contract import Result
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.models.text.cached import PromptEncoder
from pp1_orchestrator.models.text.mixing import RecipeMixer
from pp1_orchestrator.strategies.routing.base import EncoderHome, Payload


class Rank0Encoder:
    """routing=rank0_encoder."""

    home: ClassVar[EncoderHome] = "rank0"

    def __init__(self, encoder: PromptEncoder | None) -> None:
        assert encoder is not None
        self._encoder = encoder
        self._mixer = RecipeMixer(encoder.encode)

    def prepare(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._encoder.encode(text)

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        return Payload({CONDITIONING: self._mixer.apply(recipe, epoch)})

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        """Nothing comes back."""

    def forget(self) -> None:
        """Nothing is to come."""
