"""The parallel forward gives what diffusers' own chunk-by-chunk forward gives."""

from typing import Any

import pytest
import torch

from training.vae_forward import ClipVae, make_vae


@pytest.fixture(scope="module")
def clips() -> ClipVae:
    torch.manual_seed(0)
    return ClipVae(make_vae(base_dim=4).eval())


def diffusers_vae(clips: ClipVae) -> Any:
    """Without diffusers' types, which do not know what `encode` and `decode` return by default."""
    return clips.vae


def test_encode_matches_diffusers(clips: ClipVae) -> None:
    frames = torch.rand(1, 9, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        mean, log_variance = clips.encode(frames)
        wanted = diffusers_vae(clips).encode(frames.transpose(1, 2)).latent_dist
    torch.testing.assert_close(mean, wanted.mean.transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_variance, wanted.logvar.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_decode_matches_diffusers(clips: ClipVae) -> None:
    latents = torch.randn(1, 3, 16, 4, 4)
    with torch.no_grad():
        frames = clips.decode(latents).clamp(-1, 1)
        wanted = diffusers_vae(clips).decode(latents.transpose(1, 2)).sample
    torch.testing.assert_close(frames, wanted.transpose(1, 2), rtol=1e-4, atol=1e-4)
