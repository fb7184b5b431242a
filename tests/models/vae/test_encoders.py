"""The frame encoder against diffusers' own encode, and against the eye."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan

import pp1_orchestrator
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae, make_decoder
from pp1_orchestrator.models.vae.wan_encoder import WanFrameEncoder
from training import world
from training.scene_scripts import random_scene

CPU = torch.device("cpu")
SHIPPED = Path(pp1_orchestrator.__file__).parent / "models" / "tiny" / "vae"
ROUNDING = 5e-5  # of values up to about 5, through some twenty layers in float32
DRAWN_PSNR = 33.0  # decibels; the frames below measure 36.8 to 46.9


def drawn_frames(count):
    rng = random.Random(0)
    scenes = torch.tensor([random_scene(rng).ids() for _ in range(count)])
    return world.draw_clip(world.simulate(world.canonical_state(count, "cpu"), scenes[:, None]))[0][:, 0]


def wan_like(**changes) -> Any:
    """Wan2.1's layout (no patches, two residual blocks, three halvings) with few channels and random weights."""
    torch.manual_seed(0)
    kind: Any = AutoencoderKLWan
    vae = kind(base_dim=8, **changes).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if name.endswith(("gamma", "bias")):  # ones and zeros would hide a mistake
            parameter.add_(0.3 * torch.randn_like(parameter))
    return vae


def theirs(vae, frame):
    """Normalised mode of diffusers' posterior, float64."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1)
        for v in (vae.config.latents_mean, vae.config.latents_std)
    )
    with torch.no_grad():
        mode = vae.encode(frame[None, :, None].to(vae.dtype)).latent_dist.mode()
    return (mode[:, :, 0].double() - mean) / std


@pytest.fixture(scope="module", params=["shipped", "wan_like"])
def vae(request):
    return load_vae(VaeSource(SHIPPED), CPU, torch.float32) if request.param == "shipped" else wan_like()


def test_a_frame_is_encoded_as_diffusers_encodes_it(vae):
    frame = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    encoder = WanFrameEncoder(vae)
    found, own = encoder.encode(frame), theirs(vae, frame)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), own, rtol=0, atol=ROUNDING)
    exact = copy.deepcopy(vae).double()
    truth = theirs(exact, frame)
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=ROUNDING)
    in_double = WanFrameEncoder(exact).encode(frame)
    torch.testing.assert_close(in_double, truth.float(), rtol=1e-6, atol=1e-6)  # the same function, not a near one
    assert encoder.weight_bytes < sum(p.nbytes for p in vae.encoder.parameters()) / 2


def test_sixteen_bit_weights_give_a_float32_latent_nearby():
    vae = wan_like().to(torch.bfloat16)
    frame = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found, wanted = WanFrameEncoder(vae).encode(frame), theirs(vae, frame)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 0.03 * wanted.norm()


def test_a_drawn_frame_survives_encoding_and_decoding():
    vae = load_vae(VaeSource(SHIPPED), CPU, torch.float32)
    encoder, decoder = WanFrameEncoder(vae), make_decoder(vae)
    for frame in drawn_frames(16):
        again = decoder.decode(encoder.encode(frame), DecodeState())[0]
        psnr = -10 * torch.log10((again - frame).square().mean() / 4)  # values span 2
        assert psnr > DRAWN_PSNR


@pytest.mark.parametrize("kind", [make_decoder, DiffusersDecoder])
def test_encoding_in_the_middle_of_a_stream_leaves_the_stream_alone(kind):
    latents = torch.randn(6, 16, 4, 4, generator=torch.Generator().manual_seed(3))

    def pixels(encode):
        vae = load_vae(VaeSource(SHIPPED), CPU, torch.float32)
        decoder, encoder, state = kind(vae), WanFrameEncoder(vae), DecodeState()
        first = decoder.decode(latents[:3], state)
        if encode:
            encoder.encode(first[-1])
        return torch.cat([first, decoder.decode(latents[3:], state)])

    assert torch.equal(pixels(encode=True), pixels(encode=False))


def test_blocks_of_another_vae_are_refused():
    vae = wan_like(is_residual=True)
    with pytest.raises(ValueError, match="WanResidualDownBlock"):
        WanFrameEncoder(vae)
