"""Loads an AutoencoderKLWan and picks the decoder that suits the device."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from pp1_orchestrator.models.vae.base import StreamingDecoder
from pp1_orchestrator.models.vae.reference import ReferenceDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder


def load_vae(folder: Path, device: torch.device, dtype: torch.dtype, random: bool = False) -> AutoencoderKLWan:
    """The VAE of `folder`, or the same shapes with random weights. Raises OSError when files are missing."""
    if random:
        vae = AutoencoderKLWan.from_config(AutoencoderKLWan.load_config(str(folder))).to(dtype)
    else:
        vae = AutoencoderKLWan.from_pretrained(str(folder), torch_dtype=dtype, use_safetensors=True)
    assert isinstance(vae, AutoencoderKLWan)
    return vae.to(device).eval().requires_grad_(False)


def make_decoder(vae: AutoencoderKLWan) -> StreamingDecoder:
    """The stacked decoder on a CPU, diffusers' own elsewhere."""
    on_cpu = next(vae.parameters()).device.type == "cpu"
    return StackedDecoder(vae).eval() if on_cpu and not vae.config.is_residual else ReferenceDecoder(vae)
