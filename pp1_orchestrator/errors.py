"""Everything that can go wrong, as one tree.

    Pp1Error
    ├── ConfigError      a setting is impossible: exit code 2, before a process is started
    ├── RequestError     a request is impossible: HTTP 4xx, the stream goes on
    ├── ContractError    a message breaks the contract: refused before the first byte, or an error result
    ├── ChunkError       one chunk can't be made, the mesh can go on: it is dropped, and a new epoch begins
    ├── MeshError        the mesh failed or went silent: the run fails (exit 1) or the mesh is restarted
    │   └── PeerError    all that is known is that a rank has ended or went silent
    └── Stage0Error      rank 0's own part failed: exit code 1

Each text is one line that names the key, the value and what is allowed.
"""

from __future__ import annotations

import traceback


class Pp1Error(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(Pp1Error):
    """An impossible configuration."""


class RequestError(Pp1Error):
    """An impossible request from a client; `status` is the HTTP status that fits it."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class ContractError(Pp1Error):
    """A message that breaks the contract between rank 0 and the mesh."""


class ChunkError(Pp1Error):
    """One chunk can't be made; the mesh can go on with a new epoch."""


class MeshError(Pp1Error):
    """The mesh failed, or did not answer in time."""


class PeerError(MeshError):
    """A rank has ended or went silent, without a reason of its own."""


class Stage0Error(Pp1Error):
    """Rank 0's own part of the pipeline failed."""


def let_frames_go(error: BaseException) -> None:
    """Of what was in use where it was raised, tensors above all: an error is told for longer than that is needed."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def first_line(error: BaseException) -> str:
    """What an error says, without what libraries add below; its name where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def named_line(error: BaseException) -> str:
    """`first_line` behind the error's name, for those that nobody expected."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def told_line(error: BaseException) -> str:
    """What people are told: our own errors' words are made for them, all others need their names."""
    return first_line(error) if isinstance(error, Pp1Error) else named_line(error)
