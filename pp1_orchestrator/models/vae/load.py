"""Loads an AutoencoderKLWan, picks the decoder that suits the device, and makes the frame encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
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


def make_decoder(vae: AutoencoderKLWan, device: torch.device | None = None) -> StreamingDecoder:
    """The stacked decoder on a CPU, diffusers' own elsewhere.

    device: where it is to run, if the weights are not there (those on the meta device never are).
    """
    config: Any = vae.config
    device = device or next(vae.parameters()).device
    return StackedDecoder(vae).eval() if device.type == "cpu" and not config.is_residual else ReferenceDecoder(vae)


def make_frame_encoder(vae: AutoencoderKLWan) -> FrameEncode:
    """The encoder of single pictures, the same on every device. Raises ValueError for blocks that it does not know."""
    return FrameEncoder(vae).eval()
