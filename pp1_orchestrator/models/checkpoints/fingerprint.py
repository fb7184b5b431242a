"""What tells one checkpoint from another: the names of its files and all that is in them, each file read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pp1_orchestrator.models.checkpoints.digests import DigestMemory
from pp1_orchestrator.models.checkpoints.files import INDEX, read_index


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
