"""The VAE's two layouts, at their full key sets: every tensor finds its place, and the pixels are diffusers'."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VAES, VaeSource, load_vae, make_decoder

CPU = torch.device("cpu")
BASE, LIGHT = 8, 2
RESIDUAL = {"norm1.": "residual.0.", "conv1.": "residual.2.", "norm2.": "residual.3.", "conv2.": "residual.6."}
# Ours -> that of `Wan2.1_VAE.pth`, block by block.
PARTS = {
    "quant_conv": "conv1",
    "post_quant_conv": "conv2",
    **{f"{half}.conv_in": f"{half}.conv1" for half in ("encoder", "decoder")},
    **{f"{half}.norm_out": f"{half}.head.0" for half in ("encoder", "decoder")},
    **{f"{half}.conv_out": f"{half}.head.2" for half in ("encoder", "decoder")},
    **{f"{half}.mid_block.resnets.0": f"{half}.middle.0" for half in ("encoder", "decoder")},
    **{f"{half}.mid_block.attentions.0": f"{half}.middle.1" for half in ("encoder", "decoder")},
    **{f"{half}.mid_block.resnets.1": f"{half}.middle.2" for half in ("encoder", "decoder")},
    **{f"encoder.down_blocks.{i}": f"encoder.downsamples.{i}" for i in range(11)},
    **{f"decoder.up_blocks.{b}.resnets.{i}": f"decoder.upsamples.{4 * b + i}" for b in range(4) for i in range(3)},
    **{f"decoder.up_blocks.{b}.upsamplers.0": f"decoder.upsamples.{4 * b + 3}" for b in range(3)},
}


def wan_vae(base: int = BASE) -> Any:
    """All of Wan2.1's blocks with few channels; no two tensors are alike."""
    torch.manual_seed(0)
    kind: Any = AutoencoderKLWan
    vae = kind(base_dim=base).eval().requires_grad_(False)
    for name, tensor in vae.named_parameters():
        if name.endswith(("gamma", "bias")):
            tensor.add_(0.3 * torch.randn_like(tensor))
    return vae


def original(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors in the names of `Wan2.1_VAE.pth`."""
    renamed = {}
    for name, tensor in state.items():
        ours = next(part for part in PARTS if name.startswith(part + "."))
        rest = name.removeprefix(ours + ".")
        in_block = ".upsamples." in PARTS[ours] or ".downsamples." in PARTS[ours] or ".middle." in PARTS[ours]
        for new, old in RESIDUAL.items() if in_block else ():
            rest = old + rest.removeprefix(new) if rest.startswith(new) else rest
        renamed[f"{PARTS[ours]}.{rest.replace('conv_shortcut', 'shortcut')}"] = tensor
    return renamed


@pytest.fixture(scope="module")
def vae():
    return wan_vae()


@pytest.fixture
def save(tmp_path):
    def saved(layout: str, vae: Any):
        if layout == "diffusers":
            vae.save_pretrained(tmp_path / "vae")
            return tmp_path / "vae"
        path = tmp_path / ("Wan2.1_VAE.pth" if layout == "original" else "vae.safetensors")
        state = original(vae.state_dict())
        torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)
        return path

    return saved


def widths(base: int) -> tuple[int, ...]:
    return tuple(base * times for times in (1, 2, 4, 4))


@pytest.mark.parametrize("layout", ["original", "original in safetensors", "diffusers"])
def test_every_tensor_of_a_layout_finds_its_place(layout, vae, save):
    assert len(vae.state_dict()) == len(original(vae.state_dict())) == 194
    loaded: Any = load_vae(VaeSource(save(layout, vae), widths(BASE)), CPU, torch.float32)
    for name, tensor in vae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_original_names_are_those_of_the_file(vae):
    """Some of each kind, written down; and what a swap in the table would change."""
    names = original(vae.state_dict())
    for name in (
        "conv2.weight",
        "encoder.downsamples.5.time_conv.weight",
        "encoder.downsamples.6.shortcut.weight",
        "decoder.middle.1.to_qkv.weight",
        "decoder.upsamples.4.shortcut.bias",
        "decoder.upsamples.11.resample.1.weight",
        "decoder.upsamples.14.residual.3.gamma",
        "decoder.head.0.gamma",
    ):
        assert name in names


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_only_what_is_needed_is_kept_and_its_pixels_are_diffusers(layout, vae, save):
    source = VaeSource(save(layout, vae), widths(BASE))
    parts = VAES["wan_vae"]().load(source, CPU, torch.float32, with_encoder=False)
    assert parts.frame_encoder is None
    latents = torch.randn(3, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    with torch.no_grad():
        wanted = vae.decode(latents.transpose(0, 1)[None] * std + mean).sample[0].transpose(0, 1)
    torch.testing.assert_close(parts.decoder.decode(latents, DecodeState()), wanted, rtol=0, atol=1e-4)
    assert parts.decoder.weight_bytes == make_decoder(vae).weight_bytes


def test_the_encoder_comes_where_it_is_asked_for(vae, save):
    source = VaeSource(save("original", vae), widths(BASE))
    encoder = VAES["wan_vae"]().load(source, CPU, torch.float32, with_encoder=True).frame_encoder
    assert encoder is not None
    assert encoder.encode(torch.zeros(3, 16, 16)).shape == (1, 16, 2, 2)


def test_a_file_without_the_half_that_nobody_needs_is_enough(vae, tmp_path):
    kept = {name: t for name, t in original(vae.state_dict()).items() if not name.startswith(("encoder.", "conv1."))}
    torch.save(kept, tmp_path / "decoder.pth")
    source = VaeSource(tmp_path / "decoder.pth", widths(BASE))
    VAES["wan_vae"]().load(source, CPU, torch.float32, with_encoder=False)
    with pytest.raises(ValueError, match=r"missing: encoder\.conv_in\.weight"):
        VAES["wan_vae"]().load(source, CPU, torch.float32, with_encoder=True)


def test_lightvae_is_the_same_with_a_quarter_of_the_widths(save):
    light = wan_vae(LIGHT)
    source = VaeSource(save("original", light), widths(LIGHT))
    decoder = VAES["lightvae"]().load(source, CPU, torch.float32, with_encoder=False).decoder
    latents = torch.randn(2, 16, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decoder.decode(latents, DecodeState()), make_decoder(light).decode(latents, DecodeState()))


def test_another_file_is_told_in_one_line(vae, tmp_path):
    state = original(vae.state_dict())
    wrong = {f"what.{i}": torch.zeros(2, 3) for i in range(7)}
    kept = dict(list(state.items())[20:])
    kept["decoder.conv1.bias"] = torch.zeros(5)
    torch.save(kept | wrong, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold this VAE") as caught:
        load_vae(VaeSource(tmp_path / "other.pth", widths(BASE)), CPU, torch.float32)
    line = str(caught.value)
    assert "\n" not in line
    assert "missing: encoder.conv_in.weight (8, 3, 3, 3, 3), encoder.conv_in.bias (8,), " in line
    assert "and 15 more; unexpected: what.0 (2, 3), " in line
    assert "what.4 (2, 3) and 2 more" in line
    assert "wrong shape: decoder.conv_in.bias (5,) instead of (32,)" in line


def test_random_weights_need_no_file_and_depend_on_the_seed(tmp_path):
    latents = torch.randn(2, 16, 2, 2, generator=torch.Generator().manual_seed(0))
    for name, wide in (("wan_vae", widths(4)), ("lightvae", widths(2)), ("taehv", (8, 4, 4, 4))):
        pixels = [
            VAES[name]()
            .load(VaeSource(tmp_path / "none", wide, seed=seed), CPU, torch.float32, with_encoder=False)
            .decoder.decode(latents, DecodeState())
            for seed in (1, 1, 2)
        ]
        assert torch.equal(pixels[0], pixels[1])
        assert not torch.equal(pixels[0], pixels[2])
        assert pixels[0].isfinite().all()
        assert pixels[0].std() > 0.01
