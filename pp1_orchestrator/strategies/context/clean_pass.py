"""After each chunk one pass at t = 0 over its clean latents writes their keys and values (Self-Forcing, LongLive).

The pass runs when the result is already on its way, so it overlaps with decoding.
"""

from __future__ import annotations

from pp1_orchestrator.strategies.context.base import ContextPlan


class CleanPass:
    """context=clean_pass."""

    def plan(self, start_frame: int) -> ContextPlan:
        return ContextPlan(recompute=False, clean_pass=True)
