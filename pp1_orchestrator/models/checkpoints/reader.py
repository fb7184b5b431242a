"""What a file holds against what a model needs: the first differences, in one line. Reads shapes alone.

Where the description of a model lies that some layouts keep beside its weights. Reads nothing.

Opens files of weights without reading them: safetensors, whole or in shards, and what `torch.save` wrote.

Knows which tensors a file holds and reads one of them, or a part of it. Knows nothing of what the names mean.
A pickle is opened with `weights_only`, and mapped: its numbers stay on the disk until they are asked for.

Puts weights into a module that was built on the meta device, one tensor after the other.

Never holds more than the module itself and one tensor. Knows nothing of files or of what a module computes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pp1_orchestrator.errors import first_line


def config_folder(weights: Path) -> Path | None:
    """The folder whose config.json describes the weights in a file or folder; None where they have none.

    A file that `torch.save` wrote has none: what lies beside it in Wan's own folders describes the transformer.
    """
    folder = weights.parent if weights.suffix in (".safetensors", ".json") else weights
    return folder if (folder / "config.json").is_file() else None


Shape = tuple[int, ...]
CPU = torch.device("cpu")
INDEX = ".safetensors.index.json"
PICKLES = (".pt", ".pth", ".bin")
SECTION = "/"
"""Between the name of a pickle's section and a tensor's name: `generator_ema/model.head.head.bias`."""


class Weights(Protocol):
    """Named tensors that are read one by one."""

    @property
    def path(self) -> Path:
        """What was opened, for messages."""
        ...

    def shapes(self) -> Mapping[str, Shape]:
        """Every tensor's shape, without reading any."""
        ...

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        """A tensor's own copy, contiguous. rows: only this part of dimension `dim`. dtype None: as it is stored."""
        ...


class _Safetensors:
    """Implements `Weights`. files: where each tensor lies."""

    def __init__(self, path: Path, files: Mapping[str, Path]) -> None:
        self.path = path
        self._open = {file: open_safetensors(file) for file in sorted(set(files.values()))}
        self._parts = {key: self._find(key, file) for key, file in files.items()}

    def _find(self, key: str, file: Path) -> Any:
        try:
            return self._open[file].get_slice(key)
        except SafetensorError as error:
            raise ValueError(f"{self.path} names {key} in {file.name}, which has no such tensor") from error

    def shapes(self) -> Mapping[str, Shape]:
        return {key: tuple(part.get_shape()) for key, part in self._parts.items()}

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        part = self._parts[key]
        return _own(part[part_of(rows, dim)] if part.get_shape() else part[...], device, dtype)


class _Pickled:
    """Implements `Weights`. A tensor in a dictionary below is named `section/name`; what is no tensor is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tensors = dict(_flatten(_unpickle(path)))

    def shapes(self) -> Mapping[str, Shape]:
        return {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        tensor = self._tensors[key].detach()
        return _own(tensor[part_of(rows, dim)] if tensor.shape else tensor, device, dtype)


def part_of(rows: slice | None, dim: int) -> tuple[slice, ...]:
    """The index of these rows of dimension `dim`, of all of them without any."""
    return (slice(None),) * dim + (rows or slice(None),)


def open_weights(path: Path) -> Weights:
    """A file of weights, an index of shards, or a folder that holds one of them.

    Raises FileNotFoundError, and ValueError with one line that names the file.
    """
    path = path.expanduser()
    file = _only_file(path) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    if file.name.endswith(INDEX):
        return _Safetensors(file, {key: file.parent / part for key, part in read_index(file).items()})
    if file.suffix == ".safetensors":
        return _Safetensors(file, dict.fromkeys(open_safetensors(file).keys(), file))
    if file.suffix in PICKLES:
        return _Pickled(file)
    raise ValueError(f"{file} is no file of weights; possible: .safetensors, {INDEX}, {', '.join(PICKLES)}")


class _Index(msgspec.Struct, frozen=True):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def read_index(path: Path) -> dict[str, str]:
    """Which file beside `path` holds which tensor. Raises ValueError when one is elsewhere or missing."""
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is no index of weights ({error})") from error
    for part in sorted(set(index.weight_map.values())):
        if Path(part).name != part or not part.endswith(".safetensors"):
            raise ValueError(f"{path} names {part!r}; only safetensors files beside it may be named")
        if not (path.parent / part).is_file():
            raise ValueError(f"{path} names {part}, which is not there")
    return index.weight_map


def open_safetensors(path: Path) -> Any:
    """The header of a safetensors file, read. Raises ValueError when the file is damaged or none."""
    try:
        return safe_open(str(path), framework="pt").__enter__()
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error})") from error


def _only_file(folder: Path) -> Path:
    """The one way to read a folder: by its index, or the only file of weights in it."""
    for found in (folder.glob(f"*{INDEX}"), folder.glob("*.safetensors"), _pickles(folder)):
        files = sorted(found)
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files)
            raise ValueError(f"{folder} holds several files of weights: {names}; name the one that is meant")
    raise FileNotFoundError(f"{folder}: no file of weights in it (.safetensors, {', '.join(PICKLES)})")


def _pickles(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix in PICKLES)


def _unpickle(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or older than the format that can be read in parts")
    try:
        return torch.load(path, map_location=CPU, mmap=True, weights_only=True)
    except (RuntimeError, EOFError, KeyError, torch.serialization.pickle.UnpicklingError) as error:
        reason = first_line(error)
        raise ValueError(f"{path} is damaged, or holds more than tensors, and is not opened ({reason})") from error


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if isinstance(item, Tensor):
            yield f"{prefix}{key}", item
        else:
            yield from _flatten(item, f"{prefix}{key}{SECTION}")


def _own(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """Never a view of the file: that may change, and a view of a part keeps the whole in memory."""
    copied = torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=device)
    return copied.copy_(tensor)


SHOWN_KEYS = 5


def check_shapes(path: Path, what: str, wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raise ValueError unless `path` holds every tensor of `what` in its shape, and no other."""
    missing = [f"{key} {shape}" for key, shape in wanted.items() if key not in found]
    extra = [f"{key} {shape}" for key, shape in found.items() if key not in wanted]
    wrong = [
        f"{key} {found[key]} instead of {shape}" for key, shape in wanted.items() if found.get(key, shape) != shape
    ]
    parts = [("missing", missing), ("unexpected", extra), ("wrong shape", wrong)]
    text = "; ".join(f"{name}: {_first_keys(keys)}" for name, keys in parts if keys)
    if text:
        raise ValueError(f"{path} does not hold this {what}: {text}")


def _first_keys(keys: list[str]) -> str:
    more = len(keys) - SHOWN_KEYS
    return ", ".join(keys[:SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")


@runtime_checkable
class Takes(Protocol):
    """A module that keeps a weight in a form of its own."""

    def take(self, weight: Tensor) -> None: ...


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Every weight's name and shape."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def place(
    module: nn.Module, weights: Weights, names: Mapping[str, str], device: torch.device, dtype: torch.dtype
) -> None:
    """Read and set the weights of `names`, from the module's name to the file's, on `device` in `dtype`."""
    for own, stored in names.items():
        parent, _, leaf = own.rpartition(".")
        owner = module.get_submodule(parent)
        tensor = weights.read(stored, device, dtype)
        if isinstance(owner, Takes):
            owner.take(tensor)
        else:
            setattr(owner, leaf, nn.Parameter(tensor, requires_grad=False))
