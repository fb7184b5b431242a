"""Where the text encoder's weights come from and where it computes, of settings. Opens nothing."""

from __future__ import annotations

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.text.load import TextSizes, TextSource


def text_source(settings: Settings) -> TextSource:
    """Of the text encoder."""
    model, chosen = settings.model, settings.text_encoder
    sizes = TextSizes(**msgspec.structs.asdict(chosen.sizes))
    seed = settings.seed if model.weights == "random" else None
    return TextSource(model.part("text_encoder"), model.part("tokenizer"), sizes, seed, chosen.int8)


def text_device(settings: Settings, device: torch.device) -> torch.device:
    """Where the encoder computes, on a rank that has its other models on `device`."""
    return device if settings.text_encoder.device == "same" else torch.device(settings.text_encoder.device)
