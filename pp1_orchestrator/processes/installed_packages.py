"""What installed packages declare as their entry points. Knows nothing of what the groups mean.

One package with a damaged list would end every program that asks: the standard library raises, and torch asks as soon
as it is imported.
"""
# pyright: reportPrivateUsage=false

import logging
import os
import sys
from functools import cache
from importlib.metadata import EntryPoints, PathDistribution, entry_points

log = logging.getLogger(__name__)
FILE = "entry_points.txt"
_read_text = PathDistribution.read_text


def skip_damaged() -> None:
    """From now on a list of entry points that can't be read is left out, with a warning, whoever asks for it."""
    PathDistribution.read_text = _read_or_skip


def installed(group: str) -> EntryPoints:
    """The entry points of one group. All packages are read once."""
    return _read(tuple(sys.path)).get(group, EntryPoints())


@cache
def _read(path: tuple[str, ...]) -> dict[str, EntryPoints]:
    """Those of all groups. path: where packages are looked for."""
    points = entry_points()
    return {group: points.select(group=group) for group in points.groups}


def _read_or_skip(self: PathDistribution, filename: str | os.PathLike[str]) -> str | None:
    if filename != FILE:
        return _read_text(self, filename)
    try:
        text = _read_text(self, filename)
        if line := next((line for line in (text or "").splitlines() if _is_damaged(line.strip())), None):
            raise ValueError(f"{line!r} is no entry")
    except ValueError as error:  # also of an encoding that is not UTF-8
        _warn(f"{self._path}/{FILE}", str(error))
        return None
    return text


def _is_damaged(line: str) -> bool:
    return bool(line) and line[0] not in "#[" and "=" not in line


@cache
def _warn(file: str, reason: str) -> None:
    log.warning("%s can't be read and is left out: %s", file, reason)
