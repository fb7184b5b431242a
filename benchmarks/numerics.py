"""The generator compared with diffusers' WanTransformer3DModel, both from one checkpoint that diffusers saved.

    python -m benchmarks.numerics                   # Wan2.1's 1.3B shape on a GPU, float32 and bfloat16
    python -m benchmarks.numerics --small --device cpu

One chunk without history at several diffusion times. The weights are random; no norm is one and no bias is zero. Errors
are the norm of the difference divided by the norm of diffusers' flow, once with diffusers in float32 and once with
diffusers in the same type. In that type diffusers keeps times, norms and modulations in float32.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import load_generator
from pp1_orchestrator.models.wan.rope import rope_table

REAL = WanConfig(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30)
SMALL = WanConfig(dim=96, ffn_dim=160, num_heads=4, num_layers=3, text_dim=48, text_len=9, freq_dim=32)
LATENT_SIZE = {"real": (60, 104), "small": (4, 6)}
TIMES = (1000.0, 750.0, 250.0, 0.0)


def save_random(config: WanConfig, folder: Path, device: torch.device) -> None:
    """A checkpoint in diffusers' own layout, in shards."""
    torch.manual_seed(0)
    with device:
        model = WanTransformer3DModel(
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            in_channels=config.in_dim,
            out_channels=config.out_dim,
            text_dim=config.text_dim,
            freq_dim=config.freq_dim,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
            eps=config.eps,
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    size = sum(p.nbytes for p in model.parameters())
    model.save_pretrained(str(folder), max_shard_size=size // 3)


class Inputs:
    """One chunk's latents and one prompt's embedding, the same for everybody."""

    def __init__(self, config: WanConfig, size: tuple[int, int], device: torch.device) -> None:
        rng = torch.Generator().manual_seed(1)
        self.latents = torch.randn(1, config.chunk_frames, config.in_dim, *size, generator=rng).to(device)
        self.text = torch.randn(1, config.text_len, config.text_dim, generator=rng).to(device)
        self.device = device


@torch.inference_mode()
def theirs(folder: Path, inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    """diffusers' flow at each time."""
    kind: Any = WanTransformer3DModel
    model = kind.from_pretrained(str(folder), torch_dtype=dtype).to(inputs.device).eval()
    latents, text = inputs.latents.transpose(1, 2).to(dtype), inputs.text.to(dtype)
    times = (torch.full((1,), time, device=inputs.device) for time in TIMES)
    return [model(latents, time, text).sample.transpose(1, 2).float() for time in times]


@torch.inference_mode()
def ours(folder: Path, config: WanConfig, inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    """Our flow at each time, from the same files."""
    model = load_generator(folder, config, inputs.device, dtype)
    _, frames, _, height, width = inputs.latents.shape
    rope = rope_table(config.head_dim, 0, frames, height // 2, width // 2, inputs.device)
    text = model.embed_text(inputs.text.to(dtype))
    alone = msgspec.structs.replace(config, local_attn_size=config.chunk_frames)
    cache = KVCache(alone, (height, width), dtype=dtype, device=inputs.device)
    cache.begin(0)
    times = (torch.full((1,), time, device=inputs.device) for time in TIMES)
    return [model(inputs.latents.to(dtype), time, text, cache, rope).float() for time in times]


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest relative error over all times."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))


def compare(
    config: WanConfig, size: tuple[int, int], device: torch.device
) -> Iterator[tuple[torch.dtype, float, float]]:
    """For float32 and bfloat16: our error against diffusers in float32, and against diffusers in the same type."""
    # On a GPU convolutions would else round their inputs to 10 bits, in float32 too.
    torch.backends.cudnn.allow_tf32 = False
    inputs = Inputs(config, size, device)
    with tempfile.TemporaryDirectory() as name:
        save_random(config, Path(name), device)
        exact = theirs(Path(name), inputs, torch.float32)
        for dtype in (torch.float32, torch.bfloat16):
            found = ours(Path(name), config, inputs, dtype)
            yield dtype, error(found, exact), error(found, theirs(Path(name), inputs, dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    config, size = (SMALL, LATENT_SIZE["small"]) if options.small else (REAL, LATENT_SIZE["real"])
    head = "| type | against diffusers in float32 | against diffusers in this type |\n|---|---|---|\n"
    sys.stdout.write(f"{describe()}\n\n{head}")
    for dtype, exact, same in compare(config, size, torch.device(options.device)):
        sys.stdout.write(f"| {str(dtype).removeprefix('torch.')} | {exact:.1e} | {same:.1e} |\n")


if __name__ == "__main__":
    main()
