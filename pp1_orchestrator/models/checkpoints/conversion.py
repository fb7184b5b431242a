"""Writes a transformer of any known layout as ours: safetensors in Wan2.1's names, sizes, and a manifest.

Holds one shard in memory at a time. Ours loads fastest: nothing is renamed, added or converted at start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.checkpoints.manifest import write_manifest
from pp1_orchestrator.models.checkpoints.reader import INDEX, Shape, Weights
from pp1_orchestrator.models.wan.config import WanConfig

STEM = "model"
HEAD_DIM = 128
"""Of every Wan2.1 transformer."""


def infer_config(path: Path, shapes: Mapping[str, Shape]) -> WanConfig:
    """The sizes of the transformer in `path` from the shapes of its tensors, in our names. The number of heads, which
    no shape tells, is what a config.json beside it says, or that of Wan2.1's models.

    Raises ValueError when a tensor that tells is missing.
    """
    try:
        dim, in_dim, *patch = shapes["patch_embedding.weight"]
        ffn_dim, _ = shapes["blocks.0.ffn.0.weight"]
        _, text_dim = shapes["text_embedding.0.weight"]
        _, freq_dim = shapes["time_embedding.0.weight"]
        pixels, _ = shapes["head.head.weight"]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no Wan2.1 transformer: {error}") from error
    blocks = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    return WanConfig(
        dim=dim,
        ffn_dim=ffn_dim,
        num_heads=_said_beside(path).get("num_heads", dim // HEAD_DIM),
        num_layers=len(blocks),
        in_dim=in_dim,
        out_dim=pixels // torch.Size(patch).numel(),
        text_dim=text_dim,
        freq_dim=freq_dim,
        patch_size=(patch[0], patch[1], patch[2]),
    )


def _said_beside(path: Path) -> dict[str, Any]:
    beside = path.parent / "config.json"
    return msgspec.json.decode(beside.read_bytes(), type=dict) if beside.is_file() else {}


def write_converted(
    weights: Weights,
    config: WanConfig,
    folder: Path,
    dtype: torch.dtype | None,
    shard_bytes: int,
    sources: Iterable[Path],
    made: dict[str, Any],
) -> list[Path]:
    """Write `weights`, in our names, to an empty folder; the files written. dtype None: as they are stored.

    Raises FileExistsError when the folder holds anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    names = _write_shards(weights, folder, dtype, shard_bytes)
    (folder / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(_sizes(config))))
    write_manifest(folder, [*names, "config.json"], list(sources), made | {"torch": str(torch.__version__)})
    return sorted(folder.iterdir())


def _sizes(config: WanConfig) -> dict[str, Any]:
    """What belongs to the weights; how many frames are made and seen at a time is chosen elsewhere."""
    chosen = ("chunk_frames", "local_attn_size", "sink_frames")
    return {"_class_name": "WanModel", "model_type": "t2v"} | {
        key: value for key, value in msgspec.to_builtins(config).items() if key not in chosen
    }


def _write_shards(weights: Weights, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> list[str]:
    """The names of the files that were written, the index included where there are several."""
    shards = _shards(weights, dtype, shard_bytes)
    count, where = len(shards), {}
    for number, keys in enumerate(shards, 1):
        name = f"{STEM}.safetensors" if count == 1 else f"{STEM}-{number:05}-of-{count:05}.safetensors"
        save_file({key: weights.read(key, dtype=dtype) for key in keys}, folder / name, metadata={"format": "pt"})
        where |= dict.fromkeys(keys, name)
    if count == 1:
        return [f"{STEM}.safetensors"]
    index = {"metadata": {}, "weight_map": where}
    (folder / f"{STEM}{INDEX}").write_bytes(msgspec.json.format(msgspec.json.encode(index)))
    return [*sorted(set(where.values())), f"{STEM}{INDEX}"]


def _shards(weights: Weights, dtype: torch.dtype | None, shard_bytes: int) -> list[list[str]]:
    """Keys in order, cut where a shard would grow too large. What is left as it is counts as float32."""
    itemsize = (dtype or torch.float32).itemsize
    shards: list[list[str]] = [[]]
    room = shard_bytes
    for key, shape in weights.shapes().items():
        size = torch.Size(shape).numel() * itemsize
        if shards[-1] and size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(key)
        room -= size
    return shards
