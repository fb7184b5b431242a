"""TAEHV against its maths written plainly: three separate steps to grow, whole clips, no state."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VAES, VaeSource, compile_decoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder, decoder_shapes

CPU = torch.device("cpu")
WIDTHS = (12, 8, 4, 4)
FRAMES = 7


def conv(inner: int, out: int, bias: bool = True, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, out, kernel, stride, kernel // 2, bias=bias)


def memory(wide: int) -> nn.Module:
    block = nn.Module()
    block.conv = nn.Sequential(conv(2 * wide, wide), nn.ReLU(), conv(wide, wide), nn.ReLU(), conv(wide, wide))
    return block


def one_by_one(inner: int, out: int) -> nn.Module:
    layer = nn.Module()
    layer.conv = conv(inner, out, bias=False, kernel=1)
    return layer


class Plain(nn.Module):
    """Both halves in upstream's order of layers, so that names come out as in its files."""

    encoder: Any
    decoder: Any

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        grow = zip((a, b, c), (b, c, d), (1, 2, 2), strict=True)
        rows = ([memory(w), memory(w), memory(w), nn.Identity(), one_by_one(w, w * n), conv(w, v, bias=False)]
                for w, v, n in grow)  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Identity(), conv(16, a), nn.ReLU(), *itertools.chain(*rows), nn.ReLU(), conv(d, 3)
        )
        pooled = ([one_by_one(d * n, d), conv(d, d, bias=False, stride=2), memory(d), memory(d), memory(d)]
                  for n in (2, 2, 1))  # fmt: skip
        self.encoder = nn.Sequential(conv(3, d), nn.ReLU(), *itertools.chain(*pooled), conv(d, 16))

    def remember(self, block: Any, x: Tensor) -> Tensor:
        before = pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]
        return relu(block.conv(torch.cat([x, before], 1)) + x)

    def decode(self, x: Tensor) -> Tensor:
        x = relu(self.decoder[1](torch.tanh(x / 3) * 3))
        for index in (3, 9, 15):
            for block in range(index, index + 3):
                x = self.remember(self.decoder[block], x)
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.decoder[index + 4].conv(x)
            x = x.reshape(-1, WIDTHS[(index - 3) // 6], *x.shape[2:])
            x = self.decoder[index + 5](x)
        return self.decoder[22](relu(x)).clamp(0, 1)[3:] * 2 - 1

    def encode(self, frame: Tensor) -> Tensor:
        x = relu(self.encoder[0](((frame + 1) / 2).repeat(4, 1, 1, 1)))
        for index in (2, 7, 12):
            pool = self.encoder[index].conv
            x = self.encoder[index + 1](pool(x.reshape(-1, pool.in_channels, *x.shape[2:])))
            for block in range(index + 2, index + 5):
                x = self.remember(self.encoder[block], x)
        return self.encoder[17](x)


@pytest.fixture(scope="module")
def plain() -> Plain:
    torch.manual_seed(0)
    return Plain().requires_grad_(False)


@pytest.fixture(scope="module")
def saved(plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("taehv") / "taew2_1.pth"
    torch.save(plain.state_dict(), path)
    return path


def loaded(path, with_encoder=False, kind="taehv", dtype=torch.float32):
    return VAES[kind]().load(VaeSource(path, WIDTHS), CPU, dtype, with_encoder)


def latents(frames: int = FRAMES, seed: int = 0) -> Tensor:
    return 2 * torch.randn(frames, 16, 3, 4, generator=torch.Generator().manual_seed(seed))


def pieces(decoder, z: Tensor, cuts: tuple[int, ...]) -> Iterator[Tensor]:
    state = DecodeState()
    for start, end in itertools.pairwise((0, *cuts, len(z))):
        yield decoder.decode(z[start:end], state)


def test_the_full_key_set_is_placed(plain, saved):
    assert len(plain.state_dict()) == 128
    loaded(saved, with_encoder=True)


def test_pixels_are_upstreams(plain, saved):
    z = latents()
    wanted = plain.decode(z)
    assert wanted.shape == (1 + 4 * (FRAMES - 1), 3, 24, 32)
    assert wanted.std() > 0.05
    torch.testing.assert_close(loaded(saved).decoder.decode(z, DecodeState()), wanted, rtol=0, atol=1e-5)
    exact = loaded(saved, dtype=torch.float64).decoder.decode(z, DecodeState())
    torch.testing.assert_close(exact.double(), plain.double().decode(z.double()), rtol=0, atol=1e-6)
    plain.float()


@pytest.mark.parametrize("cuts", [(1, 3), (3, 6), (1, 2, 3, 4, 5, 6)])
def test_a_stream_has_the_bits_of_the_whole(saved, cuts):
    decoder = loaded(saved).decoder
    parts = list(pieces(decoder, latents(), cuts))
    assert len(parts[0]) == 1 + 4 * (cuts[0] - 1)
    assert torch.equal(torch.cat(parts), decoder.decode(latents(), DecodeState()))


def test_streams_share_a_decoder_and_nothing_else(saved):
    decoder, states = loaded(saved).decoder, [DecodeState(), DecodeState()]
    both = [latents(4, seed) for seed in (1, 2)]
    parts = [[decoder.decode(z[a:b], s) for z, s in zip(both, states, strict=True)] for a, b in ((0, 2), (2, 4))]
    for index, z in enumerate(both):
        assert torch.equal(torch.cat([pair[index] for pair in parts]), decoder.decode(z, DecodeState()))
    assert states[0].nbytes == states[1].nbytes > 0


def test_of_a_larger_growth_the_last_frames_count(plain, saved, tmp_path):
    """Files of a decoder that can grow at every size store more channels than this one uses."""
    state = plain.state_dict()
    key = "decoder.7.conv.weight"
    torch.save(state | {key: torch.cat([torch.full_like(state[key], 9.0), state[key]])}, tmp_path / "larger.pth")
    wanted = loaded(saved).decoder.decode(latents(), DecodeState())
    assert torch.equal(loaded(tmp_path / "larger.pth").decoder.decode(latents(), DecodeState()), wanted)


def test_lighttae_has_wans_mean_and_deviation_put_back(plain, saved):
    config: Any = AutoencoderKLWan(base_dim=4).config
    mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1) for key in ("latents_mean", "latents_std"))
    parts = loaded(saved, with_encoder=True, kind="lighttae")
    pixels = parts.decoder.decode(latents(), DecodeState())
    torch.testing.assert_close(pixels, plain.decode(latents() * std + mean), rtol=0, atol=1e-5)
    frame = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1
    assert parts.frame_encoder is not None
    torch.testing.assert_close(parts.frame_encoder.encode(frame), (plain.encode(frame) - mean) / std)


def test_a_frame_is_encoded_as_upstream_encodes_four_equal_ones(plain, saved):
    frame = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1
    encoder = loaded(saved, with_encoder=True).frame_encoder
    assert encoder is not None
    found = encoder.encode(frame)
    assert found.shape == (1, 16, 2, 3)
    torch.testing.assert_close(found, plain.encode(frame))


def test_another_file_is_told_in_one_line(plain, tmp_path):
    state = {key.replace("decoder.3.", "decoder.33."): tensor for key, tensor in plain.state_dict().items()}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"missing: decoder\.3\.conv\.0\.weight \(12, 24, 3, 3\)") as caught:
        loaded(tmp_path / "other.pth")
    assert "and 1 more; unexpected: decoder.33.conv.0.weight (12, 24, 3, 3)" in str(caught.value)


def test_sixteen_bit_weights_stay_near(saved):
    exact = loaded(saved).decoder.decode(latents(), DecodeState())
    narrow = loaded(saved, dtype=torch.bfloat16).decoder.decode(latents(), DecodeState())
    assert narrow.dtype == torch.float32
    assert float((narrow - exact).square().mean()) < 1e-3 * float(exact.square().mean())


def test_a_compiled_decoder_gives_the_same_pixels_chunk_by_chunk(saved):
    z = latents(6)
    wanted = loaded(saved, dtype=torch.float64).decoder.decode(z, DecodeState())
    decoder = loaded(saved, dtype=torch.float64).decoder
    compile_decoder(decoder, 3, (3, 4), in_parts=False, backend="eager")
    torch.testing.assert_close(torch.cat(list(pieces(decoder, z, (3,)))), wanted, rtol=1e-6, atol=1e-6)


def test_a_decoder_on_meta_says_what_it_would_hold():
    source = VaeSource(Path("none"), WIDTHS, seed=0)
    decoder = VAES["taehv"]().load(source, torch.device("meta"), torch.bfloat16, with_encoder=False).decoder
    assert isinstance(decoder, TaehvDecoder)
    assert {tensor.device.type for tensor in (*decoder.parameters(), *decoder.buffers())} == {"meta"}
    assert decoder.weight_bytes > 0


def test_the_layout_counts_the_layers_of_the_file(plain):
    found = {key: tuple(t.shape) for key, t in plain.state_dict().items() if key.startswith("decoder.")}
    assert decoder_shapes(WIDTHS) == found
