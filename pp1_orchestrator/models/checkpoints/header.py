"""Reads which tensors a file of weights has, and nothing else of it: no tensor is read, mapped or allocated.

Opening weights to read them maps whole files, which a machine with less memory than the file has may refuse.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from pp1_orchestrator.models.checkpoints.reader import (
    INDEX,
    Index,
    Shape,
    Weights,
    flatten_tensors,
    read_index,
    unpickle,
    weight_file,
)
from pp1_orchestrator.user_paths import user_path

META = torch.device("meta")
LENGTH = struct.Struct("<Q")
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Of an element. Types of less than a byte are left to the library that reads them."""
MAX_HEADER = 100_000_000
"""Bytes; as the safetensors library has it."""
METADATA = "__metadata__"


class _Entry(msgspec.Struct, frozen=True):
    """What a safetensors header says of one tensor. data_offsets: counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class ShapesOnly(Weights):
    """Names and shapes of tensors that can't be read."""

    def __init__(self, path: Path, shapes: Mapping[str, Shape]) -> None:
        super().__init__(path)
        self._shapes = shapes

    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
        raise TypeError(f"{self.path} was opened for its shapes alone")


def open_shapes(path: Path) -> ShapesOnly:
    """The tensors of a file, of an index of shards, or of a folder with one of them.

    Raises FileNotFoundError, and ValueError with one line that names the file.
    """
    file = weight_file(user_path(path))
    if file.name.endswith(INDEX):
        shards = {part: _read_header(file.parent / part) for part in sorted(set(read_index(file).values()))}
        places = read_index(file)
        if absent := [key for key, part in places.items() if key not in shards[part]]:
            raise ValueError(f"{file} names {absent[0]} in {places[absent[0]]}, which has no such tensor")
        shapes = {key: shards[part][key] for key, part in places.items()}
    elif file.suffix == ".safetensors":
        shapes = _read_header(file)
    else:
        shapes = {key: tuple(tensor.shape) for key, tensor in flatten_tensors(file, unpickle(file, META), META)}
    if unprintable := [key for key in shapes if not key.isprintable()]:
        raise ValueError(f"{file} holds a tensor with a name that can't be printed: {unprintable[0]!r}")
    return ShapesOnly(file, shapes)


def _read_header(path: Path) -> dict[str, Shape]:
    with path.open("rb") as file:
        nbytes = os.fstat(file.fileno()).st_size
        prefix = file.read(LENGTH.size)
        length = LENGTH.unpack(prefix)[0] if len(prefix) == LENGTH.size else nbytes
        if length > min(MAX_HEADER, nbytes - LENGTH.size):
            raise ValueError(f"{path} is no whole safetensors file: its header would be longer than the file or 100 MB")
        try:
            plain = msgspec.json.decode(file.read(length), type=dict[str, Any])
            plain.pop(METADATA, None)
            entries = msgspec.convert(plain, dict[str, _Entry])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no whole safetensors file ({error})") from error
    end = max((entry.data_offsets[1] for entry in entries.values()), default=0)
    whole = LENGTH.size + length + end
    if whole != nbytes:
        raise ValueError(f"{path} is no whole safetensors file: it has {nbytes} bytes, not {whole}")
    for key, entry in entries.items():
        start, stop = entry.data_offsets
        if not _fits(entry, stop - start):
            raise ValueError(
                f"{path} is no whole safetensors file: {key} has {stop - start} bytes, which is no {entry.dtype} of "
                f"shape {entry.shape}"
            )
    return {key: entry.shape for key, entry in entries.items()}


def _fits(entry: _Entry, nbytes: int) -> bool:
    """Whether a tensor of this type and shape takes so many bytes."""
    if entry.data_offsets[0] < 0 or any(size < 0 for size in entry.shape):
        return False
    item = ITEM_BYTES.get(entry.dtype)
    return nbytes == item * math.prod(entry.shape) if item is not None else nbytes >= 0
