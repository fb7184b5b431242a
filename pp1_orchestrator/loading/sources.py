"""Where the text encoder's weights come from and where it computes, of settings. Opens nothing.

Where the decoder's weights come from, of settings. Opens nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.text.load_text_encoder import TextSizes, TextSource
from pp1_orchestrator.models.vae.vae_registry import VaeSource


def text_source(settings: Settings) -> TextSource:
    """Of the text encoder."""
    model, chosen = settings.model, settings.text_encoder
    sizes = TextSizes(**msgspec.structs.asdict(chosen.sizes))
    seed = settings.seed if model.weights == "random" else None
    return TextSource(model.part("text_encoder"), model.part("tokenizer"), sizes, seed, chosen.int8)


def text_device(settings: Settings, device: torch.device) -> torch.device:
    """Where the encoder computes, on a rank that has its other models on `device`."""
    return device if settings.text_encoder.device == "same" else torch.device(settings.text_encoder.device)


def vae_source(settings: Settings) -> VaeSource:
    """Of the decoder that was chosen."""
    model, stage0 = settings.model, settings.stage0
    where = model.part("vae") if stage0.file is None else model.folder / Path(stage0.file).expanduser()
    return VaeSource(where, stage0.widths, model.weights == "random", settings.seed)
