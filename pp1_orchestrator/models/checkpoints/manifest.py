"""SHA-256 of large files, read once: a file of the same size and times is taken to be the same.

What was read is remembered in a small file. Where that can't be written, files are read each time.

What tells one checkpoint from another: the names of its files and all that is in them, each file read once.

What a folder of converted weights says of its own files, and whether it is true. Knows nothing of tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pp1_orchestrator.models.checkpoints.reader import INDEX, read_index

KEPT_DIGESTS = 256
"""Files that are remembered, the newest."""
REMEMBERED_BYTES = 64 << 20
"""Smaller files are read again in no time."""


class Seen(msgspec.Struct, frozen=True):
    """A file as it was when it was read, and its digest. changed_ns is set by the system and by nobody else."""

    size: int
    modified_ns: int
    changed_ns: int
    sha256: str


class DigestMemory:
    """Digests by path, kept in the file `place`. least: bytes of a file that is worth it."""

    def __init__(self, place: Path, least: int = REMEMBERED_BYTES) -> None:
        self._place, self._least = place, least

    def digest(self, path: Path) -> str:
        """Raises OSError."""
        name, stat = str(path.resolve()), path.stat()
        if stat.st_size < self._least:
            return _hash_file(path)
        seen = self._seen()
        found = seen.get(name)
        as_now = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if found is not None and (found.size, found.modified_ns, found.changed_ns) == as_now:
            return found.sha256
        digest = _hash_file(path)
        seen.pop(name, None)
        self._keep(seen | {name: Seen(*as_now, digest)})
        return digest

    def _seen(self) -> dict[str, Seen]:
        try:
            return msgspec.json.decode(self._place.read_bytes(), type=dict[str, Seen])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _keep(self, seen: dict[str, Seen]) -> None:
        """Whole or not at all: other ranks read and write it, too."""
        whole = self._place.with_name(f"{self._place.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            whole.write_bytes(msgspec.json.encode(dict(list(seen.items())[-KEPT_DIGESTS:])))
            whole.replace(self._place)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path, memory: DigestMemory) -> str:
    """Of a file of weights, an index and its shards, or a folder. Raises OSError and ValueError."""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.name}\0{memory.digest(file)}\0".encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.is_file())
        return
    yield path
    if path.name.endswith(INDEX):
        yield from (path.parent / name for name in sorted(set(read_index(path).values())))


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
