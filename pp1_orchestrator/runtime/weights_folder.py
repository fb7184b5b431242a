"""Whether a checkpoint's folder holds what may be opened: its own files, weights as safetensors. Loads none."""

from __future__ import annotations

from pathlib import Path

from pp1_orchestrator.models.checkpoints.files import INDEX, open_safetensors, read_index


def check_folder(root: Path) -> None:
    """Raises ValueError for a link that leads out of the folder, an index that does, and weights that are none.

    Headers alone are read, and a truncated file is known by them.
    """
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path} is a link out of the folder; copy what it points to")
        if path.name.endswith(INDEX):
            read_index(path)
        elif path.suffix == ".safetensors" and path.is_file():
            open_safetensors(path)
