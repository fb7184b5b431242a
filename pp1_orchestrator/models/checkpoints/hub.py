"""Gets a file or a folder by name from the Hugging Face hub, if its package is installed. Knows nothing of models.

What arrives are plain files below the place that is asked for; no cache is left and nothing is linked.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pp1_orchestrator.errors import first_line

LOADING = ".fetching"
"""Below the place: what is not whole yet. An interrupted download goes on from there."""


def fetch(source: str, place: Path) -> Path:
    """`owner/repository/path` into the folder `place`, or as that folder when the path ends in a slash.

    Returns what was made. Raises OSError with one line when it can't be had.
    """
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
    except ImportError as error:
        raise OSError("huggingface-hub is not installed: pip install huggingface-hub") from error
    owner, repository, inside = source.split("/", 2)
    repo, loading = f"{owner}/{repository}", place.parent / LOADING / repository
    try:
        if inside.endswith("/"):
            snapshot_download(repo, allow_patterns=[f"{inside}*"], local_dir=str(loading))
        else:
            hf_hub_download(repo, inside, local_dir=str(loading))
    except Exception as error:
        reason = first_line(error)
        raise OSError(f"the hub does not give it: {reason}") from error
    return _settle(loading / inside, place)


def _settle(loaded: Path, place: Path) -> Path:
    if loaded.is_dir():
        return Path(shutil.move(loaded, place))
    if not loaded.is_file():
        raise OSError(f"the hub has no {loaded.name}")
    place.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(loaded, place / loaded.name))
