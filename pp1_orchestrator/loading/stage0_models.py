"""Loads rank 0's models from settings: VAE, text encoder and prompt limit.

The leader loads its text encoder here, too. Other ranks do not import this module, because its libraries load slowly.
"""

import contextlib
import logging
import time
from collections.abc import Generator

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.loading.checkpoint import COMPONENT_DTYPES, Components, as_config_error, check_part
from pp1_orchestrator.loading.sources import text_device, text_source, vae_source
from pp1_orchestrator.models.text.load_text_encoder import check_text_encoder, load_text_encoder
from pp1_orchestrator.models.text.prompt_guide import read_prompt_guide
from pp1_orchestrator.models.text.tokenizer import PromptLimit
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.models.vae.base import FrameEncoder, StreamingDecoder, StreamingEncoder
from pp1_orchestrator.models.vae.load_vae import VaeLoader, compile_decoder, compile_encoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.progress import progress
from pp1_orchestrator.testing.faults import with_stage0_fault
from pp1_orchestrator.testing.wrappers import delayed
from pp1_orchestrator.types import PromptGuide

log = logging.getLogger(__name__)


class LoadPhases:
    """How long each part of rank 0 took to load, and the bytes of its components, in the order of loading."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.components: Components = {}

    @contextlib.contextmanager
    def phase(self, name: str, device: torch.device) -> Generator[Components]:
        """Times one part. The caller adds the bytes of its components to the dictionary that this yields."""
        start, parts = time.monotonic(), Components()
        with progress(f"{name}: loading"):
            yield parts
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds[name] = time.monotonic() - start
        self.components |= parts
        sizes = ", ".join(f"{component} {nbytes / 1e6:.1f} MB" for component, nbytes in parts.items())
        log.info("%s: loaded in %.1f s (%s)", name, self.seconds[name], sizes)


def check_stage0_models(settings: Settings, loader: VaeLoader, with_encoder: bool) -> None:
    """Checks the files of the VAE and of the text encoder without using a device. Raises ConfigError."""
    if settings.model.weights == "random":
        return
    vae, text = vae_source(settings), text_source(settings)
    with as_config_error(settings):
        loader.check(vae, with_encoder)
        check_part(vae.path, settings)
        check_text_encoder(text)
        check_part(text.weights, settings)


def load_vae_parts(
    settings: Settings, config: WanConfig, loader: VaeLoader, device: torch.device, with_encoder: bool
) -> tuple[StreamingDecoder, FrameEncoder | None, Components]:
    """Loads the decoder, and the frame encoder if the context needs it. Raises ConfigError for a bad checkpoint."""
    debug = settings.debug
    with as_config_error(settings):
        loaded = loader.load(vae_source(settings), device, COMPONENT_DTYPES[settings.model.dtype], with_encoder)
    decoder, encoder = loaded.decoder, loaded.frame_encoder
    if settings.layout.compile and device.type != "cpu":
        size = latent_size(settings.stream.height, settings.stream.width)
        with progress("compiling the decoder"):
            compile_decoder(decoder, config.chunk_frames, size, in_parts=with_encoder)
    parts = {"vae": decoder.weight_bytes}
    if encoder is not None:
        parts["vae_encoder"] = encoder.weight_bytes
    if debug.decode_s:
        decode_s = debug.decode_s / config.chunk_frames
        decoder = delayed(decoder, "decode", lambda latents: decode_s * len(latents))
    if encoder is not None and debug.encode_s:
        encoder = delayed(encoder, "encode", lambda _: debug.encode_s)
    return with_stage0_fault(decoder, settings), encoder, parts


def load_input_encoder(
    settings: Settings, config: WanConfig, loader: VaeLoader, device: torch.device
) -> tuple[StreamingEncoder, int]:
    """Loads what encodes an input, with the bytes of its weights. Raises ConfigError for a VAE that has none."""
    with as_config_error(settings):
        encoder = loader.load_encoder(vae_source(settings), device, COMPONENT_DTYPES[settings.model.dtype])
    if settings.layout.compile and device.type != "cpu":
        with progress("compiling the encoder"):
            compile_encoder(encoder, config.chunk_frames, (settings.stream.height, settings.stream.width))
    weight_bytes, encode_s = encoder.weight_bytes, settings.debug.encode_s
    return delayed(encoder, "encode", lambda _: encode_s) if encode_s else encoder, weight_bytes


def make_prompt_limit(settings: Settings, config: WanConfig) -> PromptLimit:
    """Tells which prompts are too long for the text encoder. Raises ConfigError without a tokenizer."""
    source = text_source(settings)
    with as_config_error(settings):
        return PromptLimit(source.tokenizer, source.seed is not None, config.text_len)


def load_prompt_guide(settings: Settings) -> PromptGuide:
    """What the model's files say that it understands. Raises ConfigError for a file of another form."""
    if settings.model.weights == "random":
        return PromptGuide()
    with as_config_error(settings):
        return read_prompt_guide(settings.model.folder)


def load_encoder(
    settings: Settings, config: WanConfig, device: torch.device, result: torch.device
) -> tuple[CachedEncoder, int]:
    """Loads the text encoder and returns it with the bytes of its weights. Raises ConfigError for a bad checkpoint.

    `device` is that of the rank's other models, `result` that of the embeddings.
    """
    where, dtype = text_device(settings, device), COMPONENT_DTYPES[settings.model.dtype]
    with as_config_error(settings):
        encoder = load_text_encoder(text_source(settings), config.text_len, where, dtype, result)
        if encoder.embed_shape[-1] != config.text_dim:
            raise ValueError(f"embeddings are {encoder.embed_shape[-1]} wide; the generator takes {config.text_dim}")
    return CachedEncoder(encoder.encode), encoder.weight_bytes
