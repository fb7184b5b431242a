"""Downloads a file or a folder from the Hugging Face hub, as plain files: no cache remains and nothing is linked."""

import shutil
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download  # pyright: ignore[reportUnknownVariableType]

from pp1_orchestrator.errors import first_line

PARTIAL_FOLDER = ".fetching"
"""Beside the target: incomplete files. An interrupted download resumes from here."""


def fetch(source: str, target: Path) -> Path:
    """Downloads `owner/repository/path` into the folder `target`, or as that folder if the path ends in a slash.

    Returns the new file or folder. Raises OSError with one line.
    """
    owner, repository, inside = source.split("/", 2)
    repo, partial = f"{owner}/{repository}", target.parent / PARTIAL_FOLDER / repository
    try:
        if inside.endswith("/"):
            snapshot_download(repo, allow_patterns=[f"{inside}*"], local_dir=str(partial))
        else:
            hf_hub_download(repo, inside, local_dir=str(partial))
    except Exception as error:
        raise OSError(f"the hub does not give it: {first_line(error)}") from error
    downloaded = partial / inside
    if downloaded.is_dir():
        return Path(shutil.move(downloaded, target))
    if not downloaded.is_file():
        raise OSError(f"the hub has no {downloaded.name}")
    target.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(downloaded, target / downloaded.name))
