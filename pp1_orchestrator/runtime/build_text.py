"""The text encoder from settings, for whichever rank holds it. Imported by that rank alone: it is slow to import."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.text_source import text_device, text_source
from pp1_orchestrator.models.text.cached import CachedEncoder
from pp1_orchestrator.models.text.load import check_text_encoder, load_text_encoder
from pp1_orchestrator.models.text.token_limit import PromptLimit, prompt_limit
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.checkpoint import DTYPES, as_config_error, check_part


def check_encoder(settings: Settings) -> None:
    """What can be known of the encoder's weights before a device is touched. Raises ConfigError."""
    source = text_source(settings)
    if source.seed is None:
        with as_config_error(settings):
            check_text_encoder(source)
            check_part(source.weights, settings)


def make_prompt_limit(settings: Settings, config: WanConfig) -> PromptLimit:
    """Which prompts are too long, wherever they are encoded. Raises ConfigError without a tokenizer."""
    source = text_source(settings)
    with as_config_error(settings):
        return prompt_limit(source.tokenizer, source.seed is not None, config.text_len)


def load_encoder(
    settings: Settings, config: WanConfig, device: torch.device, result: torch.device
) -> tuple[CachedEncoder, int]:
    """The encoder and its weights' bytes; embeddings come on `result`. Raises ConfigError for a bad checkpoint."""
    with as_config_error(settings):
        encoder = load_text_encoder(
            text_source(settings),
            config.text_len,
            text_device(settings, device),
            DTYPES[settings.model.dtype],
            result=result,
        )
        if encoder.embed_shape[-1] != config.text_dim:
            raise ValueError(f"embeddings are {encoder.embed_shape[-1]} wide; the generator takes {config.text_dim}")
    return CachedEncoder(encoder), encoder.weight_bytes
