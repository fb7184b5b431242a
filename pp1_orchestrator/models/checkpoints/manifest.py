"""Digests of checkpoint files: the manifest beside converted weights, and fingerprints that ranks compare.

Large files are hashed once: a small cache file keeps their digests by path, size and times. Knows nothing of tensors.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pp1_orchestrator.models.checkpoints.reader import INDEX, read_index

MANIFEST = "manifest.json"
SCHEMA = 1
MAX_CACHED_DIGESTS = 256
MIN_CACHED_BYTES = 64 << 20


class CachedDigest(msgspec.Struct, frozen=True):
    """A file's state when it was hashed. changed_ns (ctime) can't be set by programs, unlike modified_ns."""

    size: int
    modified_ns: int
    changed_ns: int
    sha256: str


class DigestCache:
    """SHA-256 digests by path, in the file `path`. Small files, and all where it can't be written, are hashed anew."""

    def __init__(self, path: Path, min_bytes: int = MIN_CACHED_BYTES) -> None:
        self._path, self._min_bytes = path, min_bytes

    def digest(self, path: Path) -> str:
        """The hexadecimal digest of a file. Raises OSError."""
        name, stat = str(path.resolve()), path.stat()
        if stat.st_size < self._min_bytes:
            return hash_file(path)
        entries = self._read()
        found = entries.pop(name, None)
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if found is not None and (found.size, found.modified_ns, found.changed_ns) == state:
            return found.sha256
        digest = hash_file(path)
        self._write(entries | {name: CachedDigest(*state, digest)})
        return digest

    def _read(self) -> dict[str, CachedDigest]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, CachedDigest])
        except (OSError, msgspec.MsgspecError, RecursionError):
            return {}

    def _write(self, entries: dict[str, CachedDigest]) -> None:
        """Writes atomically, because other ranks use the same file."""
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(dict(list(entries.items())[-MAX_CACHED_DIGESTS:])))
            temporary.replace(self._path)


def hash_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path, cache: DigestCache) -> str:
    """16 hexadecimal digits that identify a checkpoint: the names and digests of its files.

    `path` is a file of weights, an index, or a folder. Raises OSError and ValueError.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.name}\0{cache.digest(file)}\0".encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.is_file())
        return
    yield path
    if path.name.endswith(INDEX):
        yield from (path.parent / name for name in sorted(set(read_index(path).values())))


class FileEntry(msgspec.Struct, frozen=True):
    """A file's size and digest."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of manifest.json: the files, what they were made from, and how, for people."""

    schema: int
    files: dict[str, FileEntry]
    sources: dict[str, FileEntry]
    made: dict[str, Any]


def write_manifest(folder: Path, files: list[str], sources: list[Path], made: dict[str, Any]) -> None:
    """Writes the manifest of `files` in `folder`; each file is hashed."""
    manifest = Manifest(
        schema=SCHEMA,
        files={name: _entry(folder / name) for name in files},
        sources={path.name: _entry(path) for path in sources},
        made=made,
    )
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def check_manifest(weights: Path, digests: bool) -> None:
    """Compares a file of weights, and the others in the manifest beside it, with that: by size, or by digest, too.

    Raises ValueError with one line when something differs, and when `digests` is set and there is no manifest.
    """
    path = weights.parent / MANIFEST
    if not path.is_file():
        if digests:
            raise ValueError(f"{path} is not there, so there are no digests to compare")
        return
    manifest = _read_manifest(path)
    if weights.name not in manifest.files:
        raise ValueError(f"{weights} is not in {path.name} beside it")
    for name, entry in manifest.files.items():
        file = path.parent / name
        if not file.is_file():
            raise ValueError(f"{file} is named in {MANIFEST}, and is not there")
        if (size := file.stat().st_size) != entry.bytes:
            raise ValueError(f"{file} has {size} bytes; {MANIFEST} says {entry.bytes}")
        if digests and hash_file(file) != entry.sha256:
            raise ValueError(f"{file} is not the file that {MANIFEST} describes: its SHA-256 differs")


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.stat().st_size, hash_file(path))


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{path} is not a manifest ({error})") from error
    if manifest.schema != SCHEMA:
        raise ValueError(f"{path} has schema {manifest.schema}; {SCHEMA} can be read")
    if outside := [name for name in manifest.files if Path(name).name != name or not name.isprintable()]:
        raise ValueError(f"{path} names {outside[0]!r}; only files beside it may be named")
    return manifest
