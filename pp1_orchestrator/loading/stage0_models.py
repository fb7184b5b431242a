"""Rank 0's side of the VAE from settings. Only rank 0 pays for importing it.

The text encoder from settings, for whichever rank holds it. Imported by that rank alone: it is slow to import.
"""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.loading.checkpoint import COMPONENT_DTYPES, Components, as_config_error, check_part
from pp1_orchestrator.loading.sources import text_device, text_source, vae_source
from pp1_orchestrator.models.text.load_text_encoder import check_text_encoder, load_text_encoder
from pp1_orchestrator.models.text.tokenizer import PromptLimit, prompt_limit
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.load_vae import compile_decoder
from pp1_orchestrator.models.vae.vae_registry import VAES
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.testing.faults import with_stage0_fault
from pp1_orchestrator.testing.wrappers import delayed


def check_vae(settings: Settings, with_encoder: bool) -> None:
    """What can be known of the decoder's weights before a device is touched. Raises ConfigError."""
    source = vae_source(settings)
    if not source.random:
        with as_config_error(settings):
            VAES[settings.stage0.name].check(source, with_encoder)
            check_part(source.where, settings)


def load_vae_parts(
    settings: Settings, config: WanConfig, device: torch.device, with_encoder: bool
) -> tuple[StreamingDecoder, FrameEncode | None, Components]:
    """The decoder, the one-frame encoder if the context needs one, and their bytes.

    Raises ConfigError for a bad checkpoint.
    """
    debug = settings.debug
    with as_config_error(settings):
        kind, dtype = VAES[settings.stage0.name], COMPONENT_DTYPES[settings.model.dtype]
        loaded = kind.load(vae_source(settings), device, dtype, with_encoder)
    decoder, encoder = loaded.decoder, loaded.frame_encoder
    if settings.layout.compile and device.type != "cpu":
        size = latent_size(settings.stream.height, settings.stream.width)
        compile_decoder(decoder, config.chunk_frames, size, in_parts=with_encoder)
    parts = {"vae": decoder.weight_bytes}
    if encoder is not None:
        parts["vae_encoder"] = encoder.weight_bytes
    if debug.decode_s:
        decoder = delayed(decoder, "decode", lambda latents, _: debug.decode_s * len(latents) / config.chunk_frames)
    if encoder is not None and debug.encode_s:
        encoder = delayed(encoder, "encode", lambda _: debug.encode_s)
    return with_stage0_fault(decoder, settings), encoder, parts


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
            COMPONENT_DTYPES[settings.model.dtype],
            result=result,
        )
        if encoder.embed_shape[-1] != config.text_dim:
            raise ValueError(f"embeddings are {encoder.embed_shape[-1]} wide; the generator takes {config.text_dim}")
    return CachedEncoder(encoder), encoder.weight_bytes
