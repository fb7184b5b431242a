"""What a mistyped key or option may have meant."""

import difflib
from collections.abc import Iterable, Iterator

from msgspec import inspect

from pp1_orchestrator.config.schema import Settings

CUTOFF = 0.7
"""Of difflib's ratio: 1 is the same word."""


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """The end of a line that suggests the nearest choice; empty where none is near."""
    near = difflib.get_close_matches(given, list(choices), 1, CUTOFF)
    return f"; did you mean {near[0]}?" if near else ""


def all_keys() -> list[str]:
    """Every key of the settings, and every group."""
    return list(_keys("", inspect.type_info(Settings)))


def _keys(prefix: str, kind: inspect.Type) -> Iterator[str]:
    for field in kind.fields if isinstance(kind, inspect.StructType) else ():
        key = f"{prefix}{field.encode_name}"
        yield key
        yield from _keys(f"{key}.", field.type)
