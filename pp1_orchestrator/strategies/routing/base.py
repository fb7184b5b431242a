"""What a routing strategy offers to prompts and planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the generator is told to show. embeds: [1, L, text_dim] where rank 0 has it."""

    prompt: str
    embeds: Tensor | None


class Routing(Protocol):
    """Where a prompt becomes an embedding."""

    def prepare(self, prompt: str) -> Conditioning:
        """Rank 0's work on a new prompt. May take long; never runs on the stage's thread of a live stream."""
        ...

    def payload(self, conditioning: Conditioning) -> Mapping[str, Tensor]:
        """The envelope's tensors for a conditioning that the mesh does not have yet."""
        ...
