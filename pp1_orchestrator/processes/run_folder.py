"""The folder of a run: one of its own even for two runs that start in the same second, and none for a refused one."""

import contextlib
import functools
import itertools
import shutil
from pathlib import Path


@functools.cache
def new_folder(name: str) -> str:
    """Make the folder, and return its name: with a number at the end if there is one already. One for each name in a
    process. What can't be made is left to Hydra, which says why."""
    for number in itertools.count(1):
        path = Path(name if number == 1 else f"{name}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if path.exists():
                continue
            return name
        except OSError:
            return name
        return str(path)
    raise AssertionError("numbers have no end")


def forget(folder: Path, settings: str | None) -> None:
    """Remove what Hydra has written for a run that was refused: its settings, if they are in a folder, an empty log,
    and folders that are empty then. Anything else stays."""
    if settings is None:
        return
    shutil.rmtree(folder / settings, ignore_errors=True)
    with contextlib.suppress(OSError):
        for log in folder.glob("*.log"):
            if log.stat().st_size == 0:
                log.unlink()
        for empty in (folder, *folder.parents[:2]):
            empty.rmdir()
