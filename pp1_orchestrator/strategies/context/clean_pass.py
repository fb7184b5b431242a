"""After each chunk one pass at t = 0 over its clean latents writes their keys and values (Self-Forcing, LongLive).

The pass runs when the result is already on its way, so it overlaps with decoding.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from pp1_orchestrator.strategies.context.base import History


class CleanPass:
    """context=clean_pass."""

    clean_pass: ClassVar[bool] = True
    rebuilds: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = False

    def frames(self, history: History) -> Tensor | None:
        return None
