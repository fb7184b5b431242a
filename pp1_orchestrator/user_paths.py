"""Paths as users write them, with ~ for a home folder, and the folder for what this program can make again.

A user may have no home folder, as in a container with any number for its user, and a name after ~ may be nobody's.
"""

import os
from pathlib import Path

NO_FOLDER = Path(os.devnull) / "cache"
"""Nothing can be written here, and nothing is found."""


def user_path(text: str | os.PathLike[str]) -> Path:
    """~ and ~name become folders where they are known; otherwise they stay, and no such file will be found."""
    return Path(os.path.expanduser(text))


def cache_folder() -> Path:
    """Where this program keeps what it can make again."""
    found = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return NO_FOLDER if found.parts[:1] == ("~",) else found / "pp1-orchestrator"
