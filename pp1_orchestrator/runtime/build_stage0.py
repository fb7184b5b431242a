"""Rank 0's side of the VAE from settings. Only rank 0 pays for importing it."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.vae_source import vae_source
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.compiled import compile_decoder
from pp1_orchestrator.models.vae.kinds import VAES
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.checkpoint import DTYPES, Components, as_config_error, check_part
from pp1_orchestrator.runtime.faults import with_stage0_fault
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
        kind, dtype = VAES[settings.stage0.name], DTYPES[settings.model.dtype]
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
