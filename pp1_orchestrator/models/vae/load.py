"""Loads an AutoencoderKLWan, picks its decoder and compiles it if asked to, and makes the frame encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pp1_orchestrator.models.vae.base import DecodeState, FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.encode import FrameEncoder
from pp1_orchestrator.models.vae.reference import ReferenceDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder


def load_vae(folder: Path, device: torch.device, dtype: torch.dtype, random: bool = False) -> AutoencoderKLWan:
    """The VAE of `folder`, or the same shapes with random weights. Raises OSError when files are missing."""
    kind: Any = AutoencoderKLWan
    if random:
        vae = kind.from_config(kind.load_config(str(folder))).to(dtype)
    else:
        vae = kind.from_pretrained(str(folder), torch_dtype=dtype, use_safetensors=True)
    return vae.to(device).eval().requires_grad_(False)


def make_decoder(vae: AutoencoderKLWan) -> StreamingDecoder:
    """The stacked decoder for Wan2.1's blocks, diffusers' own for others."""
    config: Any = vae.config
    return ReferenceDecoder(vae) if config.is_residual else StackedDecoder(vae).eval()


def compile_decoder(
    decoder: StreamingDecoder, frames: int, size: tuple[int, int], in_parts: bool, backend: str = "inductor"
) -> None:
    """Compile a stacked decoder and run it once in every way a stream of chunks will, so that no chunk waits for it.

    frames: latent frames a chunk; size: their height and width; in_parts: whether a chunk is decoded in two goes.
    backend: torch.compile's. Not for float32 on a CPU: oneDNN's kernels, called by name, can't be traced.
    """
    if not isinstance(decoder, StackedDecoder):
        return
    decoder.compile(dynamic=False, backend=backend)
    state = DecodeState()
    latents = decoder.mean.new_zeros((frames, decoder.mean.shape[1], *size))
    for _ in range(2):
        decoder.decode(latents, state)
    if in_parts:
        for part in (latents[:1], latents[1:]):
            decoder.decode(part, state)


def make_frame_encoder(vae: AutoencoderKLWan) -> FrameEncode:
    """The encoder of single pictures, the same on every device. Raises ValueError for blocks that it does not know."""
    return FrameEncoder(vae).eval()
