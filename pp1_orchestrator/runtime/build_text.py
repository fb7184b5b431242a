"""The text encoder from settings, for whichever rank holds it. Imported by that rank alone: it is slow to import."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.text.cached import CachedEncoder
from pp1_orchestrator.models.text.encoder import load_text_encoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.checkpoint import DTYPES, as_config_error


def load_encoder(settings: Settings, config: WanConfig, device: torch.device) -> tuple[CachedEncoder, int]:
    """The encoder and its weights' bytes. Raises ConfigError for a bad checkpoint."""
    folder, random = settings.model.folder, settings.model.weights == "random"
    with as_config_error(settings):
        encoder = load_text_encoder(
            folder / "text_encoder",
            folder / "tokenizer",
            config.text_len,
            device,
            DTYPES[settings.model.dtype],
            random,
        )
    return CachedEncoder(encoder), encoder.weight_bytes
