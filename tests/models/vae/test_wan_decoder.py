"""Streaming decode: diffusers' own pixels, and the same bits however a stream is cut into pieces."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from hypothesis import given, settings
from hypothesis import strategies as st

import pp1_orchestrator
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae, make_decoder
from pp1_orchestrator.models.vae.wan_decoder import WanDecoder

SHIPPED = Path(pp1_orchestrator.__file__).parent / "models" / "tiny" / "vae"
FRAMES = 6
# Odd sizes too: no kernel may treat the ends of its input in another way.
SIZES = ((4, 6), (2, 2), (3, 5))
cuts = st.sets(st.integers(1, FRAMES - 1))


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLWan:
    return load_vae(VaeSource(SHIPPED), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def residual_vae() -> AutoencoderKLWan:
    """A small one with Wan2.2's blocks; halved channels make its first frames differ from the others."""
    torch.manual_seed(0)
    config = {"base_dim": 8, "decoder_base_dim": 8, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1, "patch_size": 2}
    channels = {"in_channels": 12, "out_channels": 12}
    kind: Any = AutoencoderKLWan
    return kind(**config, **channels, temperal_downsample=[True, True, False], is_residual=True).eval()


@pytest.fixture(scope="module")
def stacked(vae) -> WanDecoder:
    return WanDecoder(vae).eval()


@pytest.fixture(scope="module")
def reference(vae) -> DiffusersDecoder:
    return DiffusersDecoder(vae)


def random_latents(frames: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 16, *size, generator=torch.Generator().manual_seed(seed))


def in_pieces(decoder: StreamingDecoder, latents: torch.Tensor, cut_at: set[int] | tuple[int, ...]) -> torch.Tensor:
    state = DecodeState()
    ends = [0, *sorted(cut_at), len(latents)]
    return torch.cat([decoder.decode(latents[a:b], state) for a, b in itertools.pairwise(ends)])


def diffusers_pixels(vae, latents: torch.Tensor) -> torch.Tensor:
    """One-shot decode of normalised latents, [T, 3, H, W]."""
    mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        return vae.decode(latents.transpose(0, 1)[None] * std + mean).sample[0].transpose(0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_stacked_decoder_gives_diffusers_pixels(vae, stacked, size):
    latents = random_latents(FRAMES, size)
    wanted = diffusers_pixels(vae, latents)
    assert wanted.shape == (1 + 4 * (FRAMES - 1), 3, 8 * size[0], 8 * size[1])
    torch.testing.assert_close(stacked.decode(latents, DecodeState()), wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["vae", "residual_vae"])
def test_the_reference_decoder_gives_diffusers_bits(kind, request):
    vae = request.getfixturevalue(kind)
    latents = random_latents(FRAMES, SIZES[0])
    wanted = diffusers_pixels(vae, latents)
    assert torch.equal(DiffusersDecoder(vae).decode(latents, DecodeState()), wanted)
    assert torch.equal(in_pieces(DiffusersDecoder(vae), latents, (1, 3)), wanted)


@given(cuts, st.sampled_from(SIZES))
def test_the_stacked_decoder_gives_the_same_bits_for_any_cut(stacked, cut_at, size):
    latents = random_latents(FRAMES, size)
    assert torch.equal(in_pieces(stacked, latents, cut_at), stacked.decode(latents, DecodeState()))


@given(cuts)
@settings(max_examples=12)
def test_the_reference_decoder_gives_the_same_bits_for_any_cut(reference, cut_at):
    latents = random_latents(FRAMES, (4, 4))
    assert torch.equal(in_pieces(reference, latents, cut_at), reference.decode(latents, DecodeState()))


@pytest.mark.parametrize("cut_at", [(1, 3, 4), (1, 2, 3, 4, 5)], ids=["1 + 2", "one by one"])
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_of_the_shipped_size_may_be_cut_after_the_first_frame(stacked, cut_at, threads):
    """With three threads, the parts into which a kernel divides its work end anywhere in a frame."""
    latents = random_latents(6, (16, 16))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(in_pieces(stacked, latents, cut_at), in_pieces(stacked, latents, (3,)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["stacked", "reference"])
def test_streams_share_a_decoder_and_nothing_else(kind, request):
    decoder = request.getfixturevalue(kind)
    streams = [random_latents(4, SIZES[0], seed) for seed in (1, 2)]
    states = [DecodeState(), DecodeState()]
    pieces = [
        [decoder.decode(latents[a:b], state) for latents, state in zip(streams, states, strict=True)]
        for a, b in ((0, 1), (1, 4))
    ]
    for index, latents in enumerate(streams):
        together = torch.cat([pair[index] for pair in pieces])
        assert torch.equal(together, decoder.decode(latents, DecodeState()))
    assert states[0].nbytes == states[1].nbytes > 0


def test_a_started_stream_gives_four_frames_a_latent(stacked, reference):
    latents = random_latents(3, SIZES[0])
    for decoder in (stacked, reference):
        state = DecodeState()
        assert [len(decoder.decode(latents, state)) for _ in range(2)] == [9, 12]


def test_the_decoder_suits_the_vae(vae, residual_vae):
    assert isinstance(make_decoder(vae), WanDecoder)
    assert isinstance(make_decoder(residual_vae), DiffusersDecoder)
    with pytest.raises(ValueError, match=r"Wan2\.1's decoder blocks only"):
        WanDecoder(residual_vae)
