"""What a file holds against what a model needs: the first differences, in one line. Reads shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pp1_orchestrator.models.checkpoints.files import Shape

SHOWN_KEYS = 5


def check_shapes(path: Path, what: str, wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raise ValueError unless `path` holds every tensor of `what` in its shape, and no other."""
    missing = [f"{key} {shape}" for key, shape in wanted.items() if key not in found]
    extra = [f"{key} {shape}" for key, shape in found.items() if key not in wanted]
    wrong = [
        f"{key} {found[key]} instead of {shape}" for key, shape in wanted.items() if found.get(key, shape) != shape
    ]
    parts = [("missing", missing), ("unexpected", extra), ("wrong shape", wrong)]
    text = "; ".join(f"{name}: {_first(keys)}" for name, keys in parts if keys)
    if text:
        raise ValueError(f"{path} does not hold this {what}: {text}")


def _first(keys: list[str]) -> str:
    more = len(keys) - SHOWN_KEYS
    return ", ".join(keys[:SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")
