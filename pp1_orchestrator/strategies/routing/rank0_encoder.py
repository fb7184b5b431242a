"""Rank 0 encodes; the embedding travels, and only when it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.strategies.routing.base import Conditioning


class Encoder(Protocol):
    """What is needed of a text encoder (`models.text.encoder.TextEncoder`)."""

    def encode(self, prompts: Sequence[str]) -> Tensor: ...


class Rank0Encoder:
    """routing=rank0_encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def prepare(self, prompt: str) -> Conditioning:
        return Conditioning(prompt, self._encoder.encode([prompt]))

    def payload(self, conditioning: Conditioning) -> Mapping[str, Tensor]:
        assert conditioning.embeds is not None
        return {CONDITIONING: conditioning.embeds}
