"""The names under which others keep a Wan2.1 transformer, written out once more, and small files in each layout.

Shares nothing with the package: a layout is a list of pairs (Wan2.1's name, the layout's name).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pp1_orchestrator.models.wan.config import WanConfig

DEPTHS = {"1.3B": 30, "14B": 40}
COUNTS = {"1.3B": 825, "14B": 1095}
LINEARS = [f"{kind}.{which}" for kind in ("self_attn", "cross_attn") for which in "qkvo"] + ["ffn.0", "ffn.2"]


def sizes(layers: int) -> WanConfig:
    """All widths differ, so that no tensor fits the place of another by its shape alone."""
    return WanConfig(
        dim=8, ffn_dim=12, num_heads=2, num_layers=layers, in_dim=4, out_dim=5, text_dim=10, text_len=3, freq_dim=6
    )


def shapes(config: WanConfig) -> dict[str, tuple[int, ...]]:
    """Wan2.1's names and shapes, as its own files have them."""
    d, f = config.dim, config.ffn_dim
    matrices = {
        "text_embedding.0": (d, config.text_dim),
        "text_embedding.2": (d, d),
        "time_embedding.0": (d, config.freq_dim),
        "time_embedding.2": (d, d),
        "time_projection.1": (6 * d, d),
        "head.head": (4 * config.out_dim, d),
    }
    out: dict[str, tuple[int, ...]] = {"patch_embedding.weight": (d, config.in_dim, 1, 2, 2)}
    out |= {"patch_embedding.bias": (d,), "head.modulation": (1, 2, d)}
    for n in range(config.num_layers):
        block = f"blocks.{n}"
        out[f"{block}.modulation"] = (1, 6, d)
        out |= {f"{block}.norm3.weight": (d,), f"{block}.norm3.bias": (d,)}
        for kind in ("self_attn", "cross_attn"):
            matrices |= {f"{block}.{kind}.{which}": (d, d) for which in "qkvo"}
            out |= {f"{block}.{kind}.norm_{which}.weight": (d,) for which in "qk"}
        matrices |= {f"{block}.ffn.0": (f, d), f"{block}.ffn.2": (d, f)}
    for name, shape in matrices.items():
        out |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return out


def state(layers: int) -> dict[str, Tensor]:
    """Numbers of which no two tensors have the same."""
    made, first = {}, 0
    for name, shape in shapes(sizes(layers)).items():
        count = torch.Size(shape).numel()
        made[name] = torch.arange(first, first + count, dtype=torch.float32).view(shape)
        first += count
    return made


def diffusers_names(layers: int) -> Iterator[tuple[str, str]]:
    """What each tensor is called in a folder that diffusers wrote."""
    both = ("weight", "bias")
    yield from ((f"patch_embedding.{kind}", f"patch_embedding.{kind}") for kind in both)
    embedder = "condition_embedder"
    for number, layer in ((0, "linear_1"), (2, "linear_2")):
        for kind in both:
            yield f"time_embedding.{number}.{kind}", f"{embedder}.time_embedder.{layer}.{kind}"
            yield f"text_embedding.{number}.{kind}", f"{embedder}.text_embedder.{layer}.{kind}"
    yield from ((f"time_projection.1.{kind}", f"{embedder}.time_proj.{kind}") for kind in both)
    yield from ((f"head.head.{kind}", f"proj_out.{kind}") for kind in both)
    yield "head.modulation", "scale_shift_table"
    for n in range(layers):
        block = f"blocks.{n}"
        yield f"{block}.modulation", f"{block}.scale_shift_table"
        for kind in both:
            yield f"{block}.norm3.{kind}", f"{block}.norm2.{kind}"
            yield f"{block}.ffn.0.{kind}", f"{block}.ffn.net.0.proj.{kind}"
            yield f"{block}.ffn.2.{kind}", f"{block}.ffn.net.2.{kind}"
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2")):
            for kind in both:
                yield from ((f"{block}.{ours}.{w}.{kind}", f"{block}.{theirs}.to_{w}.{kind}") for w in "qkv")
                yield f"{block}.{ours}.o.{kind}", f"{block}.{theirs}.to_out.0.{kind}"
            yield from ((f"{block}.{ours}.norm_{w}.weight", f"{block}.{theirs}.norm_{w}.weight") for w in "qk")


def in_diffusers_names(made: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    names = dict(diffusers_names(layers))
    return {names[name]: tensor for name, tensor in made.items()}


def prefixed(made: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in made.items()}


def as_trained(made: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as modules wrapped for training have them: FSDP around the model and each block, checkpointing inside."""
    wrapped = {}
    for name, tensor in made.items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            name = f"blocks.{number}._fsdp_wrapped_module._checkpoint_wrapped_module.{rest}"
        wrapped[f"model._fsdp_wrapped_module.{name}"] = tensor
    return wrapped


def other(made: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same names with numbers that must not be taken."""
    return {name: -1 - tensor for name, tensor in made.items()}


def save_shards(tensors: dict[str, Tensor], folder: Path, stem: str, count: int) -> None:
    """safetensors shards and their index."""
    names = [f"{stem}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    where = {key: names[i % count] for i, key in enumerate(tensors)}
    for file in names:
        save_file({key: tensors[key] for key in tensors if where[key] == file}, folder / file)
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def lora(layers: int, rank: int, seed: int = 0) -> dict[str, Tensor]:
    """PEFT's two factors for every matrix of every block."""
    wanted, rng, made = shapes(sizes(layers)), torch.Generator().manual_seed(seed), {}
    for n in range(layers):
        for name in LINEARS:
            out, into = wanted[f"blocks.{n}.{name}.weight"]
            prefix = f"base_model.model.blocks.{n}.{name}"
            made[f"{prefix}.lora_A.weight"] = torch.randn(rank, into, generator=rng)
            made[f"{prefix}.lora_B.weight"] = torch.randn(out, rank, generator=rng)
    return made
