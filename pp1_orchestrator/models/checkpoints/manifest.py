"""What a folder of converted weights says of its own files, and whether it is true. Knows nothing of tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

NAME = "manifest.json"
SCHEMA = 1


class FileEntry(msgspec.Struct, frozen=True):
    """A file's size and SHA-256."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """files: what was written, by name. sources: what it was made from. made: how, for people."""

    schema: int
    files: dict[str, FileEntry]
    sources: dict[str, FileEntry]
    made: dict[str, Any]


def describe(path: Path) -> FileEntry:
    """Reads the whole file."""
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_manifest(folder: Path, files: list[str], sources: list[Path], made: dict[str, Any]) -> None:
    """For files of `folder`, by name."""
    manifest = Manifest(
        schema=SCHEMA,
        files={name: describe(folder / name) for name in files},
        sources={path.name: describe(path) for path in sources},
        made=made,
    )
    (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def check_manifest(weights: Path, digests: bool) -> None:
    """Whether a file of weights and those beside it are what the manifest there says: their sizes, or all of them read.

    Without a manifest there is nothing to compare, unless digests are asked for. Raises ValueError with one line.
    """
    path = weights.parent / NAME
    if not path.is_file():
        if digests:
            raise ValueError(f"{path} is not there, so there are no digests to compare")
        return
    manifest = _read(path)
    if weights.name not in manifest.files:
        raise ValueError(f"{weights} is not in {path.name} beside it")
    for name, entry in manifest.files.items():
        _check_file(path.parent / name, entry, digests)


def _check_file(path: Path, entry: FileEntry, digests: bool) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is named in {NAME}, and is not there")
    size = path.stat().st_size
    if size != entry.bytes:
        raise ValueError(f"{path} has {size} bytes; {NAME} says {entry.bytes}")
    if digests and describe(path).sha256 != entry.sha256:
        raise ValueError(f"{path} is not the file that {NAME} describes: its SHA-256 differs")


def _read(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is no manifest ({error})") from error
    if manifest.schema != SCHEMA:
        raise ValueError(f"{path} has schema {manifest.schema}; {SCHEMA} can be read")
    if strangers := [name for name in manifest.files if Path(name).name != name]:
        raise ValueError(f"{path} names {strangers[0]!r}; only files beside it may be named")
    return manifest
