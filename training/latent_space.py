"""The VAE in the generator's training: frames to normalised latents and back, in parts of bounded size."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from pp1_orchestrator.models.vae.wan_encoder import WanEncoder
from training.common import load_weights, mixed_precision, save_weights
from training.vae_forward import VAE_CONFIG, ClipVae, make_vae

_FRAMES_AT_ONCE = 7000
_EXTRA = ("latents_mean", "latents_std")


def save_vae(path: Path, vae: AutoencoderKLWan, mean: Tensor, std: Tensor) -> None:
    """Weights and latent statistics [z] in one file."""
    save_weights(path, vae, dict(zip(_EXTRA, (mean, std), strict=True)))


def load_vae(path: Path, vae: nn.Module) -> tuple[Tensor, Tensor]:
    """Loads weights in place; returns the latents' mean and standard deviation [z]."""
    found = load_weights(path, vae, _EXTRA)
    return found[_EXTRA[0]], found[_EXTRA[1]]


class LatentSpace:
    """Frames [B, T, 3, H, W] in [-1, 1] to normalised latents [B, F, z, h, w] and back, T = 1 + 4 (F − 1).

    It starts with random weights, so that compilation need not wait for the trained ones.
    """

    def __init__(self, device: torch.device, compiled: bool) -> None:
        self.vae = make_vae(device).eval().requires_grad_(False)
        self._clips = ClipVae(self.vae, compiled)
        self._device = device
        self._mean = torch.zeros(1, 1, VAE_CONFIG["z_dim"], 1, 1, device=device)
        self._std = torch.ones_like(self._mean)

    def load(self, path: Path) -> None:
        """Loads a checkpoint's weights and statistics."""
        mean, std = load_vae(path, self.vae)
        self._mean = mean.to(self._device).view_as(self._mean)
        self._std = std.to(self._device).view_as(self._std)

    def streaming_encoder(self) -> WanEncoder:
        """The encoder that the program uses, with the same weights and statistics. For one stream at a time."""
        mean, std = (statistic.flatten().tolist() for statistic in (self._mean, self._std))
        self.vae.register_to_config(latents_mean=mean, latents_std=std)
        return WanEncoder(self.vae).eval()

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """The normalised mean of the posterior, float32."""
        with mixed_precision(self._device):
            means = [self._clips.encode(part)[0] for part in frames.split(self._rows(frames.shape[1]))]
        return (torch.cat(means).float() - self._mean) / self._std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Frames, clamped to [-1, 1], float32."""
        raw = latents.float() * self._std + self._mean
        with mixed_precision(self._device):
            parts = [self._clips.decode(part) for part in raw.split(self._rows(4 * raw.shape[1] - 3))]
        return torch.cat(parts).float().clamp(-1, 1)

    @staticmethod
    def _rows(frames: int) -> int:
        return max(1, _FRAMES_AT_ONCE // frames)
