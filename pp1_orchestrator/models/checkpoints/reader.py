"""Reads weights: opens safetensors files, shards and pickles without loading them, and reads tensors one by one.

Knows which tensors a file holds and their shapes, but not what their names mean. A pickle is opened with
`weights_only` and memory-mapped, so its data stays on disk until it is read.
"""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pp1_orchestrator.errors import first_line
from pp1_orchestrator.user_paths import user_path

Shape = tuple[int, ...]
Index = tuple[slice, ...]
"""Selects part of a tensor; `()` selects all of it."""
CPU = torch.device("cpu")
INDEX = ".safetensors.index.json"
PICKLES = (".pt", ".pth", ".bin")
SECTION = "/"
"""Separates a pickle's section from the tensor's name: `generator_ema/model.head.head.bias`."""
MAX_LISTED_KEYS = 5
MAX_SECTIONS = 8
"""Dictionaries inside each other in a pickle."""


class Weights(ABC):
    """Named tensors that are read one by one. `path` is what was opened, for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of every tensor, without reading any."""

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        """A contiguous copy of a tensor, or of the part `rows` of dimension `dim`. dtype: None keeps the stored one.

        It is never a view of the file: the file may change, and a view of a part keeps the whole tensor in memory.
        Raises ValueError for whole numbers that would have to become fractions: they need a scale.
        """
        index = () if rows is None else (slice(None),) * dim + (rows,)
        tensor = self._tensor(key, index, device, dtype)
        if dtype is not None and dtype.is_floating_point and not tensor.is_floating_point():
            raise ValueError(f"{self.path}: {key} is in {tensor.dtype}, and no scale is beside it")
        return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=device).copy_(tensor)

    @abstractmethod
    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        """What `read` copies. It may be a view, and may ignore `device` and `dtype`."""


class SafetensorsWeights(Weights):
    """One or several safetensors files. files: the file of each tensor."""

    def __init__(self, path: Path, files: Mapping[str, Path]) -> None:
        super().__init__(path)
        self._open = {file: open_safetensors(file) for file in sorted(set(files.values()))}
        self._slices: dict[str, Any] = {}
        for key, file in files.items():
            try:
                self._slices[key] = self._open[file].get_slice(key)
            except SafetensorError as error:
                raise ValueError(f"{path} names {key} in {file.name}, which has no such tensor") from error

    def shapes(self) -> Mapping[str, Shape]:
        return {key: tuple(stored.get_shape()) for key, stored in self._slices.items()}

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        return self._slices[key][index]


class PickledWeights(Weights):
    """A `torch.save` file. Tensors in nested dictionaries are named `section/name`; anything else is ignored."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tensors = dict(flatten_tensors(path, unpickle(path)))

    def shapes(self) -> Mapping[str, Shape]:
        return {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        return self._tensors[key].detach()[index]


class RenamedWeights(Weights):
    """Other weights under new names. names: new name -> the name in `weights`; tensors without one are left out."""

    def __init__(self, weights: Weights, names: Mapping[str, str]) -> None:
        super().__init__(weights.path)
        self._weights, self._names = weights, names

    def shapes(self) -> Mapping[str, Shape]:
        shapes = self._weights.shapes()
        return {name: shapes[key] for name, key in self._names.items()}

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        return self._weights._tensor(self._names[key], index, device, dtype)


def open_weights(path: Path) -> Weights:
    """Opens a file of weights, an index of shards, or a folder that holds one of them.

    Raises FileNotFoundError, and ValueError with one line that names the file.
    """
    weights = _open_any(user_path(path))
    if unprintable := [key for key in weights.shapes() if not key.isprintable()]:
        raise ValueError(f"{weights.path} holds a tensor with a name that can't be printed: {unprintable[0]!r}")
    return weights


def weight_file(path: Path) -> Path:
    """The file itself, or the index or the only file of weights in a folder. Raises what `open_weights` raises."""
    file = _only_file(path) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    if not (file.name.endswith(INDEX) or file.suffix in (".safetensors", *PICKLES)):
        raise ValueError(f"{file} is not a file of weights; possible: .safetensors, {INDEX}, {', '.join(PICKLES)}")
    return file


def _open_any(path: Path) -> Weights:
    file = weight_file(path)
    if file.name.endswith(INDEX):
        return SafetensorsWeights(file, {key: file.parent / part for key, part in read_index(file).items()})
    if file.suffix == ".safetensors":
        return SafetensorsWeights(file, dict.fromkeys(open_safetensors(file).keys(), file))
    return PickledWeights(file)


class _Index(msgspec.Struct, frozen=True):
    """The part of an index file that is used: tensor -> file."""

    weight_map: dict[str, str]


def read_index(path: Path) -> dict[str, str]:
    """Maps each tensor to its file beside `path`. Raises ValueError when a file is elsewhere or missing."""
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{path} is no index of weights ({error})") from error
    for part in sorted(set(index.weight_map.values())):
        if Path(part).name != part or not part.isprintable() or not part.endswith(".safetensors"):
            raise ValueError(f"{path} names {part!r}; only safetensors files beside it may be named")
        if not (path.parent / part).is_file():
            raise ValueError(f"{path} names {part}, which is not there")
    return index.weight_map


def open_safetensors(path: Path) -> Any:
    """Opens a safetensors file and reads its header. Raises ValueError for a damaged file or another format."""
    try:
        opened: Any = safe_open(str(path), framework="pt")
        return opened.__enter__()
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error})") from error


def config_folder(weights: Path) -> Path | None:
    """The folder whose config.json describes the weights in a file or folder; None if there is none.

    A `torch.save` file has none: in Wan's own folders, the config.json beside it describes the transformer.
    """
    folder = weights.parent if weights.suffix in (".safetensors", ".json") else weights
    return folder if (folder / "config.json").is_file() else None


def _only_file(folder: Path) -> Path:
    """The index in a folder, or its only file of weights."""
    pickles = (path for path in folder.iterdir() if path.suffix in PICKLES)
    for found in (folder.glob(f"*{INDEX}"), folder.glob("*.safetensors"), pickles):
        files = sorted(found)
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files)
            raise ValueError(f"{folder} holds several files of weights: {names}; name the one that is meant")
    raise FileNotFoundError(f"{folder}: no file of weights in it (.safetensors, {', '.join(PICKLES)})")


def unpickle(path: Path, device: torch.device = CPU) -> Any:
    """What a `torch.save` file holds, if that is tensors alone. On the meta device no data is mapped.

    Raises ValueError with one line that names the file.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is damaged, or in torch's old format, which can't be read in parts")
        return torch.load(path, map_location=device, mmap=device == CPU, weights_only=True)
    except (
        RuntimeError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        torch.serialization.pickle.UnpicklingError,  # pyright: ignore[reportPrivateImportUsage]
    ) as error:
        reason = first_line(error)
        raise ValueError(f"{path} is damaged, or holds more than tensors, and is not opened ({reason})") from error


def flatten_tensors(
    path: Path, value: Any, device: torch.device = CPU, prefix: str = ""
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dictionaries, with its key after those of the dictionaries around it.

    Raises ValueError for a tensor that is on another device, or is not stored element by element.
    """
    if not isinstance(value, Mapping):
        return
    if prefix.count(SECTION) > MAX_SECTIONS:
        raise ValueError(f"{path} holds more than {MAX_SECTIONS} dictionaries inside each other")
    for key, item in cast(Mapping[str, Any], value).items():
        if not isinstance(item, Tensor):
            yield from flatten_tensors(path, item, device, f"{prefix}{key}{SECTION}")
        elif _is_stored(item, device):
            yield f"{prefix}{key}", item
        else:
            raise ValueError(f"{path} holds {f'{prefix}{key}'!r}, which is sparse, quantized, or larger than its data")


def _is_stored(tensor: Tensor, device: torch.device) -> bool:
    """Whether every element is in the file. A view can repeat a few of them to fill all memory."""
    if tensor.layout is not torch.strided or tensor.device != device or tensor.is_quantized:
        return False
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def check_shapes(path: Path, model: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raises ValueError unless `path` holds every tensor of `model` in its shape, and no other."""
    missing = [f"{key} {shape}" for key, shape in expected.items() if key not in found]
    extra = [f"{key} {shape}" for key, shape in found.items() if key not in expected]
    wrong = [
        f"{key} {found[key]} instead of {shape}" for key, shape in expected.items() if found.get(key, shape) != shape
    ]
    parts = [("missing", missing), ("unexpected", extra), ("wrong shape", wrong)]
    text = "; ".join(f"{name}: {_list_keys(keys)}" for name, keys in parts if keys)
    if text:
        raise ValueError(f"{path} does not hold this {model}: {text}")


def _list_keys(keys: list[str]) -> str:
    more = len(keys) - MAX_LISTED_KEYS
    return ", ".join(keys[:MAX_LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """The name and shape of every weight."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def set_weight(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Replaces a parameter of `module` or of one of its submodules."""
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Parameter(tensor, requires_grad=False))
