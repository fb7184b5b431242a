"""The file of a show in its run's folder: written whole or not at all, found again, and taken by one run alone.

Only the owner may read it: it has prompts. Knows nothing of what runs.
"""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import msgspec

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.stage0.show import Show

FILE, LOCK, NEW = "show.json", "show.lock", ".show.json.new"
VERSION = 1
MAX_BYTES = 4_000_000
"""Room for the longest history. A timeline that makes the file larger is not kept."""
OWNER_ONLY = 0o600


class _Heading(msgspec.Struct, frozen=True):
    version: int
    name: str


class _File(_Heading, frozen=True, forbid_unknown_fields=True):
    show: Show


def encode(show: Show, name: str) -> bytes | None:
    """The file's content; None where it would be larger than MAX_BYTES."""
    data = msgspec.json.encode(_File(VERSION, name, show))
    return data if len(data) <= MAX_BYTES else None


def write(data: bytes, folder: Path) -> None:
    """Replace the file in one step. On the disk before it replaces the older one, so that a power cut leaves either."""
    new = folder / NEW
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    new.replace(folder / FILE)


def read(path: Path) -> Show:
    """Raises ConfigError with one line for a file that can't be continued."""
    data = _read(path)
    try:
        heading = msgspec.json.decode(data, type=_Heading)
        if heading.version != VERSION:
            raise ConfigError(f"{path}: is of version {heading.version}; this program reads version {VERSION}")
        show = msgspec.json.decode(data, type=_File).show
        show.check()
    except (msgspec.DecodeError, RequestError, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    return show


def newest(name: str, own: Path, outputs: Path) -> Path | None:
    """The newest file of a show: in the run's own folder, or below `outputs` if that folder is there.

    Raises ConfigError for one that can't be read: an older one would be another state of the show.
    """
    paths = {own / FILE}
    if own.resolve().is_relative_to(outputs.resolve()):
        paths |= {*outputs.glob(f"*/{FILE}"), *outputs.glob(f"*/*/{FILE}")}
    changed: dict[Path, float] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            changed[path] = path.stat().st_mtime
    return next((path for path in sorted(changed, key=changed.__getitem__, reverse=True) if _name(path) == name), None)


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Inside, the show of a folder is this process's alone. Raises ConfigError where another one has it.

    The kernel ends the lock with the process, however that ends.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    except OSError as error:
        raise ConfigError(f"{folder / LOCK}: {error.strerror}") from error
    with open(descriptor, "rb"):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another program is running this show") from error
        except OSError as error:
            raise ConfigError(f"{folder / LOCK}: can't be locked: {error.strerror}") from error
        yield


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes")
    return data


def _name(path: Path) -> str:
    """The show's name. Raises ConfigError where the file has none."""
    try:
        return msgspec.json.decode(_read(path), type=_Heading).name
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
