"""Rank 0's side of the VAE from settings. Only rank 0 pays for importing it."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.compiled import compile_decoder
from pp1_orchestrator.models.vae.load import load_vae, make_decoder, make_frame_encoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.checkpoint import DTYPES, Components, as_config_error
from pp1_orchestrator.runtime.slow import SlowDecoder, SlowFrameEncoder


def load_vae_parts(
    settings: Settings, config: WanConfig, device: torch.device, with_encoder: bool
) -> tuple[StreamingDecoder, FrameEncode | None, Components]:
    """The decoder, the one-frame encoder if the context needs one, and their bytes.

    Raises ConfigError for a bad checkpoint.
    """
    random, debug = settings.model.weights == "random", settings.debug
    with as_config_error(settings):
        vae = load_vae(settings.model.folder / "vae", device, DTYPES[settings.model.dtype], random)
        decoder: StreamingDecoder = make_decoder(vae)
        encoder: FrameEncode | None = make_frame_encoder(vae) if with_encoder else None
    if settings.layout.compile and device.type != "cpu":
        size = latent_size(settings.stream.height, settings.stream.width)
        compile_decoder(decoder, config.chunk_frames, size, in_parts=with_encoder)
    parts = {"vae": decoder.weight_bytes}
    if encoder is not None:
        parts["vae_encoder"] = encoder.weight_bytes
    if debug.decode_s:
        decoder = SlowDecoder(decoder, debug.decode_s / config.chunk_frames)
    if encoder is not None and debug.encode_s:
        encoder = SlowFrameEncoder(encoder, debug.encode_s)
    return decoder, encoder, parts
