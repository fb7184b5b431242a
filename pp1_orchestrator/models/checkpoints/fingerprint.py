"""What tells one checkpoint from another in no time: names, sizes, and a little of what is in the files.

No proof that two are the same (`manifest` has one): a byte that differs in the middle of a large file is not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pp1_orchestrator.models.checkpoints.files import INDEX, read_index

HEAD_BYTES, TAIL_BYTES = 2**20, 2**16
"""Of each file: of safetensors that is the header with all names and shapes, and some numbers."""


def fingerprint(path: Path) -> str:
    """Of a file of weights, an index and its shards, or a folder. Raises OSError and ValueError."""
    digest = hashlib.sha256()
    for file in _files(path):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(HEAD_BYTES))
            opened.seek(max(0, size - TAIL_BYTES))
            digest.update(opened.read())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.is_file())
        return
    yield path
    if path.name.endswith(INDEX):
        yield from (path.parent / name for name in sorted(set(read_index(path).values())))
