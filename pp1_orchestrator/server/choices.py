"""What a field may hold, added to msgspec's errors where they name only what it may not. Knows nothing of HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import inspect


def with_choices(problem: str, kind: type) -> str:
    """msgspec's line about a body of this kind; the choices follow for a wrong word or an unknown field."""
    path = match[1] if (match := re.search(r" - at `\$(.*)`$", problem)) else ""
    found = list(_at(inspect.type_info(kind), re.findall(r"[^.\[\]]+|\[", path)))
    if problem.startswith("Invalid enum value"):
        choices = [str(value) for here in found if isinstance(here, inspect.LiteralType) for value in here.values]
    elif problem.startswith("Object contains unknown field"):
        choices = [field.encode_name for here in found if isinstance(here, inspect.StructType) for field in here.fields]
    else:
        choices = []
    return f"{problem}; choices: {', '.join(choices)}" if choices else problem


def _at(here: inspect.Type, path: list[str]) -> Iterator[inspect.Type]:
    """The types that may stand at a path: names of fields, and `[` followed by the index for a list's entries."""
    if isinstance(here, inspect.UnionType):
        for member in here.types:
            yield from _at(member, path)
    elif isinstance(here, inspect.Metadata):
        yield from _at(here.type, path)
    elif not path:
        yield here
    elif isinstance(here, inspect.VarTupleType) and path[0] == "[":
        yield from _at(here.item_type, path[2:])
    elif isinstance(here, inspect.StructType):
        for field in here.fields:
            if field.encode_name == path[0]:
                yield from _at(field.type, path[1:])
