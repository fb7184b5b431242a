"""Writes a transformer from any known layout in ours: safetensors with Wan2.1's names, a config.json and a manifest.

One shard is in memory at a time. Our layout loads fastest, because nothing is renamed, merged or converted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from pp1_orchestrator.models.checkpoints.manifest import write_manifest
from pp1_orchestrator.models.checkpoints.reader import INDEX, Shape, Weights
from pp1_orchestrator.models.wan.config import WanConfig

FILES = "model{suffix}.safetensors"
HEAD_DIM, TEXT_LEN = 128, 512
"""The width of an attention head and the tokens of a prompt in every Wan2.1 transformer."""
STREAM_OPTIONS = ("chunk_frames", "local_attn_size", "sink_frames")
"""Fields of WanConfig that are chosen for a stream and do not belong to the weights."""


class _SizesBeside(msgspec.Struct, frozen=True):
    """What a config.json says of the sizes that show in no shape."""

    num_heads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    text_len: Annotated[int, msgspec.Meta(ge=1)] = TEXT_LEN


def infer_config(path: Path, shapes: Mapping[str, Shape]) -> WanConfig:
    """The sizes of a transformer from the shapes of its tensors, under our names. Raises ValueError for another model.

    The heads and a prompt's tokens show in no shape. They come from a config.json beside `path`, or else are Wan2.1's.
    """
    try:
        dim, in_dim, *patch = shapes["patch_embedding.weight"]
        if len(patch) != 3:
            raise ValueError(f"a patch has {len(patch)} dimensions, not 3")
        ffn_dim, _ = shapes["blocks.0.ffn.0.weight"]
        _, text_dim = shapes["text_embedding.0.weight"]
        _, freq_dim = shapes["time_embedding.0.weight"]
        pixels, _ = shapes["head.head.weight"]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no Wan2.1 transformer: {error}") from error
    beside = _read_beside(path.parent / "config.json")
    heads = max(1, dim // HEAD_DIM) if beside.num_heads is None else beside.num_heads
    if not all(patch) or dim % heads:
        raise ValueError(f"{path} holds no Wan2.1 transformer: patches of {patch}, {heads} heads of {dim} channels")
    blocks = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    return WanConfig(
        dim=dim,
        ffn_dim=ffn_dim,
        num_heads=heads,
        num_layers=len(blocks),
        in_dim=in_dim,
        out_dim=pixels // torch.Size(patch).numel(),
        text_dim=text_dim,
        text_len=beside.text_len,
        freq_dim=freq_dim,
        patch_size=(patch[0], patch[1], patch[2]),
    )


def _read_beside(path: Path) -> _SizesBeside:
    if not path.is_file():
        return _SizesBeside()
    try:
        return msgspec.json.decode(path.read_bytes(), type=_SizesBeside)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def write_converted(
    weights: Weights,
    config: WanConfig,
    folder: Path,
    dtype: torch.dtype | None,
    shard_bytes: int,
    sources: Iterable[Path],
    made: dict[str, Any],
) -> list[Path]:
    """Writes a transformer, under our names, to an empty folder and returns the files.

    dtype: None keeps the stored ones. shard_bytes: the largest size of a file. sources, made: what it was made from and
    how, for the manifest. Raises FileExistsError when the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    names = _write_shards(weights, folder, dtype, shard_bytes)
    sizes = {key: value for key, value in msgspec.to_builtins(config).items() if key not in STREAM_OPTIONS}
    _write_json(folder / "config.json", {"_class_name": "WanModel", "model_type": "t2v"} | sizes)
    write_manifest(folder, [*names, "config.json"], list(sources), made | {"torch": str(torch.__version__)})
    return sorted(folder.iterdir())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def _write_shards(weights: Weights, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> list[str]:
    """Returns the names of the files, with the index of several shards. Stored dtypes are counted as float32."""
    counted = dtype or torch.float32
    sizes = {key: torch.empty(shape, dtype=counted, device="meta") for key, shape in weights.shapes().items()}
    shards = split_torch_state_dict_into_shards(sizes, filename_pattern=FILES, max_shard_size=shard_bytes)
    for name, keys in shards.filename_to_tensors.items():
        save_file({key: weights.read(key, dtype=dtype) for key in keys}, folder / name, metadata={"format": "pt"})
    names = sorted(shards.filename_to_tensors)
    if not shards.is_sharded:
        return names
    index = FILES.format(suffix="") + INDEX.removeprefix(".safetensors")
    _write_json(folder / index, {"metadata": {}, "weight_map": shards.tensor_to_filename})
    return [*names, index]
