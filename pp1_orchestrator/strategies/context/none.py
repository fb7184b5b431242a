"""The history is what the last denoising step left behind: keys and values of input that was still a little noisy."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from pp1_orchestrator.strategies.context.base import History


class NoContext:
    """context=none."""

    clean_pass: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = False

    def frames(self, history: History) -> Tensor | None:
        return None
