"""What a context strategy tells the planner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """recompute: rebuild the cache before denoising; clean_pass: write clean keys and values after the result."""

    recompute: bool
    clean_pass: bool


class ContextPolicy(Protocol):
    """How the cache gets its history."""

    def plan(self, start_frame: int) -> ContextPlan: ...
