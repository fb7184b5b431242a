"""The prompts travel as strings; the leader encodes and blends, on the mesh's critical path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pp1_orchestrator.contract import Result
from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.models.text.cached import PromptEncoder
from pp1_orchestrator.strategies.routing.base import EncoderHome, Payload


class MeshEncoder:
    """routing=mesh_encoder."""

    home: ClassVar[EncoderHome] = "leader"

    def __init__(self, encoder: PromptEncoder | None) -> None:
        assert encoder is None

    def prepare(self, texts: Sequence[str]) -> None:
        """Rank 0 has nothing to do."""

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        return Payload(recipe=recipe)

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        """Nothing comes back."""

    def forget(self) -> None:
        """Every recipe travels whole."""
