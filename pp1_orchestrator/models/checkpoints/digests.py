"""SHA-256 of large files, read once: a file of the same size and times is taken to be the same.

What was read is remembered in a small file. Where that can't be written, files are read each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

KEPT = 256
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
            return _read(path)
        seen = self._seen()
        found = seen.get(name)
        as_now = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if found is not None and (found.size, found.modified_ns, found.changed_ns) == as_now:
            return found.sha256
        digest = _read(path)
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
            whole.write_bytes(msgspec.json.encode(dict(list(seen.items())[-KEPT:])))
            whole.replace(self._place)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
