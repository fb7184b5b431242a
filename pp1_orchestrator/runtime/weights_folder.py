"""Whether a checkpoint's folder holds what may be opened: its own files, weights as safetensors. Loads none."""

from __future__ import annotations

from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

INDEX = ".safetensors.index.json"


class _Index(msgspec.Struct, frozen=True):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def check_folder(root: Path) -> None:
    """Raises ValueError for a link that leads out of the folder, an index that does, and weights that are none.

    Headers alone are read, and a truncated file is known by them.
    """
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{name} is a link out of the folder; copy what it points to")
        if path.name.endswith(INDEX):
            _check_index(path, name)
        elif path.suffix == ".safetensors" and path.is_file():
            _check_weights(path, name)


def _check_index(path: Path, name: Path) -> None:
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{name} is no index of weights ({error})") from error
    for part in sorted(set(index.weight_map.values())):
        if Path(part).name != part or not part.endswith(".safetensors"):
            raise ValueError(f"{name} names {part!r}; only safetensors files beside it may be named")
        if not (path.parent / part).is_file():
            raise ValueError(f"{name} names {part}, which is not there")


def _check_weights(path: Path, name: Path) -> None:
    try:
        with safe_open(str(path), framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{name} is no whole safetensors file ({error})") from error
