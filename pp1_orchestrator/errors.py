"""The tree of errors, and how an error becomes one line of text.

    Pp1Error
    ├── ConfigError      an impossible setting: exit code 2, before a process is started
    ├── RequestError     an impossible request: HTTP 4xx, the stream continues
    ├── ContractError    a message breaks the contract: refused before the first byte, or an error result
    ├── ChunkError       one chunk can't be made: it is dropped, and a new epoch begins
    ├── MeshError        the mesh failed or does not answer: the run fails (exit code 1) or the mesh is restarted
    │   └── PeerError    a rank has ended or does not answer, and nothing else is known
    └── Stage0Error      rank 0's own part failed: exit code 1

Each text is one line that names the key, the value and what is allowed.
"""

import traceback

SECRET_KEYS = ("serving.token", "serving.view_token", "serving.ice_servers")
"""Settings whose values are in no error, record or report. They are in a run's folder `.hydra`, for its owner alone."""


class Pp1Error(Exception):
    """Base of all errors of this project."""


class ConfigError(Pp1Error):
    """An impossible configuration."""


class RequestError(Pp1Error):
    """An impossible request from a client. status: the HTTP status to answer with."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class ContractError(Pp1Error):
    """A message that breaks the contract between rank 0 and the mesh."""


class ChunkError(Pp1Error):
    """One chunk can't be made; the mesh can continue with a new epoch."""


class MeshError(Pp1Error):
    """The mesh failed or did not answer in time."""


class PeerError(MeshError):
    """A rank has ended or does not answer, for an unknown reason."""


class Stage0Error(Pp1Error):
    """Rank 0's own part of the pipeline failed."""


def clear_frames(error: BaseException) -> None:
    """Free the local variables of the frames that raised it, tensors above all: the error itself is kept longer."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def first_line(error: BaseException) -> str:
    """The first line of an error's text; its name if it has no text."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def named_line(error: BaseException) -> str:
    """`first_line` after the error's name, for unexpected errors."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def public_line(error: BaseException) -> str:
    """The line for users: our own errors are written for them, others need their name."""
    return first_line(error) if isinstance(error, Pp1Error) else named_line(error)
