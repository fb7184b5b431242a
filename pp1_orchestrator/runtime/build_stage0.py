"""Rank 0's models from settings. Only rank 0 pays for importing them."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.text.encoder import TextEncoder, load_text_encoder
from pp1_orchestrator.models.vae.base import StreamingDecoder
from pp1_orchestrator.models.vae.load import load_vae, make_decoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.checkpoint import DTYPES, as_config_error


def load_decoder(settings: Settings, device: torch.device) -> StreamingDecoder:
    """Raises ConfigError for a bad checkpoint."""
    random = settings.model.weights == "random"
    with as_config_error(settings):
        return make_decoder(load_vae(settings.model.folder / "vae", device, DTYPES[settings.model.dtype], random))


def load_encoder(settings: Settings, config: WanConfig, device: torch.device) -> TextEncoder:
    """Raises ConfigError for a bad checkpoint."""
    folder, random = settings.model.folder, settings.model.weights == "random"
    with as_config_error(settings):
        return load_text_encoder(
            folder / "text_encoder",
            folder / "tokenizer",
            config.text_len,
            device,
            DTYPES[settings.model.dtype],
            random,
        )
