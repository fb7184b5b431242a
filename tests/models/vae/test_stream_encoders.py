"""Streaming encode: diffusers' own latents, and the same bits however a stream is cut into pieces."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from hypothesis import given, settings
from hypothesis import strategies as st

import pp1_orchestrator
from pp1_orchestrator.models.vae.base import EncodeState, StreamingEncoder
from pp1_orchestrator.models.vae.load_vae import VAES, VaeLoader, VaeSource, compile_encoder, load_vae
from pp1_orchestrator.models.vae.taehv_encoder import TaehvFrameEncoder
from pp1_orchestrator.models.vae.wan_encoder import WanEncoder, WanFrameEncoder

CPU = torch.device("cpu")
SHIPPED = VaeSource(Path(pp1_orchestrator.__file__).parent / "models" / "tiny" / "vae")
SMALL_TAEHV = VaeSource(Path("none"), (12, 8, 4, 4), seed=0)
LATENTS = 9
SIZES = ((32, 48), (24, 40))
cuts = st.sets(st.integers(1, LATENTS - 1))


def load(kind: str, dtype: torch.dtype = torch.float32) -> StreamingEncoder:
    return VAES[kind]().load_encoder(SHIPPED if kind == "wan_vae" else SMALL_TAEHV, CPU, dtype)


@pytest.fixture(scope="module", params=["wan_vae", "taehv", "lighttae"])
def encoder(request) -> StreamingEncoder:
    return load(request.param)


def frames_of(size: tuple[int, int], seed: int = 0, latents: int = LATENTS) -> torch.Tensor:
    count = 1 + 4 * (latents - 1)
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def in_pieces(encoder: StreamingEncoder, frames: torch.Tensor, cut_at: set[int] | tuple[int, ...]) -> torch.Tensor:
    """cut_at: in latent frames."""
    state = EncodeState()
    ends = [4 * end - 3 for end in sorted(cut_at)]
    return torch.cat([encoder.encode(piece, state) for piece in frames.tensor_split(ends)])


def diffusers_latents(vae: Any, frames: torch.Tensor) -> torch.Tensor:
    """One-shot encode, normalised, [F, z, h, w]."""
    mean, std = (torch.tensor(x).view(1, -1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        mode = vae.encode(frames.transpose(0, 1)[None].to(vae.dtype)).latent_dist.mode()
    return (mode[0].transpose(0, 1) - mean) / std


def wan_like() -> AutoencoderKLWan:
    """Wan2.1's layout (three halvings, two of them in time, no patches) with few channels."""
    torch.manual_seed(0)
    kind: Any = AutoencoderKLWan
    return kind(base_dim=8, dim_mult=[1, 2, 2, 2]).eval().requires_grad_(False)


@pytest.mark.parametrize("make", [lambda: load_vae(SHIPPED, CPU, torch.float32), wan_like], ids=["shipped", "wan_like"])
def test_a_stream_has_the_latents_of_diffusers_one_shot(make):
    vae, frames = make(), frames_of(SIZES[0])
    wanted = diffusers_latents(vae, frames)
    found = in_pieces(WanEncoder(vae), frames, (3, 6))
    assert found.shape == wanted.shape == (LATENTS, 16, 4, 6)
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-5)
    exact = in_pieces(WanEncoder(vae.double()), frames, (3, 6))
    torch.testing.assert_close(exact, diffusers_latents(vae, frames).float(), rtol=1e-6, atol=1e-6)


@given(cuts, st.sampled_from(SIZES))
@settings(max_examples=20)
def test_a_stream_has_the_same_bits_for_any_cut(encoder, cut_at, size):
    frames = frames_of(size)
    assert torch.equal(in_pieces(encoder, frames, cut_at), in_pieces(encoder, frames, (3, 6)))


def test_a_chunk_has_three_latent_frames_and_the_first_one_fewer_pixel_frames(encoder):
    frames, state = frames_of(SIZES[0]), EncodeState()
    assert [len(encoder.encode(piece, state)) for piece in frames.split((9, 12, 12))] == [3, 3, 3]


@pytest.mark.parametrize(("started", "count"), [(False, 0), (False, 4), (False, 12), (True, 0), (True, 1), (True, 9)])
def test_another_number_of_frames_is_refused_and_leaves_the_stream_alone(encoder, started, count):
    frames, state = frames_of(SIZES[0]), EncodeState()
    if started:
        encoder.encode(frames[:9], state)
    before = list(state.entries)
    with pytest.raises(ValueError, match=rf"{count} frames to encode: must be .*a multiple of 4"):
        encoder.encode(frames[:count], state)
    assert state.started is started
    assert all(one is other for one, other in zip(state.entries, before, strict=True))


def test_streams_share_an_encoder_and_nothing_else(encoder):
    streams = [frames_of(SIZES[0], seed) for seed in (1, 2)]
    states = [EncodeState(), EncodeState()]
    pairs = zip(*(frames.split((9, 12, 12)) for frames in streams), strict=True)
    parts = [[encoder.encode(piece, state) for piece, state in zip(pair, states, strict=True)] for pair in pairs]
    for index, frames in enumerate(streams):
        assert torch.equal(torch.cat([pair[index] for pair in parts]), encoder.encode(frames, EncodeState()))
    assert states[0].nbytes == states[1].nbytes > 0


def test_what_a_stream_remembers_does_not_grow(encoder):
    frames, state = frames_of(SIZES[0]), EncodeState()
    encoder.encode(frames[:9], state)
    sizes = {(encoder.encode(frames[9:21], state).shape, state.nbytes) for _ in range(4)}
    assert len(sizes) == 1


def test_a_new_epochs_state_forgets_the_stream_before(encoder):
    first, second = frames_of(SIZES[0], 1), frames_of(SIZES[0], 2)
    state = EncodeState()
    encoder.encode(first[:9], state)
    carried_on = encoder.encode(second[:12], state)
    assert not torch.equal(carried_on, encoder.encode(second[:9], EncodeState()))
    assert torch.equal(encoder.encode(second[:9], EncodeState()), encoder.encode(second[:9], EncodeState()))


@pytest.mark.parametrize("size", [(128, 128), (24, 40)])
def test_a_single_frame_has_the_bits_of_a_streams_first(size):
    frame = frames_of(size, latents=1)
    vae = load_vae(SHIPPED, CPU, torch.float32)
    assert torch.equal(WanFrameEncoder(vae).encode(frame[0]), WanEncoder(vae).encode(frame, EncodeState()))


def test_a_tiny_autoencoders_first_frame_stands_for_four_equal_ones():
    encoder: Any = load("taehv")
    frames = frames_of(SIZES[0])[:9]
    whole = encoder.encode(torch.cat([frames[:1].expand(3, -1, -1, -1), frames]), EncodeState(started=True))
    assert torch.equal(encoder.encode(frames, EncodeState()), whole)
    assert torch.equal(TaehvFrameEncoder(encoder).encode(frames[0]), whole[:1])


@pytest.mark.parametrize("kind", ["wan_vae", "taehv"])
def test_sixteen_bit_weights_stay_near(kind):
    frames = frames_of(SIZES[0])
    exact, narrow = (in_pieces(load(kind, dtype), frames, (3, 6)) for dtype in (torch.float32, torch.bfloat16))
    assert narrow.dtype == torch.float32
    assert (narrow - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("kind", ["wan_vae", "taehv"])
def test_a_compiled_encoder_gives_the_same_latents_chunk_by_chunk(kind):
    frames = frames_of(SIZES[0])
    wanted = in_pieces(load(kind, torch.float64), frames, (3, 6))
    encoder = load(kind, torch.float64)
    compile_encoder(encoder, 3, SIZES[0], backend="eager")
    torch.testing.assert_close(in_pieces(encoder, frames, (3, 6)), wanted, rtol=1e-6, atol=1e-6)


def test_only_the_encoder_is_loaded():
    vae = load_vae(SHIPPED, CPU, torch.float32, with_decoder=False)
    assert {name.split(".")[0] for name, _ in vae.named_parameters()} == {"encoder", "quant_conv"}
    assert 0 < load("wan_vae").weight_bytes < sum(p.nbytes for p in vae.parameters())


def test_a_loader_without_an_encoder_of_streams_says_so():
    class DecoderAlone(VaeLoader):
        def check(self, source, with_encoder): ...

        def load(self, source, device, dtype, with_encoder): ...

    with pytest.raises(ValueError, match="no encoder of streams"):
        DecoderAlone().load_encoder(SHIPPED, CPU, torch.float32)
