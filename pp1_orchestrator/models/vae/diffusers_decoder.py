"""Streaming decode with diffusers' own decoder, by passing its causal cache in and out.

Exact for any AutoencoderKLWan on any device. `wan_decoder.py` is faster for Wan2.1's blocks.
"""

from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    AutoencoderKLWan,
    unpatchify,  # pyright: ignore[reportUnknownVariableType]
)
from torch import Tensor

from pp1_orchestrator.models.vae.base import DecodeState


class DiffusersDecoder:
    """Decodes latent frame by latent frame, as diffusers' `decode` does."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self._vae: Any = vae
        config: Any = vae.config
        weight = next(vae.parameters())
        shape = (1, -1, 1, 1, 1)
        self._patch = config.patch_size
        self._mean = torch.tensor(config.latents_mean, dtype=weight.dtype, device=weight.device).view(shape)
        self._std = torch.tensor(config.latents_std, dtype=weight.dtype, device=weight.device).view(shape)

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self._vae.parameters())

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        if not state.entries:
            state.entries = [None] * self._vae._cached_conv_counts["decoder"]
        z = latents.to(self._mean.device, self._mean.dtype).transpose(0, 1)[None]
        z = self._vae.post_quant_conv(z * self._std + self._mean)
        frames: list[Tensor] = []
        for index in range(z.shape[2]):
            first, state.started = not state.started, True
            frame = z[:, :, index : index + 1]
            frames.append(self._vae.decoder(frame, feat_cache=state.entries, feat_idx=[0], first_chunk=first))
        pixels = torch.cat(frames, dim=2)
        if self._patch is not None:
            pixels = cast(Tensor, unpatchify(pixels, patch_size=self._patch))
        return pixels[0].transpose(0, 1).float().clamp_(-1, 1)
