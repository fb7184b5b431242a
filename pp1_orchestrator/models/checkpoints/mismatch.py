"""Whether a file of weights is the one that a model needs, told by names and shapes in one line. Reads no weights."""

from __future__ import annotations

from collections.abc import Mapping

from pp1_orchestrator.models.checkpoints.files import Shape

SHOWN_KEYS = 5


def check_shapes(where: object, what: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raise ValueError with the first missing, unexpected and wrong tensors, unless there is none."""
    missing = [f"{key} {shape}" for key, shape in expected.items() if key not in found]
    extra = [f"{key} {shape}" for key, shape in found.items() if key not in expected]
    wrong = [
        f"{key} {found[key]} instead of {shape}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    parts = [("missing", missing), ("unexpected", extra), ("wrong shape", wrong)]
    text = "; ".join(f"{name}: {_first(keys)}" for name, keys in parts if keys)
    if text:
        raise ValueError(f"{where} does not hold {what}: {text}")


def _first(keys: list[str]) -> str:
    more = len(keys) - SHOWN_KEYS
    return ", ".join(keys[:SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")
