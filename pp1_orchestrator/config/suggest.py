"""What a mistyped key or option may have meant."""

import difflib
from collections.abc import Iterable, Iterator

from msgspec import inspect

from pp1_orchestrator.config.schema import Settings

CUTOFF = 0.7
"""Of difflib's ratio: 1 is the same word."""


def did_you_mean(given: str, choices: Iterable[str], prefix: str = "") -> str:
    """The end of a line that suggests the nearest choice, after `prefix`; empty where none is near."""
    known = list(choices)
    begun = [choice for choice in known if len(given) > 1 and choice.startswith(given)]
    near = difflib.get_close_matches(given, known, 1, CUTOFF) or begun
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def keys_below(parent: str) -> list[str]:
    """The keys of a part of the settings, without the part's own."""
    found = (key.removeprefix(f"{parent}.") for key in all_keys() if key.startswith(f"{parent}."))
    return [key for key in found if "." not in key and key != "name"]


def all_keys() -> list[str]:
    """Every key of the settings, and every group."""
    return list(_keys("", inspect.type_info(Settings)))


def _keys(prefix: str, kind: inspect.Type) -> Iterator[str]:
    for field in kind.fields if isinstance(kind, inspect.StructType) else ():
        key = f"{prefix}{field.encode_name}"
        yield key
        yield from _keys(f"{key}.", field.type)
