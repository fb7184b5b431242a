"""What a routing strategy is: where the text encoder lives, and what an envelope carries of a new conditioning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from pp1_orchestrator.contract import Result
from pp1_orchestrator.contract.text import TextRecipe
from pp1_orchestrator.models.text.cached import PromptEncoder

EncoderHome = Literal["rank0", "leader"]


@dataclass(frozen=True, slots=True)
class Payload:
    """What an envelope carries of a conditioning that the mesh does not have: a tensor, or a recipe to make it by."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    recipe: TextRecipe | None = None
    return_embeds: bool = False


class Routing(Protocol):
    """Where a prompt becomes an embedding."""

    home: ClassVar[EncoderHome]
    """Which rank holds the text encoder."""

    def __init__(self, encoder: PromptEncoder | None) -> None:
        """encoder: where `home` is rank 0, otherwise None."""
        ...

    def prepare(self, texts: Sequence[str]) -> None:
        """Rank 0's slow work on new prompts. Never runs on the stage's thread of a live stream."""
        ...

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        """What travels for conditioning `epoch`. Called once for every change, in order, by the stage's thread."""
        ...

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        """Take what a result brought back for a recipe that was sent."""
        ...

    def forget(self) -> None:
        """Take nothing for known that is still to come from the mesh. What rank 0 has itself stays."""
        ...
